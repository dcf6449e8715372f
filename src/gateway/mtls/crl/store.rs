//! What outlives a restart of revocation, in a directory: the CRLs that were pushed, and of each issuer
//! which CRL was the newest in force, wherever it came from. So a restart does not let in again whom a
//! push had shut out, and no older file is taken in the place of a newer one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use crate::clock::Clock;
use crate::files::{self, Access, CRL_FILE, DirectoryLock, FileError, Placement, SMALL_FILE};
use crate::gateway::state::loader::StateError;
use crate::revocation::{Crl, CrlVersion, RevocationSet};
use crate::x509::KeyIdentifier;
use crate::x509::pem::{ObjectKind, pem};
use crate::x509::trust::TrustBundle;

/// How long to wait for another gateway that writes to the same directory.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where pushed CRLs are kept, and which were the newest.
#[derive(Clone, Debug)]
pub struct PushedCrls {
    directory: PathBuf,
    clock: Arc<dyn Clock>,
}

impl PushedCrls {
    /// In this directory.
    #[must_use]
    pub fn in_directory(directory: &Path, clock: Arc<dyn Clock>) -> Self {
        Self { directory: directory.to_owned(), clock }
    }

    /// What has been kept of the issuers that are trusted.
    ///
    /// # Errors
    /// [`StateError`] when a file is there that cannot be read or relied on: to pass over it could be to
    /// forget a revocation.
    pub fn load(&self, trust: &TrustBundle, at: OffsetDateTime) -> Result<Vec<Crl>, StateError> {
        let mut crls = Vec::new();
        let issuers: BTreeSet<_> = trust.authorities().map(|(issuer, _)| issuer).collect();
        for issuer in issuers {
            let path = self.path(issuer);
            match files::read(&path, CRL_FILE) {
                Ok(bytes) => crls.extend(
                    Crl::read_all(&bytes, trust, at)
                        .map_err(|source| StateError::Crl { paths: vec![path], source: Box::new(source) })?,
                ),
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(crls)
    }

    /// Keeps these CRLs, each with its DER, in the place of the last ones of their issuers.
    ///
    /// # Errors
    /// [`StateError`]: one is older than what has been in force here, perhaps in another gateway that has
    /// the same directory, and then none is kept; or the disk refuses, and the last ones are still there.
    pub fn keep(&self, crls: &[(&Crl, &[u8])]) -> Result<(), StateError> {
        let _lock = self.lock()?;
        for (crl, _) in crls {
            self.check_one(crl)?;
        }
        for (crl, der) in crls {
            let text = pem(ObjectKind::Crl.label(), der);
            files::write(&self.path(&crl.issuer), Access::Public, Placement::Replace, text.as_bytes())?;
        }
        Ok(())
    }

    /// Refuses a set in which a CRL is older than one that has been in force here.
    ///
    /// # Errors
    /// [`StateError::Superseded`], or the record cannot be read.
    pub fn check(&self, set: &RevocationSet) -> Result<(), StateError> {
        set.crls().try_for_each(|crl| self.check_one(crl))
    }

    fn check_one(&self, crl: &Crl) -> Result<(), StateError> {
        let Some(newest) = self.newest(&crl.issuer)? else { return Ok(()) };
        let refused = |source| StateError::Superseded { path: self.record_of(&crl.issuer), source };
        newest.superseded_by(crl).map(drop).map_err(refused)
    }

    /// Notes which CRLs are the newest, of those that `set` has newer ones of.
    ///
    /// # Errors
    /// [`StateError`] when a record cannot be read or written.
    pub fn record(&self, set: &RevocationSet) -> Result<(), StateError> {
        let _lock = self.lock()?;
        for crl in set.crls() {
            if self.newest(&crl.issuer)?.is_none_or(|known| known.number < crl.number) {
                let text = format!("{} {}\n", crl.number, crl.sha256);
                let path = self.record_of(&crl.issuer);
                files::write(&path, Access::Public, Placement::Replace, text.as_bytes())?;
            }
        }
        Ok(())
    }

    /// The newest CRL of `issuer` that has been in force.
    fn newest(&self, issuer: &KeyIdentifier) -> Result<Option<CrlVersion>, StateError> {
        let path = self.record_of(issuer);
        let bytes = match files::read(&path, SMALL_FILE) {
            Err(error) if error.is_missing() => return Ok(None),
            read => read?,
        };
        let record = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim_end().split_once(' '));
        let record = record.and_then(|(number, sha256)| {
            Some(CrlVersion { number: number.parse().ok()?, sha256: sha256.parse().ok()? })
        });
        record.map(Some).ok_or(StateError::DamagedRecord { path })
    }

    /// The right to write there, which gateways that have the same directory take turns at.
    fn lock(&self) -> Result<DirectoryLock, FileError> {
        DirectoryLock::acquire(&self.directory, PATIENCE, &*self.clock)
    }

    fn path(&self, issuer: &KeyIdentifier) -> PathBuf {
        self.directory.join(format!("{issuer}.crl"))
    }

    fn record_of(&self, issuer: &KeyIdentifier) -> PathBuf {
        self.directory.join(format!("{issuer}.newest"))
    }
}
