//! Source of passphrases, service configuration and PINs, asked only when a key needs one of them.

use std::fmt;
use std::path::Path;

use super::error::KeyError;
use super::kms::{Configuration, KmsError, PinProvider};
use crate::secret::Secret;

/// Supply whatever opens a protected key. Each method is called only when a key needs it.
pub trait Unlock: PinProvider + fmt::Debug + Send + Sync {
    /// Passphrase of the key file `path`.
    ///
    /// # Errors
    /// [`KeyError::PassphraseNeeded`] when none is available.
    fn passphrase(&self, path: &Path) -> Result<Secret, KeyError>;

    /// Configuration of the key management services, with every secret filled in.
    ///
    /// # Errors
    /// [`KmsError`] for a configuration that cannot be read, or a missing secret.
    fn kms(&self) -> Result<Configuration, KmsError>;
}

/// An [`Unlock`] that supplies nothing: only unprotected key files open with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoUnlock;

impl PinProvider for NoUnlock {}

impl Unlock for NoUnlock {
    fn passphrase(&self, path: &Path) -> Result<Secret, KeyError> {
        Err(KeyError::PassphraseNeeded { path: path.to_owned() })
    }

    fn kms(&self) -> Result<Configuration, KmsError> {
        Ok(Configuration::default())
    }
}
