//! Key management services: what wraps the data key of an envelope, or holds the root's key itself.
//!
//! | file | what |
//! |---|---|
//! | `configuration` | which services are used, as it is kept in one private file |
//! | `names` | addresses, keys, mounts and namespaces that cannot be wrong |
//! | `trust` | whose server certificates are believed |
//! | `http`, `vault` | Vault's Transit engine over HTTPS, OpenBao's too |
//! | `kmip` | KMIP servers over mutual TLS |
//! | `pkcs11` | keys that a PKCS#11 token holds |

mod configuration;
mod error;
mod http;
mod kmip;
mod names;
mod pkcs11;
mod trust;
mod vault;

pub use configuration::{
    AppRole, Configuration, Credential, KmipService, Missing, SECRET_ID, Service, SigningService, TOKEN,
    VaultCredentials, VaultService,
};
pub use error::KmsError;
pub use kmip::Kmip;
pub use names::{KeyName, KmipAddress, MountPath, Namespace, UniqueIdentifier, VaultAddress};
pub use pkcs11::{Pkcs11Error, Pkcs11Uri, TokenKey};
pub use trust::ca_fingerprints;
pub use vault::Transit;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::envelope::{DataKey, base64_text};

/// A service that wraps data keys with a key of its own, which never leaves it.
pub trait KeyWrap {
    /// Whether the service can be reached and its key may be used to wrap.
    ///
    /// # Errors
    /// [`KmsError`].
    fn check(&self) -> Result<(), KmsError>;

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

    /// Prolongs what we log in with, where that ends by itself unless it is renewed, and says when to come
    /// again; `None` where there is nothing to prolong.
    ///
    /// # Errors
    /// [`KmsError`].
    fn keep_login(&self) -> Result<Option<Duration>, KmsError> {
        Ok(None)
    }
}

/// Wraps and unwraps a data key of no use: everything that will be asked of the service, tried before
/// anything depends on it.
///
/// # Errors
/// [`KmsError`].
pub fn try_out(kms: &dyn KeyWrap, address: &str) -> Result<(), KmsError> {
    kms.check()?;
    let random = || DataKey::random().map_err(|_| KmsError::Random);
    let (data_key, context) = (random()?, random()?);
    let wrapped = kms.wrap_key(&data_key, context.expose())?;
    let again = kms.unwrap_key(&wrapped, context.expose())?;
    if again.expose() == data_key.expose() {
        return Ok(());
    }
    Err(KmsError::RoundTrip { address: address.to_owned() })
}

/// What became of a data key that was to be wrapped anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewrap {
    /// It is wrapped under the newest version of this service's key already.
    Current,
    /// It is wrapped under the newest version now.
    Done(Wrapped),
}

/// A wrapped data key and what its service needs to unwrap it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kms", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Wrapped {
    /// By a KMIP server.
    Kmip(KmipCiphertext),
    /// By Vault's Transit engine.
    Vault(TransitCiphertext),
}

/// A data key that a KMIP server encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KmipCiphertext {
    /// The UID of the wrapping key.
    pub key: String,
    /// The version of the protocol that it was encrypted under.
    pub protocol: String,
    /// How.
    pub mode: KmipMode,
    /// The initialization vector or nonce.
    #[serde(with = "base64_text")]
    pub iv: Vec<u8>,
    /// The encrypted data key.
    #[serde(with = "base64_text")]
    pub ciphertext: Vec<u8>,
}

/// How a KMIP server encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KmipMode {
    /// AES-CBC with PKCS #5 padding; the envelope itself tells whether anything was altered.
    Cbc,
    /// AES-GCM, bound to the envelope.
    Gcm {
        /// The authentication tag.
        #[serde(with = "base64_text")]
        tag: Vec<u8>,
    },
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
            Self::Kmip(_) => "kmip",
            Self::Vault(_) => "vault",
        }
    }

    /// The service's name for the wrapping key.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Kmip(wrapped) => &wrapped.key,
            Self::Vault(wrapped) => &wrapped.key,
        }
    }

    /// The version of the wrapping key, where it shows.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        match self {
            Self::Kmip(_) => None,
            Self::Vault(wrapped) => wrapped.version(),
        }
    }
}
