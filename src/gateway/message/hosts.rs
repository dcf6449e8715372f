//! Hosts that the requests of a connection may name (RFC 9110, section 7.4), derived from its handshake.
//!
//! | server name of the handshake (RFC 6066, section 3) | allowed hosts |
//! |---|---|
//! | a name | that name, and the other names and addresses of the server certificate |
//! | none, or `control-service` (every gateway) | names and addresses of the server certificate, local address |
//!
//! Proxies and monitoring set the two apart (`proxy_ssl_name`, `tls-server-name`). The certificate answers for both, and
//! nothing in the configuration depends on the one or the other.
//!
//! No other host is passed to the upstream.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use crate::gateway::message::framing::RequestHost;
use crate::identity::CONTROL_SERVICE_DNS_NAME;
use crate::x509::{Certificate, SubjectAltName};

/// Hosts that the requests of one connection may name.
#[derive(Debug)]
pub struct AllowedHosts {
    /// Server name of the handshake, unless it is none or that of every gateway.
    server_name: Option<Arc<str>>,
    /// Server certificate.
    leaf: Arc<Certificate>,
    /// Local address of the connection, if the client named no host in the handshake and the system reports it.
    local: Option<IpAddr>,
    /// First allowed host of a request. Most requests of a connection name the same one.
    known: OnceLock<RequestHost>,
}

impl AllowedHosts {
    /// Allowed hosts of a connection with `server_name` in its handshake, the server certificate `leaf` and the local
    /// address `local`.
    #[must_use]
    pub fn new(server_name: Option<Arc<str>>, leaf: Arc<Certificate>, local: Option<IpAddr>) -> Self {
        let server_name = server_name.filter(|name| **name != *CONTROL_SERVICE_DNS_NAME);
        let local = local.filter(|_| server_name.is_none());
        Self { server_name, leaf, local, known: OnceLock::new() }
    }

    /// Server name of the handshake, unless it is none or that of every gateway.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// First allowed host that a request named.
    #[must_use]
    pub fn known(&self) -> Option<&RequestHost> {
        self.known.get()
    }

    /// True if a request may name `host`.
    #[must_use]
    pub fn contain(&self, host: &RequestHost) -> bool {
        if self.known.get() == Some(host) {
            return true;
        }
        let is_allowed = self.allow(host);
        if is_allowed {
            // Another request may have been the first.
            let _ = self.known.set(host.clone());
        }
        is_allowed
    }

    fn allow(&self, host: &RequestHost) -> bool {
        // The name of most requests is that of the connection.
        if self.server_name.as_ref().is_some_and(|name| host.matches_server_name(name)) {
            return true;
        }
        let address = host.name().trim_matches(['[', ']']).parse::<IpAddr>();
        let address = address.ok().map(|address| address.to_canonical());
        let is_address = |own: IpAddr| address == Some(own.to_canonical());
        self.local.is_some_and(is_address)
            || self.leaf.subject_alt_names.iter().any(|name| match name {
                SubjectAltName::Dns(name) => host.matches_server_name(name),
                SubjectAltName::Ip(own) => is_address(*own),
                _ => false,
            })
    }
}
