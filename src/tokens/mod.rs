//! Access and refresh tokens.
//!
//! An access token is a JWT (RFC 9068) signed with ES256 (RFC 7518). The algorithm is fixed, and a verifier knows its
//! keys: nothing in a header chooses another key or algorithm (RFC 8725). A refresh token is random, and stored as
//! hashes. Gateways judge tokens by a signed statement, without a call to the server.
//!
//! | file | contents |
//! |---|---|
//! | `claims` | [`AccessClaims`] and [`TokenScope`] |
//! | `jws` | keys, signatures and strict parsing |
//! | `access` | [`AccessTokenSigner`] and [`TokenVerifier`] |
//! | `refresh` | [`RefreshToken`] |
//! | `statement` | [`TokenStatement`]: keys and revocations, signed |
//! | `judge` | [`TokenJudge`]: a token, judged by a statement |
//! | `error`, `statement_error` | [`TokenError`] and [`StatementError`] |

mod access;
mod claims;
mod error;
mod judge;
mod jws;
mod refresh;
mod statement;
mod statement_error;

pub use access::{AccessTokenSigner, TokenVerifier};
pub use claims::{AccessClaims, CertificateBinding, TokenScope};
pub use error::TokenError;
pub use judge::{SignedToken, TokenJudge};
pub use jws::VerificationKey;
pub use refresh::RefreshToken;
pub use statement::{
    EndedSession, PublishedKey, RevokedOrganization, RevokedUser, STATEMENT_FILE, SignedStatement,
    StatementVersion, TokenStatement,
};
pub use statement_error::StatementError;
