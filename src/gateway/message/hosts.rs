//! Hosts that the requests of a connection may name (RFC 9110, section 7.4), derived from its handshake.
//!
//! | server name of the handshake (RFC 6066, section 3) | allowed hosts |
//! |---|---|
//! | a name | that name |
//! | none, or `control-service` (every gateway) | names and addresses of the server certificate, local address |
//!
//! No other host is passed to the upstream.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::ServerConnection;

use crate::gateway::message::framing::RequestHost;
use crate::identity::CONTROL_SERVICE_DNS_NAME;
use crate::x509::{Certificate, SubjectAltName};

/// Hosts that the requests of one connection may name.
#[derive(Debug)]
pub enum AllowedHosts {
    /// Server name of the handshake.
    Named(Box<str>),
    /// Names and addresses of the server certificate, and the local address.
    Ours {
        /// Server certificate.
        leaf: Arc<Certificate>,
        /// Local address of the connection; `None` if the system does not report it.
        local: Option<IpAddr>,
    },
}

impl AllowedHosts {
    /// Allowed hosts of `connection`, with the server certificate `leaf` and the local address `local`.
    #[must_use]
    pub fn of(connection: &ServerConnection, leaf: &Arc<Certificate>, local: Option<IpAddr>) -> Self {
        match connection.server_name() {
            Some(name) if name != CONTROL_SERVICE_DNS_NAME => Self::Named(name.into()),
            _ => Self::Ours { leaf: Arc::clone(leaf), local },
        }
    }

    /// True if a request may name `host`.
    #[must_use]
    pub fn contain(&self, host: &RequestHost) -> bool {
        let Self::Ours { leaf, local } = self else {
            return matches!(self, Self::Named(name) if host.matches_server_name(name));
        };
        let address = host.name().trim_matches(['[', ']']).parse::<IpAddr>();
        let address = address.ok().map(|address| address.to_canonical());
        let is_address = |own: IpAddr| address == Some(own.to_canonical());
        local.is_some_and(is_address)
            || leaf.subject_alt_names.iter().any(|name| match name {
                SubjectAltName::Dns(name) => host.matches_server_name(name),
                SubjectAltName::Ip(own) => is_address(*own),
                _ => false,
            })
    }
}
