//! Errors of opening a private key.

use std::path::PathBuf;

use crate::error::{Code, Coded};
use crate::keys::KeyError;

/// Private key that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyLoadError {
    /// Opening failed.
    #[error("the private key {} cannot be opened", path.display())]
    Open {
        /// Path of the key file.
        path: PathBuf,
        /// Reason.
        source: Box<KeyError>,
    },
    /// The KMS or token did not open the key within the configured time.
    #[error("the private key {} could not be opened within {waited}", path.display())]
    Timeout {
        /// Path of the key file.
        path: PathBuf,
        /// Configured time, as text.
        waited: String,
        /// Reason of the last failure.
        source: Box<KeyError>,
    },
}

impl KeyLoadError {
    /// True if a later attempt may succeed without a change to files or configuration.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Open { source, .. } if source.is_temporary())
    }
}

impl Coded for KeyLoadError {
    fn coded(&self) -> Code {
        match self {
            Self::Open { source, .. } | Self::Timeout { source, .. } => source.coded(),
        }
    }
}
