//! TLS 1.3 and 1.2 with AEAD suites by rustls: configuration, resumption, server names, observed handshakes.
//!
//! | file | contents |
//! |---|---|
//! | `client_config` | rustls configuration of a client |
//! | `client_verifier` | Client certificate verifier for rustls |
//! | `crypto` | Cryptography of every TLS connection, and private keys in the form that rustls signs with |
//! | `failure` | Failed handshakes as stable codes |
//! | `hello` | ClientHello of a connection, read before the handshake, and alerts to refused clients |
//! | `observed` | Observation of a handshake |
//! | `protocol` | Protocols agreed in a handshake |
//! | `resumption` | Session resumption (RFC 8446, section 2.2 |
//! | `server_config` | rustls configuration of a server |
//! | `server_name` | Server name indication (RFC 6066, section 3) |

mod client_config;
mod client_verifier;
mod crypto;
mod failure;
mod hello;
mod observed;
mod protocol;
mod resumption;
mod server_config;
mod server_name;

pub use client_config::{ClientCredentials, ServerChainVerifier, TlsClientError, client_config, server_name};
pub use client_verifier::ClientVerifier;
pub use crypto::{TlsError, certified_key, provider, signing_key};
pub use failure::{HandshakeFailure, handshake_failure};
pub use hello::{offers_tls13, read_client_hello, refuse_long_message, refuse_server_name};
pub use observed::{HandshakeObservation, KeyProof, PresentedCertificate, observe};
pub use protocol::{HTTP_1_1, Protocol, version};
pub use resumption::{ResumptionStore, VerifiedResumption};
pub use server_config::server_config;
pub use server_name::ServerNames;
