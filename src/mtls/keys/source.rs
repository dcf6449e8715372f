//! File of a private key, and the KMS or passphrase that opens it.

use std::path::PathBuf;
use std::time::Duration;

use super::error::KeyLoadError;
use crate::keys::{CredentialsFile, KeyError, ProtectedKey};

/// Private key file, readable only by its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySource {
    /// Path of the file.
    pub path: PathBuf,
    /// KMS configuration or passphrase file; `None` for a plain key.
    pub opener: Option<CredentialsFile>,
    /// Longest wait at start.
    pub timeout: Duration,
}

impl KeySource {
    /// Default of [`KeySource::timeout`].
    pub const TIMEOUT: Duration = Duration::from_secs(60);

    /// Most of [`KeySource::timeout`]: beyond it, a restart by the service manager is the better retry.
    pub const MAX_TIMEOUT: Duration = Duration::from_secs(3_600);

    /// Read the files without opening the key.
    ///
    /// # Errors
    /// [`KeyLoadError::Open`] as [`ProtectedKey::read`].
    pub fn read(&self) -> Result<ProtectedKey, KeyLoadError> {
        ProtectedKey::read(&self.path, self.opener.as_ref()).map_err(|error| self.failed(error))
    }

    /// The error for this key.
    #[must_use]
    pub fn failed(&self, error: KeyError) -> KeyLoadError {
        KeyLoadError::Open { path: self.path.clone(), source: Box::new(error) }
    }
}
