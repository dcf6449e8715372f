//! Access and refresh tokens.
//!
//! An access token is a JWT (RFC 9068) signed with ES256 (RFC 7518). The algorithm is fixed, and a verifier knows its
//! keys: nothing in a header chooses another key or algorithm (RFC 8725). A refresh token is random, and stored as
//! hashes.
//!
//! | file | contents |
//! |---|---|
//! | `claims` | [`AccessClaims`] and [`TokenScope`] |
//! | `jws` | keys, signatures and strict parsing |
//! | `access` | [`AccessTokenSigner`] and [`TokenVerifier`] |
//! | `refresh` | [`RefreshToken`] |
//! | `error` | [`TokenError`] |

mod access;
mod claims;
mod error;
mod jws;
mod refresh;

pub use access::{AccessTokenSigner, TokenVerifier};
pub use claims::{AccessClaims, CertificateBinding, TokenScope};
pub use error::TokenError;
pub use jws::VerificationKey;
pub use refresh::RefreshToken;
