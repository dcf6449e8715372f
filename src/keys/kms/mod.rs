//! Key management services: what wraps the data key of an envelope.

mod error;

pub use error::KmsError;

use serde::{Deserialize, Serialize};

use super::envelope::DataKey;

/// A service that wraps data keys with a key that never leaves it.
pub trait KeyWrap {
    /// Wraps a data key. `context` is what the envelope binds; a service that can, binds it too.
    ///
    /// # Errors
    /// [`KmsError`].
    fn wrap_key(&self, data_key: &DataKey, context: &[u8]) -> Result<Wrapped, KmsError>;

    /// Unwraps a data key.
    ///
    /// # Errors
    /// [`KmsError`].
    fn unwrap_key(&self, wrapped: &Wrapped, context: &[u8]) -> Result<DataKey, KmsError>;

    /// Wraps a data key anew without showing it, where the service can do that.
    ///
    /// # Errors
    /// [`KmsError`].
    fn rewrap_key(&self, wrapped: &Wrapped) -> Result<Rewrap, KmsError>;
}

/// What became of a data key that was to be wrapped anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewrap {
    /// It is wrapped under the newest version of this service's key already.
    Current,
    /// It is wrapped under the newest version now.
    Done(Wrapped),
    /// The service cannot do it alone: the data key must be unwrapped and wrapped.
    Foreign,
}

/// A wrapped data key and what its service needs to unwrap it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kms", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Wrapped {
    /// By Vault's Transit engine.
    Vault(TransitCiphertext),
}

/// A data key that Vault's Transit engine encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransitCiphertext {
    /// The name of the wrapping key.
    pub key: String,
    /// `vault:vN:…`, as Vault gave it.
    pub ciphertext: String,
}

impl TransitCiphertext {
    /// The version of the wrapping key, which Vault writes into the text.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.ciphertext.strip_prefix("vault:v")?.split_once(':')?.0.parse().ok()
    }
}

impl Wrapped {
    /// The kind of service.
    #[must_use]
    pub fn kms(&self) -> &'static str {
        match self {
            Self::Vault(_) => "vault",
        }
    }

    /// The service's name for the wrapping key.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Vault(wrapped) => &wrapped.key,
        }
    }

    /// The version of the wrapping key, where it shows.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        match self {
            Self::Vault(wrapped) => wrapped.version(),
        }
    }
}
