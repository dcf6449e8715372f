//! Mutual TLS as every endpoint of ours speaks it: which peers are accepted, on which evidence, and for how long.
//!
//! A peer's certificate is verified in this order: chain to a trust anchor, revocation, host name of a server,
//! identity, issuer roles.
//! Full handshakes, resumed sessions and open connections all go through [`PeerVerifier`].
//!
//! | file | contents |
//! |---|---|
//! | `chain_cache` | Cache of verified chains of clients: a returning client costs no signature check |
//! | `chain_verifier` | Verification of certificate chains |
//! | `crl` | CRLs of a TLS endpoint |
//! | `error` | Reasons for refusing a peer, in a handshake and later |
//! | `identity_form` | Identity of a verified certificate |
//! | `identity_headers` | Header fields that tell an upstream who the verified peer is |
//! | `keys` | Private keys of a TLS endpoint, opened without holding up the endpoint |
//! | `listener` | Listening address and its requirements for clients |
//! | `peer` | Authenticated peers |
//! | `server_certificate` | Server certificate and key of a TLS endpoint, loaded as a pair |
//! | `server_certificate_error` | Errors of loading and checking the server certificate |
//! | `tls` | TLS 1.3 and 1.2 with AEAD suites by rustls |
//! | `verifier` | Verification of a peer's certificate |

mod chain_cache;
mod chain_verifier;
pub mod crl;
mod error;
mod identity_form;
mod identity_headers;
pub mod keys;
mod listener;
mod peer;
mod server_certificate;
mod server_certificate_error;
pub mod tls;
mod verifier;

pub use chain_verifier::{ChainVerifier, ExpectedPeer};
pub use error::{Lapse, PeerError};
pub use identity_form::{IdentityForm, IssuerRoles};
pub use identity_headers::{
    CLIENT_CERT, CLIENT_CERT_CHAIN, IdentityHeaders, X_CLUSTER_ID, X_CLUSTER_NAME, X_CLUSTER_ROLE,
    X_CLUSTER_SERIAL, X_FORWARDED_CLIENT_CERT,
};
pub use listener::{ClientCertificate, Listener};
pub use peer::{Peer, VerifiedServer};
pub use server_certificate::{ServerCertificate, ServerKey};
pub use server_certificate_error::{ServerCertificateError, ServerCertificateFault};
pub use verifier::{IssuingAuthority, PeerVerifier};
