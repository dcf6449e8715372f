//! Why a private key could not be made, opened or protected.

use std::path::{Path, PathBuf};

use super::kms::KmsError;
use crate::files::FileError;
use crate::x509::KeyAlgorithm;

/// Why a private key could not be made or opened. Never says anything about its contents, and of a
/// passphrase that does not fit not even which part of it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The key is encrypted, and whoever asked for it has nothing to open it with.
    #[error("the private key is encrypted")]
    Encrypted,
    /// The envelope was altered, or its data key is not the one that sealed it.
    #[error("the envelope does not open: it was altered or damaged, or its data key is another one")]
    EnvelopeDamaged,
    /// The file begins like an envelope and is none.
    #[error("the envelope of the private key cannot be read: {why}")]
    EnvelopeUnreadable {
        /// What is wrong with it.
        why: String,
    },
    /// The envelope is of a format that this program does not know.
    #[error("the envelope is of format {found}; this program knows format {known}")]
    EnvelopeVersion {
        /// The format of the file.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// The file could not be read, or should not be used as it is.
    #[error(transparent)]
    File(#[from] FileError),
    /// The crypto library could not make the key.
    #[error("cannot make a key of type {algorithm}")]
    Generate {
        /// The type asked for.
        algorithm: KeyAlgorithm,
    },
    /// What is in a file cannot be read as the key that it should be.
    #[error("{}: {error}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: Box<KeyError>,
    },
    /// The key is held by a service or a token and never leaves it.
    #[error("the private key is held by a service or a token and never leaves it")]
    Held,
    /// The key management service could not be used.
    #[error(transparent)]
    Kms(#[from] KmsError),
    /// Not one private key in PEM.
    #[error("not a private key in PEM: exactly one block `PRIVATE KEY` was expected")]
    NotPem,
    /// There is no passphrase where it should come from.
    #[error("the passphrase is empty: the first line of {from} has nothing in it")]
    PassphraseEmpty {
        /// Where it should come from.
        from: String,
    },
    /// A passphrase is needed and there is nobody to ask.
    #[error("{} is protected by a passphrase, and none was given", path.display())]
    PassphraseNeeded {
        /// The key's file.
        path: PathBuf,
    },
    /// The passphrase could not be read from where it should come from.
    #[error("cannot read the passphrase from {from}")]
    PassphraseUnreadable {
        /// Where it should come from.
        from: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The crypto library could not encrypt the key.
    #[error("the crypto library cannot encrypt the private key")]
    Seal,
    /// Opening the key would take more memory or time than any sensible file asks for.
    #[error("the private key asks for more work to open it than any honest one does")]
    TooCostly,
    /// Not a key of a type that this project uses, or a damaged one.
    #[error(
        "the private key is damaged or of a type that is not supported (P-256, P-384, Ed25519, RSA 2048, 3072, 4096 are)"
    )]
    Unsupported,
    /// Encrypted in a way that this project does not read.
    #[error(
        "the private key is encrypted in a way that is not supported (PBES2 with scrypt or PBKDF2-HMAC-SHA-2 and AES-CBC is)"
    )]
    UnsupportedEncryption,
    /// The new passphrase is too easily guessed.
    #[error("the passphrase is too short: it must have at least {minimum} characters")]
    WeakPassphrase {
        /// The fewest characters that are taken.
        minimum: usize,
    },
    /// Wrong passphrase or damaged file; deliberately not told apart.
    #[error("{} does not open: the passphrase is wrong, or the file is damaged", path.display())]
    WrongPassphrase {
        /// The key's file.
        path: PathBuf,
    },
}

impl KeyError {
    /// The same, naming the file where it does not say by itself what it is about.
    #[must_use]
    pub fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Encrypted
            | Self::EnvelopeDamaged
            | Self::EnvelopeUnreadable { .. }
            | Self::EnvelopeVersion { .. }
            | Self::NotPem
            | Self::TooCostly
            | Self::Unsupported
            | Self::UnsupportedEncryption => Self::InFile { path: path.to_owned(), error: Box::new(self) },
            error => error,
        }
    }

    /// Whether the same may well succeed later without anybody changing anything here.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Kms(error) if error.is_temporary())
    }

    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Encrypted => "key.encrypted",
            Self::EnvelopeDamaged => "key.envelope_damaged",
            Self::EnvelopeUnreadable { .. } => "key.envelope_unreadable",
            Self::EnvelopeVersion { .. } => "key.envelope_version",
            Self::File(error) => error.code(),
            Self::Generate { .. } => "key.generate",
            Self::Held => "key.held",
            Self::InFile { error, .. } => error.code(),
            Self::Kms(error) => error.code(),
            Self::NotPem => "key.not_pem",
            Self::PassphraseEmpty { .. } => "key.passphrase_empty",
            Self::PassphraseNeeded { .. } => "key.passphrase_needed",
            Self::PassphraseUnreadable { .. } => "key.passphrase_unreadable",
            Self::Seal => "key.seal",
            Self::TooCostly => "key.too_costly",
            Self::Unsupported => "key.unsupported",
            Self::UnsupportedEncryption => "key.unsupported_encryption",
            Self::WeakPassphrase { .. } => "key.weak_passphrase",
            Self::WrongPassphrase { .. } => "key.wrong_passphrase",
        }
    }
}
