//! Trust anchors for the server certificates of services: the configured CA, the system's trust store, or both.

use rustls_pki_types::CertificateDer;

use super::error::KmsError;
use crate::x509::{Certificate, Sha256, pem};

/// Trust anchors for the server certificates of services.
#[derive(Debug)]
pub struct KmsTrustAnchors {
    authorities: Vec<CertificateDer<'static>>,
    pinned: Vec<Certificate>,
}

impl KmsTrustAnchors {
    /// The certificates in `pem`, or without any the system's trust store. With `and_system`, both.
    ///
    /// # Errors
    /// [`KmsError::CaCertificate`], also if nothing in the system's trust store can be read.
    pub fn from_pem(pem: Option<&str>, and_system: bool) -> Result<Self, KmsError> {
        let mut trusted = Self { authorities: Vec::new(), pinned: Vec::new() };
        for certificate in pem.map(trusted_certificates).transpose()?.unwrap_or_default() {
            if certificate.is_ca() {
                trusted.authorities.push(certificate.der.clone());
            }
            if is_self_signed(&certificate) {
                trusted.pinned.push(certificate);
            }
        }
        if pem.is_none() || and_system {
            // Single unreadable certificates of the system are skipped, as in every TLS client.
            let system = rustls_native_certs::load_native_certs();
            if let (true, Some(error)) = (system.certs.is_empty(), system.errors.first()) {
                return Err(KmsError::CaCertificate { why: format!("the system's trust store: {error}") });
            }
            trusted.authorities.extend(system.certs);
        }
        Ok(trusted)
    }

    /// CA certificates, in DER.
    pub(super) fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }

    /// Self-signed certificates that a server may present itself.
    pub(super) fn pinned(&self) -> &[Certificate] {
        &self.pinned
    }
}

/// The certificates in `pem`, each of which must be a CA or self-signed. A self-signed certificate of a server is
/// pinned: it is accepted as it is.
///
/// # Errors
/// [`KmsError::CaCertificate`].
pub fn trusted_certificates(pem: &str) -> Result<Vec<Certificate>, KmsError> {
    let certificates = pem::certificates(pem.as_bytes())
        .map_err(|error| KmsError::CaCertificate { why: error.to_string() })?;
    match certificates.iter().find(|certificate| !certificate.is_ca() && !is_self_signed(certificate)) {
        None => Ok(certificates),
        Some(other) => {
            Err(KmsError::CaCertificate { why: format!("{} is neither a CA nor self-signed", other.subject) })
        }
    }
}

/// SHA-256 of each trusted certificate in `pem`.
///
/// # Errors
/// See [`trusted_certificates`].
pub fn trusted_fingerprints(pem: &str) -> Result<Vec<Sha256>, KmsError> {
    Ok(trusted_certificates(pem)?.iter().map(Certificate::fingerprint).collect())
}

/// True if the certificate is signed with its own key.
fn is_self_signed(certificate: &Certificate) -> bool {
    certificate.is_self_issued() && certificate.verify_signature(&certificate.public_key_info).is_ok()
}
