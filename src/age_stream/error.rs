//! Errors of encrypted streams.

use std::io;

use crate::clock::EntropyError;
use crate::error::{Code, Coded};

/// Limit on the work that a stream may request, which takes 1 GiB.
pub(super) const MAX_LOG_N: u8 = 20;

/// A stream that cannot be encrypted or decrypted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgeError {
    /// Authentication failed: bytes were changed, added or removed.
    #[error("the encrypted stream was modified or truncated")]
    Altered,
    /// The crypto library failed.
    #[error("the crypto library failed")]
    Crypto,
    /// The random generator failed.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// Not the age format, or an age file for recipients instead of a passphrase.
    #[error("it is not a passphrase-encrypted file in the age format")]
    Foreign,
    /// Reading or writing failed.
    #[error("it cannot be read or written")]
    Io(#[from] io::Error),
    /// The passphrase does not open the stream.
    #[error("the passphrase is wrong")]
    Passphrase,
    /// The stream asks for more scrypt memory than the limit.
    #[error("it asks for scrypt with N = 2^{log_n}; the maximum is 2^{max}", max = MAX_LOG_N)]
    TooCostly {
        /// The requested log2 of N.
        log_n: u8,
    },
    /// The passphrase is short enough to guess.
    #[error("the passphrase is too short: it must have at least {minimum} characters")]
    WeakPassphrase {
        /// The minimum length in characters.
        minimum: usize,
    },
}

impl Coded for AgeError {
    fn coded(&self) -> Code {
        match self {
            Self::Altered => Code::environment("sealed.altered"),
            Self::Crypto => Code::environment("system.crypto"),
            Self::Entropy(error) => error.coded(),
            Self::Foreign => Code::environment("sealed.foreign"),
            Self::Io(_) => Code::environment("file.stream"),
            Self::Passphrase => Code::refused("sealed.passphrase"),
            Self::TooCostly { .. } => Code::refused("sealed.too_costly"),
            Self::WeakPassphrase { .. } => Code::refused("sealed.weak_passphrase"),
        }
    }
}

/// [`AgeError::Altered`] for the `Read` trait: an error of kind `InvalidData`.
pub(super) fn altered() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, AgeError::Altered)
}
