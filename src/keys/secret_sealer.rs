//! Encryption of small secrets under a private key of the home, which is protected as every key is: by a key
//! management service, a passphrase, or its file permissions.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use zeroize::Zeroizing;

use super::error::KeyError;
use super::private_key::PrivateKey;
use crate::secret::Secret;

/// Prefix of the associated data: separates secrets from other uses of the key.
const DOMAIN: &[u8] = b"cluster-ca sealed secret\0";

/// Cipher for secrets, derived from a private key.
pub struct SecretSealer(Zeroizing<[u8; 32]>);

impl SecretSealer {
    /// The cipher of `key`.
    ///
    /// # Errors
    /// [`KeyError::NotExportable`], or [`KeyError::Seal`] when the crypto library fails.
    pub fn of(key: &PrivateKey) -> Result<Self, KeyError> {
        let mut cipher_key = Zeroizing::new([0; 32]);
        let failed = |_| KeyError::Seal;
        // The encoding of a key that was written and read, which a new one may not have yet.
        let key = PrivateKey::from_pkcs8(key.der()?)?;
        let secret = Salt::new(HKDF_SHA256, DOMAIN).extract(key.der()?);
        secret.expand(&[DOMAIN], HKDF_SHA256).and_then(|key| key.fill(&mut *cipher_key)).map_err(failed)?;
        Ok(Self(cipher_key))
    }

    /// Encrypt a secret for one `purpose`: it opens for no other.
    ///
    /// # Errors
    /// [`KeyError::Seal`].
    pub fn seal(&self, purpose: &str, secret: &Secret) -> Result<Vec<u8>, KeyError> {
        // With capacity for the tag: growing would leave the plaintext behind.
        let mut text = Vec::with_capacity(secret.expose().len() + AES_256_GCM.tag_len());
        text.extend_from_slice(secret.expose());
        let nonce = RandomizedNonceKey::new(&AES_256_GCM, &*self.0)
            .and_then(|cipher| cipher.seal_in_place_append_tag(Aad::from(context(purpose)), &mut text))
            .map_err(|_| KeyError::Seal)?;
        Ok([nonce.as_ref().as_slice(), &text].concat())
    }

    /// Decrypt a secret.
    ///
    /// # Errors
    /// [`KeyError::SecretDamaged`] for a changed secret, and one of another key or purpose.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Secret, KeyError> {
        let damaged = |_| KeyError::SecretDamaged;
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(KeyError::SecretDamaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(damaged)?;
        let mut text = Zeroizing::new(text.to_vec());
        let opened = RandomizedNonceKey::new(&AES_256_GCM, &*self.0)
            .and_then(|cipher| cipher.open_in_place(nonce, Aad::from(context(purpose)), &mut text))
            .map_err(damaged)?;
        Ok(Secret::new(opened.to_vec()))
    }
}

impl std::fmt::Debug for SecretSealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretSealer(…)")
    }
}

fn context(purpose: &str) -> Vec<u8> {
    [DOMAIN, purpose.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::KeyAlgorithm;

    #[test]
    fn a_secret_opens_with_its_key_and_for_its_purpose_only() {
        let [key, other] = [(); 2].map(|()| PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
        let sealer = SecretSealer::of(&key).unwrap();
        let sealed = sealer.seal("reader", &Secret::new(b"hunter2".to_vec())).unwrap();
        assert!(!sealed.windows(7).any(|part| part == b"hunter2"));
        // The key may have been written and read since.
        let again = PrivateKey::from_pem(&key.to_pem().unwrap()).unwrap();
        let opened = SecretSealer::of(&again).unwrap().open("reader", &sealed).unwrap();
        assert_eq!(opened.expose(), b"hunter2");
        assert!(sealer.open("another", &sealed).is_err());
        assert!(SecretSealer::of(&other).unwrap().open("reader", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer.open("reader", &changed).is_err(), "{at}");
            assert!(sealer.open("reader", &sealed[..at]).is_err(), "{at}");
        }
    }
}
