//! PKCS#12 key store (RFC 7292) for browsers and Java: private key and certificate chain.
//!
//! The store is encrypted with PBES2 (PBKDF2 with HMAC-SHA-256, AES-256-CBC; RFC 8018) and
//! authenticated with HMAC-SHA-256. Java 8u301, OpenSSL 1.1.1, NSS and their successors read it.

use p12_keystore::{
    Certificate as StoredCertificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm,
    PrivateKey as StoredKey, PrivateKeyChain,
};

use crate::error::{Code, Coded};
use crate::keys::{KeyError, PrivateKey};
use crate::secret::Secret;
use crate::x509::Certificate;

/// PBKDF2 iterations: the OWASP recommendation for HMAC-SHA-256; opening takes a tenth of a second.
const ITERATIONS: u32 = 600_000;

/// Iterations of the MAC's key derivation; some readers limit these to fewer than PBKDF2's.
const MAC_ITERATIONS: u32 = 100_000;

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

    fn as_str(&self) -> Result<&str, KeyStoreError> {
        std::str::from_utf8(self.0.expose()).map_err(|_| KeyStoreError::Password)
    }
}

/// Create a key store with one entry `alias`: the private key and its chain, leaf first.
///
/// # Errors
/// [`KeyStoreError`] when the key cannot be parsed or the encoder fails.
pub fn key_store(
    alias: &str,
    key_pem: &Secret,
    chain: &[&Certificate],
    password: &KeyStorePassword,
) -> Result<Secret, KeyStoreError> {
    let key = PrivateKey::from_pem(key_pem)?;
    let refused = |error: p12_keystore::error::Error| KeyStoreError::Library { why: error.to_string() };
    let stored_key = StoredKey::from_der(key.to_pkcs8()?.secret_pkcs8_der()).map_err(refused)?;
    let certificates = chain
        .iter()
        .map(|certificate| StoredCertificate::from_der(&certificate.der))
        .collect::<Result<Vec<_>, _>>()
        .map_err(refused)?;
    // Links the key to its certificate (localKeyID, RFC 2985): any value unique to the pair.
    let local_key_id = chain.first().map(|leaf| leaf.fingerprint().0.to_vec()).unwrap_or_default();
    let mut store = KeyStore::new();
    let entry = PrivateKeyChain::new(local_key_id, stored_key, certificates);
    store.add_entry(alias, KeyStoreEntry::PrivateKeyChain(entry));
    let bytes = store
        .writer(password.as_str()?)
        .encryption_algorithm(EncryptionAlgorithm::PbeWithHmacSha256AndAes256)
        .encryption_iterations(ITERATIONS)
        .mac_algorithm(MacAlgorithm::HmacSha256)
        .mac_iterations(MAC_ITERATIONS)
        .write()
        .map_err(refused)?;
    Ok(Secret::new(bytes))
}

/// Failure to create a key store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyStoreError {
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
}

impl Coded for KeyStoreError {
    fn coded(&self) -> Code {
        match self {
            Self::Key(error) => error.coded(),
            Self::Library { .. } => Code::refused("key_store.library"),
            Self::Password => Code::usage("input.password"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
