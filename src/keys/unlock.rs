//! What opens a protected key: supplied by whoever runs the program, asked for only when needed.

use std::fmt;
use std::path::Path;

use super::KeyError;
use super::kms::{Configuration, KmsError, Pkcs11Error};
use crate::secret::Secret;

/// Supplies passphrases, key management services and PINs, each only when a key needs it.
pub trait Unlock: fmt::Debug + Send + Sync {
    /// The passphrase of the key in `path`.
    ///
    /// # Errors
    /// [`KeyError::PassphraseNeeded`] when there is none to be had.
    fn passphrase(&self, path: &Path) -> Result<Secret, KeyError>;

    /// The key management services that may have wrapped a data key, with their secrets.
    ///
    /// # Errors
    /// What keeps the configuration from being read.
    fn kms(&self) -> Result<Configuration, KmsError>;

    /// The PIN of a token: what `kept` finds, where no other one was supplied for this run.
    ///
    /// # Errors
    /// [`Pkcs11Error::PinNeeded`] when there is none to be had.
    fn pin(
        &self,
        token: &str,
        kept: &dyn Fn() -> Result<Option<Secret>, KmsError>,
    ) -> Result<Secret, KmsError> {
        kept()?.ok_or_else(|| Pkcs11Error::PinNeeded { token: token.to_owned() }.into())
    }
}

/// Opens nothing: for keys that nothing protects but their file.
#[derive(Clone, Copy, Debug, Default)]
pub struct NothingToUnlockWith;

impl Unlock for NothingToUnlockWith {
    fn passphrase(&self, path: &Path) -> Result<Secret, KeyError> {
        Err(KeyError::PassphraseNeeded { path: path.to_owned() })
    }

    fn kms(&self) -> Result<Configuration, KmsError> {
        Ok(Configuration::default())
    }
}
