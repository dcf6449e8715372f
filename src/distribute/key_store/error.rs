//! Failures of key stores.

use crate::clock::EntropyError;
use crate::error::{Code, Coded};
use crate::keys::KeyError;

/// Failure to create or to open a key store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyStoreError {
    /// No random numbers.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The private key cannot be parsed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The PKCS#12 library failed.
    #[error("cannot create the key store: {why}")]
    Library {
        /// Error text of the library.
        why: String,
    },
    /// The password has characters or a length that some readers do not support.
    #[error("the password of a key store must have 8 to 1024 printable ASCII characters")]
    Password,
    /// Not a readable key store.
    #[error("cannot read the key store: {why}")]
    Unreadable {
        /// Error text of the library.
        why: String,
    },
    /// Another password, or an altered file: the MAC does not tell which.
    #[error("the password does not open the key store, or the file was altered")]
    WrongPassword,
}

impl Coded for KeyStoreError {
    fn coded(&self) -> Code {
        match self {
            Self::Entropy(error) => error.coded(),
            Self::Key(error) => error.coded(),
            Self::Library { .. } => Code::refused("key_store.library"),
            Self::Password => Code::usage("input.password"),
            Self::Unreadable { .. } => Code::refused("key_store.unreadable"),
            Self::WrongPassword => Code::refused("key_store.password"),
        }
    }
}
