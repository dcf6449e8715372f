//! Files that hold a private key, whatever protects it: recognised, opened, and sealed.

use std::path::Path;

use serde::Serialize;
use uuid::Uuid;

use super::envelope::Envelope;
use super::kms::KeyWrap;
use super::unlock::Unlock;
use super::{KeyError, PrivateKey, passphrase};
use crate::files;
use crate::secret::Secret;
use crate::x509::pem;

/// A private key as it is kept: read, but not opened.
#[derive(Debug)]
pub enum KeyFile {
    /// PKCS#8 (or an older form) in PEM, unencrypted.
    Plain(Secret),
    /// PKCS#8 encrypted with a passphrase: the DER of its `EncryptedPrivateKeyInfo`.
    Passphrase(Vec<u8>),
    /// Encrypted with a data key that a key management service wraps.
    Envelope(Box<Envelope>),
}

/// What protects a private key at rest beyond the mode of its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "protection", rename_all = "kebab-case")]
pub enum Protection {
    /// It is not here: a service or a token holds it, and it never leaves it.
    Held {
        /// What holds it.
        by: String,
    },
    /// A key management service; without it the key does not open.
    Kms {
        /// The kind of service.
        kms: &'static str,
        /// The service's name for the wrapping key.
        wrapping_key: String,
        /// The version of the wrapping key, where the service tells.
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
    },
    /// Nothing.
    None,
    /// A passphrase.
    Passphrase,
}

/// What shall protect a key.
#[derive(Clone, Copy)]
pub enum NewProtection<'a> {
    /// A data key of its own, wrapped by this service.
    Kms(&'a dyn KeyWrap),
    /// Nothing but the mode of its file.
    None,
    /// This passphrase.
    Passphrase(&'a Secret),
}

impl std::fmt::Display for Protection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Held { by } => write!(f, "never leaves {by}"),
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
    /// Reads a key file that its owner alone may read.
    ///
    /// # Errors
    /// [`KeyError`] for a file that is missing, exposed, or of no form that is known.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        Self::parse(files::read_private(path)?).map_err(|error| error.in_file(path))
    }

    /// Recognises what a key file holds.
    ///
    /// # Errors
    /// [`KeyError`] for an envelope that cannot be read.
    pub fn parse(contents: Secret) -> Result<Self, KeyError> {
        let text = contents.expose();
        if Envelope::is_like(text) {
            return Ok(Self::Envelope(Box::new(Envelope::parse(text)?)));
        }
        match pem::only_block(text) {
            Ok(block) if block.label == passphrase::LABEL => Ok(Self::Passphrase(block.der().to_vec())),
            // Whether it is a key is for `PrivateKey::from_pem` to say.
            _ => Ok(Self::Plain(contents)),
        }
    }

    /// Seals `key` in the way wanted, and opens it again to be sure that it can be: nobody notices a
    /// key that was lost in this step before it is needed.
    ///
    /// # Errors
    /// [`KeyError::WeakPassphrase`], [`KeyError::Seal`], or what the key management service says.
    pub fn seal(key: &PrivateKey, cluster: Uuid, protection: NewProtection<'_>) -> Result<Self, KeyError> {
        let (sealed, again) = match protection {
            NewProtection::None => {
                let pem = key.to_pem()?;
                let again = PrivateKey::from_pem(&pem)?;
                (Self::Plain(pem), again)
            }
            NewProtection::Passphrase(passphrase) => {
                passphrase::judge_new_passphrase(passphrase)?;
                let der = passphrase::encrypt(key.pair()?.serialized_der(), passphrase)?;
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

    /// What is to be written to the file.
    ///
    /// # Errors
    /// [`KeyError::Seal`] when it cannot be encoded, which no key of ours causes.
    pub fn into_contents(self) -> Result<Secret, KeyError> {
        Ok(match self {
            Self::Plain(pem) => pem,
            Self::Passphrase(der) => Secret::new(pem::pem(passphrase::LABEL, &der).into_bytes()),
            Self::Envelope(envelope) => Secret::new(envelope.to_text()?.into_bytes()),
        })
    }

    /// What protects the key.
    #[must_use]
    pub fn protection(&self) -> Protection {
        match self {
            Self::Plain(_) => Protection::None,
            Self::Passphrase(_) => Protection::Passphrase,
            Self::Envelope(envelope) => Protection::Kms {
                kms: envelope.wrapped().kms(),
                wrapping_key: envelope.wrapped().key().to_owned(),
                version: envelope.wrapped().version(),
            },
        }
    }

    /// Opens the key with what `unlock` supplies; `path` is where it was read from.
    ///
    /// # Errors
    /// [`KeyError`]: above all [`KeyError::WrongPassphrase`] and what the key management service says.
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
    /// Opens the key in a file, whatever protects it; plain files need nothing of `unlock`.
    ///
    /// # Errors
    /// As [`KeyFile::read`] and [`KeyFile::open`].
    pub fn unlock(path: &Path, unlock: &dyn Unlock) -> Result<Self, KeyError> {
        KeyFile::read(path)?.open(path, unlock)
    }
}
