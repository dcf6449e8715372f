//! The names that the gateway goes by: in the handshake (RFC 6066, section 3) and, agreeing with it, in
//! each request (RFC 9110, section 7.4).
//!
//! A caller that names a host in its handshake is answered only where our certificate has that name, and
//! may then ask for that host alone. One that names none (it dialled an address), or `control-service`, which
//! stands for whichever gateway was dialled, may ask for any name or address of our certificate, and for the
//! address that it has reached. No other host is ours, and none is told to the service behind.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::ServerConnection;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::gateway::message::framing::Host;
use crate::gateway::mtls::verifier::hello_understood;
use crate::identity::CONTROL_SERVICE_DNS_NAME;
use crate::x509::{Certificate, SubjectAltName};

/// Presents our certificate to whoever calls us by a name in it, or by none.
#[derive(Debug)]
pub struct OwnNames {
    certified: Arc<CertifiedKey>,
    names: Vec<String>,
}

impl OwnNames {
    /// The names in `leaf`, the certificate of `certified`.
    #[must_use]
    pub fn new(certified: Arc<CertifiedKey>, leaf: &Certificate) -> Self {
        let names = leaf.subject_alt_names.iter().filter_map(|name| match name {
            SubjectAltName::Dns(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        Self { certified, names: names.collect() }
    }

    fn has(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

impl ResolvesServerCert for OwnNames {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        hello_understood();
        hello.server_name().is_none_or(|name| self.has(name)).then(|| Arc::clone(&self.certified))
    }
}

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
    pub fn have(&self, host: &Host) -> bool {
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
