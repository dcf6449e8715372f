//! Errors of private keys.

use std::path::{Path, PathBuf};

use super::kms::KmsError;
use crate::error::{Code, Coded};
use crate::files::FileError;
use crate::x509::KeyAlgorithm;

/// Failure to generate, open or protect a private key. Messages never describe the key's contents, and do not
/// tell a wrong passphrase from a damaged file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The key is encrypted, and the caller accepts unencrypted keys only.
    #[error("the private key is encrypted")]
    Encrypted,
    /// The envelope was altered, or its data key is another one.
    #[error("the envelope does not open: it was altered or damaged, or its data key is another one")]
    EnvelopeDamaged,
    /// The file looks like an envelope and is malformed.
    #[error("the envelope of the private key cannot be read: {why}")]
    EnvelopeUnreadable {
        /// Reason.
        why: String,
    },
    /// The format of the envelope is not supported.
    #[error("the format of the envelope is {found}; this program supports format {known}")]
    EnvelopeVersion {
        /// Format of the file.
        found: u32,
        /// Supported format.
        known: u32,
    },
    /// The file could not be read, or is not safe to use.
    #[error(transparent)]
    File(#[from] FileError),
    /// The crypto library could not generate or encode the key.
    #[error("cannot generate a key of type {algorithm}")]
    Generate {
        /// Key type.
        algorithm: KeyAlgorithm,
    },
    /// The contents of a file are not the expected key.
    #[error("{}: {error}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// Cause.
        error: Box<KeyError>,
    },
    /// The key is encrypted in OpenSSL's traditional format (RFC 1421), whose key derivation is one round of MD5.
    #[error(
        "the private key has the legacy encryption of PEM headers (DEK-Info), which is weak and not supported"
    )]
    LegacyEncryption,
    /// The key is non-exportable.
    #[error("the private key is non-exportable: a service or token holds it")]
    NotExportable,
    /// The key management service could not be used.
    #[error(transparent)]
    Kms(#[from] KmsError),
    /// Not exactly one private key in PEM.
    #[error("not one private key in PEM: exactly one block `PRIVATE KEY` is expected")]
    NotPem,
    /// The source of the passphrase is empty.
    #[error("the passphrase is empty: the first line of {from} is empty")]
    PassphraseEmpty {
        /// File or descriptor.
        from: String,
    },
    /// A passphrase is needed and no source has one.
    #[error("{} is protected by a passphrase, and none was given", path.display())]
    PassphraseNeeded {
        /// The key's file.
        path: PathBuf,
    },
    /// The source of the passphrase could not be read.
    #[error("cannot read the passphrase from {from}")]
    PassphraseUnreadable {
        /// File or descriptor.
        from: String,
        /// Cause.
        source: std::io::Error,
    },
    /// The crypto library could not encrypt the key.
    #[error("the crypto library cannot encrypt the private key")]
    Seal,
    /// A secret was changed, or belongs to another key.
    #[error("a stored secret does not open: it was changed, or its key was replaced")]
    SecretDamaged,
    /// The file asks for excessive memory or time.
    #[error(
        "opening the private key would need excessive memory or time; its key derivation parameters are refused"
    )]
    TooCostly,
    /// The key is damaged or of an unsupported type.
    #[error(
        "the private key is damaged or of a type that is not supported (P-256, P-384, Ed25519, RSA 2048, 3072, 4096 are)"
    )]
    Unsupported,
    /// The encryption scheme is unsupported.
    #[error(
        "the private key is encrypted in a way that is not supported (PBES2 with scrypt or PBKDF2-HMAC-SHA-2 and AES-CBC is)"
    )]
    UnsupportedEncryption,
    /// The new passphrase is too short.
    #[error("the passphrase is too short: it must have at least {minimum} characters")]
    WeakPassphrase {
        /// Minimum length, in characters.
        minimum: usize,
    },
    /// Wrong passphrase or damaged file, deliberately not distinguished.
    #[error("{} does not open: the passphrase is wrong, or the file is damaged", path.display())]
    WrongPassphrase {
        /// The key's file.
        path: PathBuf,
    },
}

impl KeyError {
    /// Add the file to an error whose message does not name one.
    #[must_use]
    pub fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Encrypted
            | Self::EnvelopeDamaged
            | Self::EnvelopeUnreadable { .. }
            | Self::EnvelopeVersion { .. }
            | Self::LegacyEncryption
            | Self::NotPem
            | Self::TooCostly
            | Self::Unsupported
            | Self::UnsupportedEncryption => Self::InFile { path: path.to_owned(), error: Box::new(self) },
            error => error,
        }
    }

    /// True if a retry may succeed without any change on this machine.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Kms(error) if error.is_temporary())
    }
}

impl Coded for KeyError {
    fn coded(&self) -> Code {
        match self {
            Self::Encrypted => Code::refused("key.encrypted"),
            Self::EnvelopeDamaged => Code::environment("key.envelope_damaged"),
            Self::EnvelopeUnreadable { .. } => Code::environment("key.envelope_unreadable"),
            Self::EnvelopeVersion { .. } => Code::refused("key.envelope_version"),
            Self::File(error) => error.coded(),
            Self::Generate { .. } => Code::refused("key.generate"),
            Self::NotExportable => Code::refused("key.held"),
            Self::InFile { error, .. } => error.coded(),
            Self::Kms(error) => error.coded(),
            Self::LegacyEncryption => Code::refused("key.legacy_encryption"),
            Self::NotPem => Code::environment("key.not_pem"),
            Self::PassphraseEmpty { .. } => Code::environment("key.passphrase_empty"),
            Self::PassphraseNeeded { .. } => Code::usage("key.passphrase_needed"),
            Self::PassphraseUnreadable { .. } => Code::environment("key.passphrase_unreadable"),
            Self::Seal => Code::refused("key.seal"),
            Self::SecretDamaged => Code::environment("key.secret_damaged"),
            Self::TooCostly => Code::refused("key.too_costly"),
            Self::Unsupported => Code::environment("key.unsupported"),
            Self::UnsupportedEncryption => Code::refused("key.unsupported_encryption"),
            Self::WeakPassphrase { .. } => Code::refused("key.weak_passphrase"),
            Self::WrongPassphrase { .. } => Code::refused("key.wrong_passphrase"),
        }
    }
}
