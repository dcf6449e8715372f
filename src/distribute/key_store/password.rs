//! Passwords of key stores.

use super::error::KeyStoreError;
use crate::secret::Secret;

/// Password of a key store: 8 to 1024 printable ASCII characters. Implementations disagree on the
/// encoding of all others.
#[derive(Debug)]
pub struct KeyStorePassword(Secret);

impl KeyStorePassword {
    /// Check a password that was typed or read from a file.
    ///
    /// # Errors
    /// [`KeyStoreError::Password`] when it is too short, too long or not printable ASCII.
    pub fn new(secret: Secret) -> Result<Self, KeyStoreError> {
        let bytes = secret.expose();
        let printable = bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
        if printable && (8..=1024).contains(&bytes.len()) {
            Ok(Self(secret))
        } else {
            Err(KeyStoreError::Password)
        }
    }

    pub(super) fn as_str(&self) -> Result<&str, KeyStoreError> {
        std::str::from_utf8(self.0.expose()).map_err(|_| KeyStoreError::Password)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Coded;

    #[test]
    fn a_password_without_a_portable_encoding_is_refused() {
        let long = "a".repeat(1025);
        for text in ["", "short", "with\ttab in it", "pässwörter", "line\nbreaks", &long] {
            let refused = KeyStorePassword::new(Secret::new(text.as_bytes().to_vec())).unwrap_err();
            assert_eq!(refused.code(), "input.password", "{text:?}");
        }
        assert!(KeyStorePassword::new(Secret::new(b"correct horse".to_vec())).is_ok());
    }
}
