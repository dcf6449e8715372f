//! Whose server certificates are believed: those under the one CA that was set for external
//! services, or else those under the CAs that the system trusts.

use rustls_pki_types::CertificateDer;

use super::KmsError;
use crate::x509::{Sha256, pem};

/// The anchors that a service's certificate must lead to.
#[derive(Debug)]
pub(super) struct Trust {
    anchors: Vec<CertificateDer<'static>>,
}

impl Trust {
    /// The CA certificates in `pem`, or else the system's.
    ///
    /// # Errors
    /// [`KmsError::CaCertificate`].
    pub(super) fn from_pem(pem: Option<&str>) -> Result<Self, KmsError> {
        let anchors = match pem {
            Some(pem) => ca_certificates(pem)?,
            // Certificates of the system that cannot be read are passed over, as every program does.
            None => rustls_native_certs::load_native_certs().certs,
        };
        Ok(Self { anchors })
    }

    /// The anchors.
    pub(super) fn anchors(&self) -> &[CertificateDer<'static>] {
        &self.anchors
    }
}

/// The certificates in `pem`, each of which must be a CA's.
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
