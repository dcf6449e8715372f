//! Server name indication (RFC 6066, section 3): the handshake fails unless our certificate has the requested name.

use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::observed::client_hello_parsed;
use crate::x509::{Certificate, SubjectAltName};

/// Certificate resolver that knows the DNS names of our certificate.
#[derive(Debug)]
pub struct ServerNames {
    certified: Arc<CertifiedKey>,
    names: Vec<String>,
}

impl ServerNames {
    /// Resolver for `certified`, whose leaf is `leaf`.
    #[must_use]
    pub fn new(certified: Arc<CertifiedKey>, leaf: &Certificate) -> Self {
        let names = leaf.subject_alt_names.iter().filter_map(|name| match name {
            SubjectAltName::Dns(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        Self { certified, names: names.collect() }
    }

    /// Test for a DNS name of the certificate. A trailing dot is ignored.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

impl ResolvesServerCert for ServerNames {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        client_hello_parsed();
        hello.server_name().is_none_or(|name| self.contains(name)).then(|| Arc::clone(&self.certified))
    }
}
