//! Trust anchors for the server certificates of services: the configured CA, or else the system's trust
//! store.

use rustls_pki_types::CertificateDer;

use super::error::KmsError;
use crate::x509::{Sha256, pem};

/// Trust anchors for the server certificates of services.
#[derive(Debug)]
pub struct KmsTrustAnchors(Vec<CertificateDer<'static>>);

impl KmsTrustAnchors {
    /// The CA certificates in `pem`, or else those of the system's trust store.
    ///
    /// # Errors
    /// [`KmsError::CaCertificate`], also if nothing in the system's trust store can be read.
    pub fn from_pem(pem: Option<&str>) -> Result<Self, KmsError> {
        let Some(pem) = pem else {
            // Single unreadable certificates of the system are skipped, as in every TLS client.
            let system = rustls_native_certs::load_native_certs();
            return match (system.certs.is_empty(), system.errors.first()) {
                (true, Some(error)) => {
                    Err(KmsError::CaCertificate { why: format!("the system's trust store: {error}") })
                }
                _ => Ok(Self(system.certs)),
            };
        };
        ca_certificates(pem).map(Self)
    }

    /// The certificates, in DER.
    pub(super) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }
}

/// The certificates in `pem`, each of which must be a CA.
///
/// # Errors
/// [`KmsError::CaCertificate`].
fn ca_certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, KmsError> {
    let certificates = pem::certificates(pem.as_bytes())
        .map_err(|error| KmsError::CaCertificate { why: error.to_string() })?;
    certificates
        .into_iter()
        .map(|certificate| match certificate.is_ca() {
            true => Ok(certificate.der),
            false => Err(KmsError::CaCertificate { why: format!("{} is not a CA", certificate.subject) }),
        })
        .collect()
}

/// SHA-256 of each CA certificate in `pem`.
///
/// # Errors
/// [`KmsError::CaCertificate`] for anything but CA certificates.
pub fn ca_fingerprints(pem: &str) -> Result<Vec<Sha256>, KmsError> {
    Ok(ca_certificates(pem)?.iter().map(|der| Sha256::of(der)).collect())
}
