//! Hosts that the requests of a connection may name (RFC 9110, section 7.4), in agreement with its handshake.
//!
//! A client that sent a server name (RFC 6066, section 3) may ask for that host alone. A client that sent none, since
//! it dialled an address, or `control-service`, the name of every gateway, may ask for any name or address of our
//! certificate and for the address that it reached. No other host is passed to the upstream.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::ServerConnection;

use crate::gateway::message::framing::RequestHost;
use crate::identity::CONTROL_SERVICE_DNS_NAME;
use crate::x509::{Certificate, SubjectAltName};

/// The hosts that the requests of one connection may be for.
#[derive(Debug)]
pub enum Hosts {
    /// The one that the caller named.
    Named(Box<str>),
    /// Those of our certificate, and the address that was reached.
    Ours {
        /// Our certificate.
        leaf: Arc<Certificate>,
        /// The address at our end; `None` where the system does not say.
        reached: Option<IpAddr>,
    },
}

impl Hosts {
    /// Those of `connection`, which reached us at `reached` and was shown `leaf`.
    #[must_use]
    pub fn of(connection: &ServerConnection, leaf: &Arc<Certificate>, reached: Option<IpAddr>) -> Self {
        match connection.server_name() {
            Some(name) if name != CONTROL_SERVICE_DNS_NAME => Self::Named(name.into()),
            _ => Self::Ours { leaf: Arc::clone(leaf), reached },
        }
    }

    /// Whether a request may be for `host`.
    #[must_use]
    pub fn have(&self, host: &RequestHost) -> bool {
        let Self::Ours { leaf, reached } = self else {
            return matches!(self, Self::Named(name) if host.agrees_with(name));
        };
        let address = host.name().trim_matches(['[', ']']).parse::<IpAddr>();
        let address = address.ok().map(|address| address.to_canonical());
        let is_address = |ours: IpAddr| address == Some(ours.to_canonical());
        reached.is_some_and(is_address)
            || leaf.subject_alt_names.iter().any(|name| match name {
                SubjectAltName::Dns(name) => host.agrees_with(name),
                SubjectAltName::Ip(ours) => is_address(*ours),
                _ => false,
            })
    }
}
