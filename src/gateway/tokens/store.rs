//! Store of the pushed statement, and record of the newest one, in the state directory.
//!
//! Without it, a restart would forget pushed revocations, or take an older file in place of a newer statement.
//!
//! | file | content |
//! |---|---|
//! | `ANCHOR.tokens` | pushed statement whose certificate chains to this trust anchor |
//! | `ANCHOR.tokens.newest` | version of the newest statement that has been in force, from any source |

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::error::TokenLoadError;
use super::in_force::TokensInForce;
use crate::clock::Clock;
use crate::files::{self, Access, DirectoryLock, FileError, Placement, SMALL_FILE};
use crate::tokens::{STATEMENT_FILE, StatementVersion};
use crate::x509::KeyIdentifier;
use crate::x509::trust::TrustBundle;

/// Pushed statements and records of the newest ones, in one directory. Processes may share it.
#[derive(Clone, Debug)]
pub struct StatementStore {
    directory: PathBuf,
    clock: Arc<dyn Clock>,
}

impl StatementStore {
    /// Use `directory`, which must exist.
    #[must_use]
    pub fn in_directory(directory: &Path, clock: Arc<dyn Clock>) -> Self {
        Self { directory: directory.to_owned(), clock }
    }

    /// Load the pushed statements of the trust anchors, each with its path.
    ///
    /// # Errors
    /// [`TokenLoadError::File`] if one cannot be read: to skip it could be to forget a revocation.
    pub fn load(&self, trust: &TrustBundle) -> Result<Vec<(PathBuf, Vec<u8>)>, TokenLoadError> {
        let mut found = Vec::new();
        for anchor in trust.anchors() {
            let path = self.path(&anchor.key_identifier);
            match files::read(&path, STATEMENT_FILE) {
                Ok(text) => found.push((path, text)),
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }

    /// Store the text of a pushed statement.
    ///
    /// # Errors
    /// [`TokenLoadError::Statement`] if a newer one has been in force, also in another process that shares the
    /// directory; [`TokenLoadError::File`] if the file cannot be written.
    pub fn keep(
        &self,
        tokens: &TokensInForce,
        text: &[u8],
        patience: Duration,
    ) -> Result<(), TokenLoadError> {
        let _lock = self.lock(patience)?;
        self.check(tokens)?;
        Ok(files::write(&self.path(tokens.anchor()), Access::Public, Placement::Replace, text)?)
    }

    /// Refuse a statement that is older than one that has been in force.
    ///
    /// # Errors
    /// [`TokenLoadError::Statement`], or the record cannot be read.
    pub fn check(&self, tokens: &TokensInForce) -> Result<(), TokenLoadError> {
        match self.newest(tokens.anchor())? {
            Some(newest) => Ok(newest.superseded_by(&tokens.version).map(drop)?),
            None => Ok(()),
        }
    }

    /// Record a statement as the newest, unless a newer one is recorded. `patience` is the longest wait for another
    /// process.
    ///
    /// # Errors
    /// [`TokenLoadError`] if the record cannot be read or written.
    pub fn record(&self, tokens: &TokensInForce, patience: Duration) -> Result<(), TokenLoadError> {
        let _lock = self.lock(patience)?;
        let version = tokens.version;
        let is_newer = |known: StatementVersion| known.superseded_by(&version).unwrap_or(false);
        if self.newest(tokens.anchor())?.is_none_or(is_newer) {
            let text = format!("{} {} {}\n", version.certified, version.number, version.sha256);
            let path = self.record_of(tokens.anchor());
            files::write(&path, Access::Public, Placement::Replace, text.as_bytes())?;
        }
        Ok(())
    }

    fn newest(&self, anchor: &KeyIdentifier) -> Result<Option<StatementVersion>, TokenLoadError> {
        let path = self.record_of(anchor);
        let bytes = match files::read(&path, SMALL_FILE) {
            Err(error) if error.is_missing() => return Ok(None),
            read => read?,
        };
        let parse = |text: &str| {
            let mut parts = text.trim_end().split(' ');
            let (certified, number, sha256) = (parts.next()?, parts.next()?, parts.next()?);
            let version = StatementVersion {
                certified: certified.parse().ok()?,
                number: number.parse().ok()?,
                sha256: sha256.parse().ok()?,
            };
            parts.next().is_none().then_some(version)
        };
        let version = std::str::from_utf8(&bytes).ok().and_then(parse);
        version.map(Some).ok_or(TokenLoadError::DamagedRecord { path })
    }

    /// Lock against other processes that write to the same directory.
    fn lock(&self, patience: Duration) -> Result<DirectoryLock, FileError> {
        DirectoryLock::acquire(&self.directory, patience, &*self.clock)
    }

    fn path(&self, anchor: &KeyIdentifier) -> PathBuf {
        self.directory.join(format!("{anchor}.tokens"))
    }

    fn record_of(&self, anchor: &KeyIdentifier) -> PathBuf {
        self.directory.join(format!("{anchor}.tokens.newest"))
    }
}
