//! Mutual TLS as every endpoint of ours speaks it: which peers are accepted, on which evidence, and for how long.
//!
//! A peer's certificate is verified in this order: chain to a trust anchor, revocation, host name of a server,
//! identity, issuer roles.
//! Full handshakes, resumed sessions and open connections all go through [`PeerVerifier`].
//!
//! | part | contents |
//! |---|---|
//! | peers | [`PeerVerifier`] of clients and servers, its [`ChainVerifier`], the verified [`Peer`], where its identity is read ([`IdentityForm`]) and what an upstream is told of it ([`IdentityHeaders`]) |
//! | [`crl`] | CRLs in force, CRL files, and the store of pushed CRLs |
//! | [`keys`] | private keys, opened on threads of their own |
//! | [`tls`] | rustls configuration of servers and clients, credentials of clients, resumption, server names, observation of handshakes |
//! | own certificate | [`ServerCertificate`], held to the rules that peers are held to |

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
