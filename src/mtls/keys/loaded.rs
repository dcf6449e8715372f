//! Result of looking for a private key: unchanged, opened, or still pending.

use super::error::KeyLoadError;
use crate::keys::{PrivateKey, Protection};
use crate::x509::Sha256;

/// Private key as far as it is available.
#[derive(Debug)]
pub enum LoadedKey {
    /// The files have not changed: the key in force stays.
    Unchanged,
    /// The new key is not open yet: the key in force stays for now.
    Pending,
    /// A new key.
    Opened {
        /// The private key.
        key: Box<PrivateKey>,
        /// SHA-256 of the files it was opened from.
        fingerprint: Sha256,
        /// Protection of the key at rest.
        protection: Protection,
    },
}

/// Progress of opening the configured keys; by default, all are open.
#[derive(Debug, Default)]
pub struct KeyProgress {
    /// True while a key is being opened.
    pub pending: bool,
    /// Failure to open a key.
    pub failed: Option<KeyLoadError>,
}
