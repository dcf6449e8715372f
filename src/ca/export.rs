//! Export of certificates with their keys, and of the trust files that every machine needs.
//!
//! Files are checked against the inventory and against each other before they leave the home, so that
//! nothing is exported that a gateway would refuse.

use std::path::Path;
use std::sync::Arc;

use super::cluster::Cluster;
use super::error::CaError;
use super::revocation::signed_crl::CrlFile;
use super::target::Target;
use crate::files;
use crate::keys::{KeyFile, PrivateKey};
use crate::secret::Secret;
use crate::store::{Record, RecordStatus};
use crate::tokens::STATEMENT_FILE;
use crate::x509::{Certificate, pem};

/// A valid certificate and its key, as in their files.
#[derive(Debug)]
pub struct ExportedCertificate {
    /// The inventory record.
    pub record: Record,
    /// The parsed certificate.
    pub certificate: Certificate,
    /// Contents of the certificate file, PEM.
    pub certificate_pem: Vec<u8>,
    /// Contents of the private key file, PEM. `None` if the CA does not have the key.
    pub key_pem: Option<Secret>,
}

/// Files that every machine needs besides its own certificate.
#[derive(Clone, Debug)]
pub struct TrustFiles {
    /// Contents of the trust bundle, PEM.
    pub bundle: Arc<[u8]>,
    /// The CRL, PEM.
    pub crl: Arc<[u8]>,
    /// Statement by which gateways judge tokens, if a server has signed one.
    pub statement: Option<Arc<[u8]>>,
}

impl Cluster {
    /// Read the certificate that `target` refers to, and its key. For a name, the newest valid one.
    ///
    /// # Errors
    /// [`CaError::UnknownCertificate`], [`CaError::NotValid`] for a revoked or expired certificate,
    /// [`CaError::FileMismatch`], [`CaError::ProtectedKey`], or an unreadable file.
    pub fn export(&self, target: &Target) -> Result<ExportedCertificate, CaError> {
        self.export_by(target, |path, protected| {
            Err(CaError::ProtectedKey { path: path.to_owned(), by: protected.protection() })
        })
    }

    /// The same, with a protected key opened by its passphrase or service: for an output that is encrypted itself.
    ///
    /// # Errors
    /// As [`Cluster::export`], and those of [`KeyFile::open`].
    pub fn export_opened(&self, target: &Target) -> Result<ExportedCertificate, CaError> {
        self.export_by(target, |path, protected| {
            Ok(protected.open(path, self.context.unlock.as_ref())?.to_pem()?)
        })
    }

    fn export_by(
        &self,
        target: &Target,
        open: impl FnOnce(&Path, &KeyFile) -> Result<Secret, CaError>,
    ) -> Result<ExportedCertificate, CaError> {
        let record = self.find_to_export(target)?;
        let serial_number = record.reservation.serial_number;
        // A row of another name would send the key to the host of that name.
        let certificate = self.genuine_certificate(&record)?;
        let path = &self.locate(&record.reservation.certificate_path);
        let mismatch = |path: &Path| CaError::FileMismatch { path: path.to_owned(), serial_number };
        let certificate_pem = files::read(path, files::SMALL_FILE)?;
        let found = pem::certificates(&certificate_pem).map_err(CaError::in_file(path))?;
        if found.first() != Some(&certificate) {
            return Err(mismatch(path));
        }
        let key_pem = match record.reservation.key_path.as_deref().map(|path| self.locate(path)) {
            None => None,
            Some(path) => {
                let key_pem = match KeyFile::read(&path)? {
                    KeyFile::Plain(key_pem) => key_pem,
                    protected => open(&path, &protected)?,
                };
                let key = PrivateKey::from_pem(&key_pem).map_err(|error| error.in_file(&path))?;
                if key.public_key_info() != certificate.public_key_info {
                    return Err(mismatch(&path));
                }
                Some(key_pem)
            }
        };
        Ok(ExportedCertificate { record, certificate, certificate_pem, key_pem })
    }

    fn find_to_export(&self, target: &Target) -> Result<Record, CaError> {
        let now = self.context.now();
        let candidates = self.candidates(target)?;
        let valid = candidates.iter().find(|record| record.status(now) == RecordStatus::Valid);
        match valid.or(candidates.first()) {
            None => Err(CaError::UnknownCertificate { target: target.clone() }),
            Some(record) if record.status(now) == RecordStatus::Valid => Ok(record.clone()),
            Some(record) => Err(CaError::NotValid {
                serial_number: record.reservation.serial_number,
                role: record.reservation.role,
                name: record.reservation.name.clone(),
                status: record.status(now),
            }),
        }
    }

    /// Read the trust bundle, the CRL, and the statement about tokens if there is one.
    ///
    /// # Errors
    /// [`CaError`] if a file is missing or invalid, or if the CRL is expired, incomplete, or not the last
    /// one recorded.
    pub fn trust_files(&self) -> Result<TrustFiles, CaError> {
        let now = self.context.now();
        let (crl, der) = self.verify_crl(&self.home.crl(), now)?;
        if crl.is_expired_at(now) || self.inventory.active_issuer()?.owes_crl() {
            return Err(CaError::CrlNotCurrent { number: crl.number });
        }
        let mut crl = pem::pem(pem::ObjectKind::Crl.label(), &der);
        // During a change of roots, a gateway needs the CRL of each root in the bundle.
        let file = CrlFile::read(&self.home.crl(), &self.root);
        let untrusted = file.untrusted(&self.home.certificate());
        for other in file.others.iter().filter(|other| !untrusted.contains(&other.issuer)) {
            crl.push_str(&pem::pem(pem::ObjectKind::Crl.label(), &other.der));
        }
        let crl = crl.into_bytes();
        let bundle = files::read(&self.home.certificate(), files::SMALL_FILE)?;
        let statement = match files::read(&self.home.token_statement(), STATEMENT_FILE) {
            Err(error) if error.is_missing() => None,
            read => Some(read?.into()),
        };
        Ok(TrustFiles { bundle: bundle.into(), crl: crl.into(), statement })
    }
}
