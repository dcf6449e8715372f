//! Listening address and its requirements for clients.

use std::net::SocketAddr;

use super::identity_form::IdentityForm;

/// Address to listen on, with its requirements for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// IP address and port.
    pub address: SocketAddr,
    /// Requirement for a client certificate.
    pub client_certificate: ClientCertificate,
    /// Part of a client certificate that holds the identity.
    pub identity_form: IdentityForm,
}

/// Requirement for a client certificate. A certificate that is presented must be valid in both cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificate {
    /// A client without one reaches only the routes for `anyone`.
    Optional,
    /// The handshake fails without one.
    #[default]
    Required,
}
