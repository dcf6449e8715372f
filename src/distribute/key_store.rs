//! A PKCS#12 key store (RFC 7292) for browsers and Java: key and certificate under a password.
//!
//! Encrypted with PBES2 (PBKDF2 with HMAC-SHA-256, AES-256-CBC; RFC 8018) and authenticated with
//! HMAC-SHA-256: what Java 8u301, OpenSSL 1.1.1, NSS and their successors read.

use p12_keystore::{
    Certificate as StoredCertificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm,
    PrivateKey as StoredKey, PrivateKeyChain,
};

use crate::keys::{KeyError, PrivateKey};
use crate::secret::Secret;
use crate::x509::Certificate;

/// Rounds of PBKDF2: what OWASP asks for HMAC-SHA-256; a tenth of a second to open.
const ROUNDS: u32 = 600_000;

/// Rounds for the integrity check, whose older derivation some readers bound to less.
const MAC_ROUNDS: u32 = 100_000;

/// The password of a key store: 8 to 1024 printable ASCII characters, because implementations encode
/// all others differently.
#[derive(Debug)]
pub struct Password(Secret);

impl Password {
    /// Judges what somebody typed or a file holds.
    ///
    /// # Errors
    /// [`KeyStoreError::Password`] for one that is too short, too long or not printable ASCII.
    pub fn new(secret: Secret) -> Result<Self, KeyStoreError> {
        let bytes = secret.expose();
        let printable = bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
        if printable && (8..=1024).contains(&bytes.len()) {
            Ok(Self(secret))
        } else {
            Err(KeyStoreError::Password)
        }
    }

    /// The password is ASCII, hence UTF-8.
    fn as_str(&self) -> &str {
        std::str::from_utf8(self.0.expose()).unwrap_or_default()
    }
}

/// A key store of one entry called `alias`: the private key and its chain, the leaf first.
///
/// # Errors
/// [`KeyStoreError`]: the key cannot be read, or the library refuses.
pub fn key_store(
    alias: &str,
    key_pem: &Secret,
    chain: &[&Certificate],
    password: &Password,
) -> Result<Secret, KeyStoreError> {
    let key = PrivateKey::from_pem(key_pem)?;
    let refused = |error: p12_keystore::error::Error| KeyStoreError::Library { why: error.to_string() };
    let stored_key = StoredKey::from_der(key.to_pkcs8()?.secret_pkcs8_der()).map_err(refused)?;
    let certificates = chain
        .iter()
        .map(|certificate| StoredCertificate::from_der(&certificate.der))
        .collect::<Result<Vec<_>, _>>()
        .map_err(refused)?;
    // What ties the key to its certificate: any bytes that only these two have.
    let local_key_id = chain.first().map(|leaf| leaf.fingerprint().0.to_vec()).unwrap_or_default();
    let mut store = KeyStore::new();
    let entry = PrivateKeyChain::new(local_key_id, stored_key, certificates);
    store.add_entry(alias, KeyStoreEntry::PrivateKeyChain(entry));
    let bytes = store
        .writer(password.as_str())
        .encryption_algorithm(EncryptionAlgorithm::PbeWithHmacSha256AndAes256)
        .encryption_iterations(ROUNDS)
        .mac_algorithm(MacAlgorithm::HmacSha256)
        .mac_iterations(MAC_ROUNDS)
        .write()
        .map_err(refused)?;
    Ok(Secret::new(bytes))
}

/// Why there is no key store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyStoreError {
    /// The private key cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The library refused.
    #[error("cannot make the key store: {why}")]
    Library {
        /// Its words.
        why: String,
    },
    /// Not a password that every reader of such a file understands.
    #[error("the password of a key store has 8 to 1024 printable ASCII characters")]
    Password,
}

impl KeyStoreError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Key(error) => error.code(),
            Self::Library { .. } => "key_store.library",
            Self::Password => "input.password",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_readers_would_encode_differently_is_refused() {
        let long = "a".repeat(1025);
        for text in ["", "short", "with\ttab in it", "pässwörter", "line\nbreaks", &long] {
            let refused = Password::new(Secret::new(text.as_bytes().to_vec())).unwrap_err();
            assert_eq!(refused.code(), "input.password", "{text:?}");
        }
        assert!(Password::new(Secret::new(b"correct horse".to_vec())).is_ok());
    }
}
