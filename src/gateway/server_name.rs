//! The names that the gateway goes by: in the handshake (RFC 6066, section 3) and, agreeing with it, in
//! each request (RFC 9110, section 7.4).
//!
//! A caller that names a host in its handshake is answered only where our certificate has that name, and
//! may then ask for that host alone. One that names none (it dialled an address) is judged by the same
//! rules: nothing that is decided depends on the name. `control-service` stands for whichever gateway
//! was dialled, so that the host of a request need not agree with it.

use std::sync::Arc;

use rustls::ServerConnection;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::verify::hello_understood;
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

/// The host that every request on `connection` must be for, if the caller named one.
#[must_use]
pub fn required_host(connection: &ServerConnection) -> Option<Box<str>> {
    connection.server_name().filter(|name| *name != CONTROL_SERVICE_DNS_NAME).map(Box::from)
}
