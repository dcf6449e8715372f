//! Store of pushed CRLs, and record of the newest CRL of each issuer, in the state directory.
//!
//! Without it, a restart would forget pushed revocations, or take an older CRL file in place of a newer one.
//!
//! | file | content |
//! |---|---|
//! | `ISSUER.crl` | pushed CRL, PEM |
//! | `ISSUER.newest` | number and SHA-256 of the newest CRL that has been in force, from any source |

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::error::CrlLoadError;
use crate::clock::Clock;
use crate::files::{self, Access, CRL_FILE, DirectoryLock, FileError, Placement, SMALL_FILE};
use crate::revocation::{Crl, CrlVersion, RevocationSet};
use crate::x509::KeyIdentifier;
use crate::x509::pem::{ObjectKind, pem};
use crate::x509::trust::TrustBundle;

/// Longest wait for another process that writes to the same directory.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Pushed CRLs and records of the newest ones, in one directory. Processes may share it.
#[derive(Clone, Debug)]
pub struct CrlStore {
    directory: PathBuf,
    clock: Arc<dyn Clock>,
}

impl CrlStore {
    /// Use `directory`, which must exist.
    #[must_use]
    pub fn in_directory(directory: &Path, clock: Arc<dyn Clock>) -> Self {
        Self { directory: directory.to_owned(), clock }
    }

    /// Load the pushed CRLs of the trusted issuers.
    ///
    /// # Errors
    /// [`CrlLoadError`] if a file cannot be read or its CRL is invalid: to skip it could be to forget a
    /// revocation.
    pub fn load(&self, trust: &TrustBundle, at: OffsetDateTime) -> Result<Vec<Crl>, CrlLoadError> {
        let mut crls = Vec::new();
        let issuers: BTreeSet<_> = trust.authorities().map(|(issuer, _)| issuer).collect();
        for issuer in issuers {
            let path = self.path(issuer);
            match files::read(&path, CRL_FILE) {
                Ok(bytes) => crls.extend(Crl::read_all(&bytes, trust, at).map_err(|source| {
                    CrlLoadError::Refused { paths: vec![path], source: Box::new(source) }
                })?),
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(crls)
    }

    /// Store these CRLs, each with its DER, in place of the previous ones of their issuers.
    ///
    /// # Errors
    /// [`CrlLoadError::Superseded`] if one is older than a CRL that has been in force, also in another process
    /// that shares the directory; then none is stored. [`CrlLoadError::File`] if a file cannot be written.
    pub fn keep(&self, crls: &[(&Crl, &[u8])]) -> Result<(), CrlLoadError> {
        let _lock = self.lock(LOCK_TIMEOUT)?;
        for (crl, _) in crls {
            self.check_one(crl)?;
        }
        for (crl, der) in crls {
            let text = pem(ObjectKind::Crl.label(), der);
            files::write(&self.path(&crl.issuer), Access::Public, Placement::Replace, text.as_bytes())?;
        }
        Ok(())
    }

    /// Refuse a set in which a CRL is older than one that has been in force.
    ///
    /// # Errors
    /// [`CrlLoadError::Superseded`], or the record cannot be read.
    pub fn check(&self, set: &RevocationSet) -> Result<(), CrlLoadError> {
        set.crls().try_for_each(|crl| self.check_one(crl))
    }

    /// Refuse a CRL that is older than one of its issuer that has been in force.
    ///
    /// # Errors
    /// As [`CrlStore::check`].
    pub fn check_one(&self, crl: &Crl) -> Result<(), CrlLoadError> {
        let Some(newest) = self.newest(&crl.issuer)? else { return Ok(()) };
        let refused = |source| CrlLoadError::Superseded { path: self.record_of(&crl.issuer), source };
        newest.superseded_by(crl).map(drop).map_err(refused)
    }

    /// Record the CRLs of `set` that are newer than the recorded ones. `patience` is the longest wait for another
    /// process.
    ///
    /// # Errors
    /// [`CrlLoadError`] if a record cannot be read or written.
    pub fn record(&self, set: &RevocationSet, patience: Duration) -> Result<(), CrlLoadError> {
        let _lock = self.lock(patience)?;
        // A damaged record of one issuer does not keep those of others from being written.
        set.crls().map(|crl| self.record_one(crl)).fold(Ok(()), Result::and)
    }

    fn record_one(&self, crl: &Crl) -> Result<(), CrlLoadError> {
        if self.newest(&crl.issuer)?.is_none_or(|known| known.number < crl.number) {
            let text = format!("{} {}\n", crl.number, crl.sha256);
            let path = self.record_of(&crl.issuer);
            files::write(&path, Access::Public, Placement::Replace, text.as_bytes())?;
        }
        Ok(())
    }

    /// Version of the newest CRL of `issuer` that has been in force.
    fn newest(&self, issuer: &KeyIdentifier) -> Result<Option<CrlVersion>, CrlLoadError> {
        let path = self.record_of(issuer);
        // A user who could lower the number would bring an older CRL back.
        let bytes = match files::read_write_protected(&path, SMALL_FILE) {
            Err(error) if error.is_missing() => return Ok(None),
            read => read?,
        };
        let record = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim_end().split_once(' '));
        let record = record.and_then(|(number, sha256)| {
            Some(CrlVersion { number: number.parse().ok()?, sha256: sha256.parse().ok()? })
        });
        record.map(Some).ok_or(CrlLoadError::DamagedRecord { path })
    }

    /// Lock against other processes that write to the same directory.
    fn lock(&self, patience: Duration) -> Result<DirectoryLock, FileError> {
        DirectoryLock::acquire(&self.directory, patience, &*self.clock)
    }

    fn path(&self, issuer: &KeyIdentifier) -> PathBuf {
        self.directory.join(format!("{issuer}.crl"))
    }

    fn record_of(&self, issuer: &KeyIdentifier) -> PathBuf {
        self.directory.join(format!("{issuer}.newest"))
    }
}
