//! Data encryption keys (DEK): one per envelope, 256 bits, wrapped by a key management service.

use std::fmt;

use zeroize::Zeroizing;

use super::error::KeyError;

/// A data encryption key of 32 bytes, zeroized on drop.
pub struct DataKey(Zeroizing<[u8; 32]>);

impl DataKey {
    /// Generate a random data key.
    ///
    /// # Errors
    /// [`KeyError::Seal`] when the random generator fails.
    pub fn random() -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(bytes.as_mut()).map_err(|_| KeyError::Seal)?;
        Ok(Self(bytes))
    }

    /// Take a data key that a service unwrapped; `None` unless it has exactly 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        (bytes.len() == key.len()).then(|| key.copy_from_slice(bytes))?;
        Some(Self(key))
    }

    /// The bytes, for the cipher or the service that wraps them.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(…)")
    }
}
