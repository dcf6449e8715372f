//! Key files: unencrypted PEM, passphrase-encrypted PEM, or an envelope.

use std::path::Path;

use serde::Serialize;
use uuid::Uuid;

use super::envelope::Envelope;
use super::error::KeyError;
use super::kms::{KeyWrap, WrappedKey};
use super::passphrase;
use super::private_key::PrivateKey;
use super::unlock::Unlock;
use crate::files;
use crate::secret::Secret;
use crate::x509::pem;

/// Contents of a key file, not yet opened.
#[derive(Debug)]
pub enum KeyFile {
    /// PKCS#8 (or an older form) in PEM, unencrypted.
    Plain(Secret),
    /// PKCS#8 `EncryptedPrivateKeyInfo` in DER: encrypted with a passphrase.
    Passphrase(Vec<u8>),
    /// Encrypted with a data key wrapped by a key management service.
    Envelope(Box<Envelope>),
}

/// Protection of a private key at rest, beyond the mode of its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "protection", rename_all = "kebab-case")]
pub enum Protection {
    /// Non-exportable key in a service or token.
    #[serde(rename = "held")]
    NotExportable {
        /// The service or token.
        by: String,
    },
    /// A key management service, without which the key does not open.
    Kms {
        /// Kind of the service, such as `vault`.
        kms: &'static str,
        /// Name or identifier of the wrapping key.
        wrapping_key: String,
        /// Version of the wrapping key, where the wrapped form shows it.
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
    },
    /// Plain PKCS#8.
    None,
    /// PKCS#8 encrypted by PBES2 (RFC 8018).
    Passphrase,
}

/// Protection for a key to be sealed.
#[derive(Clone, Copy)]
pub enum NewProtection<'a> {
    /// An envelope, whose data key this service wraps.
    Kms(&'a dyn KeyWrap<WrappedKey>),
    /// None but the mode of its file.
    None,
    /// Text that encrypts the PKCS#8.
    Passphrase(&'a Secret),
}

impl std::fmt::Display for Protection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotExportable { by } => write!(f, "non-exportable, in {by}"),
            Self::Kms { kms, wrapping_key, version: None } => write!(f, "{kms} key {wrapping_key}"),
            Self::Kms { kms, wrapping_key, version: Some(version) } => {
                write!(f, "{kms} key {wrapping_key}, version {version}")
            }
            Self::None => f.write_str("none but the file's mode"),
            Self::Passphrase => f.write_str("passphrase"),
        }
    }
}

impl KeyFile {
    /// Read a private key file (0600).
    ///
    /// # Errors
    /// [`KeyError`] for a file that is missing, readable by other users, or of an unknown form.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        Self::parse(files::read_private(path)?).map_err(|error| error.in_file(path))
    }

    /// Detect the form of a key file.
    ///
    /// # Errors
    /// [`KeyError`] for a malformed envelope.
    pub fn parse(contents: Secret) -> Result<Self, KeyError> {
        let text = contents.expose();
        if Envelope::is_like(text) {
            return Ok(Self::Envelope(Box::new(Envelope::parse(text)?)));
        }
        match pem::key_block(text) {
            Ok(block) if block.label == passphrase::LABEL => Ok(Self::Passphrase(block.der().to_vec())),
            // `PrivateKey::from_pem` reports anything that is not a key.
            _ => Ok(Self::Plain(contents)),
        }
    }

    /// Seal `key`, and open the result as a test: a key lost here would be missed only when it is needed.
    ///
    /// # Errors
    /// [`KeyError::WeakPassphrase`], [`KeyError::Seal`], [`KeyError::Kms`].
    pub fn seal(key: &PrivateKey, cluster: Uuid, protection: NewProtection<'_>) -> Result<Self, KeyError> {
        let (sealed, again) = match protection {
            NewProtection::None => {
                let pem = key.to_pem()?;
                let again = PrivateKey::from_pem(&pem)?;
                (Self::Plain(pem), again)
            }
            NewProtection::Passphrase(passphrase) => {
                passphrase::check_new_passphrase(passphrase)?;
                let der = passphrase::encrypt(key.der()?, passphrase)?;
                let again = passphrase::decrypt(&der, passphrase)?.ok_or(KeyError::Seal)?;
                (Self::Passphrase(der), PrivateKey::from_pkcs8(again.expose())?)
            }
            NewProtection::Kms(kms) => {
                let envelope = Envelope::seal(key, cluster, kms)?;
                let again = envelope.open(&envelope.data_key(kms)?)?;
                (Self::Envelope(Box::new(envelope)), again)
            }
        };
        if again.public_key_info() == key.public_key_info() { Ok(sealed) } else { Err(KeyError::Seal) }
    }

    /// Serialize the key file.
    ///
    /// # Errors
    /// [`KeyError::Seal`] when it cannot be serialized.
    pub fn into_contents(self) -> Result<Secret, KeyError> {
        Ok(match self {
            Self::Plain(pem) => pem,
            Self::Passphrase(der) => Secret::new(pem::pem(passphrase::LABEL, &der).into_bytes()),
            Self::Envelope(envelope) => Secret::new(envelope.to_text()?.into_bytes()),
        })
    }

    /// Protection of the key.
    #[must_use]
    pub fn protection(&self) -> Protection {
        match self {
            Self::Plain(_) => Protection::None,
            Self::Passphrase(_) => Protection::Passphrase,
            Self::Envelope(envelope) => Protection::Kms {
                kms: envelope.wrapped().kind(),
                wrapping_key: envelope.wrapped().key().to_owned(),
                version: envelope.wrapped().version(),
            },
        }
    }

    /// Open the key with the secrets from `unlock`; `path` is its file.
    ///
    /// # Errors
    /// [`KeyError`], notably [`KeyError::WrongPassphrase`] and [`KeyError::Kms`].
    pub fn open(&self, path: &Path, unlock: &dyn Unlock) -> Result<PrivateKey, KeyError> {
        match self {
            Self::Plain(pem) => PrivateKey::from_pem(pem).map_err(|error| error.in_file(path)),
            Self::Passphrase(der) => {
                let pkcs8 = passphrase::decrypt(der, &unlock.passphrase(path)?)?;
                let key = pkcs8.and_then(|pkcs8| PrivateKey::from_pkcs8(pkcs8.expose()).ok());
                key.ok_or_else(|| KeyError::WrongPassphrase { path: path.to_owned() })
            }
            Self::Envelope(envelope) => {
                envelope.open(&unlock.kms()?.data_key(envelope)?).map_err(|error| error.in_file(path))
            }
        }
    }
}

impl PrivateKey {
    /// Read and open a key file of any form; an unencrypted one needs nothing from `unlock`.
    ///
    /// # Errors
    /// As [`KeyFile::read`] and [`KeyFile::open`].
    pub fn unlock(path: &Path, unlock: &dyn Unlock) -> Result<Self, KeyError> {
        KeyFile::read(path)?.open(path, unlock)
    }
}
