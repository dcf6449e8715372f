//! Envelopes: private keys encrypted with a random data key each, which a key management service wraps. Only
//! the data key is sent to the service.
//!
//! The file is JSON with a version. AES-256-GCM authenticates version, cluster and key id. The wrapped data key
//! stands outside of it, so that a rotation in the service leaves the encrypted key unchanged.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::base64_text;
use super::data_key::DataKey;
use super::error::KeyError;
use super::kms::{KeyWrap, KmsError, Rewrap, WrappedKey};
use super::private_key::PrivateKey;
use crate::x509::Sha256;

/// Current format.
const VERSION: u32 = 1;

/// Prefix of the associated data: separates envelopes from other uses of AES-256-GCM.
const DOMAIN: &[u8] = b"cluster-ca key envelope\0";

/// A private key sealed under a wrapped data key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    cluster_ca_envelope: u32,
    cluster: Uuid,
    /// SHA-256 of the SubjectPublicKeyInfo.
    key_id: Sha256,
    wrapped: WrappedKey,
    #[serde(with = "base64_text")]
    nonce: Vec<u8>,
    #[serde(with = "base64_text")]
    ciphertext: Vec<u8>,
}

/// The field that every version has.
#[derive(Deserialize)]
struct AnyVersion {
    cluster_ca_envelope: u32,
}

impl Envelope {
    /// Seal `key` for `cluster` under a new data key, which `kms` wraps.
    ///
    /// # Errors
    /// [`KeyError::Seal`], [`KeyError::NotExportable`] or [`KeyError::Kms`].
    pub fn seal(key: &PrivateKey, cluster: Uuid, kms: &dyn KeyWrap<WrappedKey>) -> Result<Self, KeyError> {
        let data_key = DataKey::random()?;
        let key_id = key.key_id();
        let context = context(VERSION, cluster, &key_id);
        let pkcs8 = key.der()?;
        let mut ciphertext = Vec::with_capacity(pkcs8.len() + AES_256_GCM.tag_len());
        ciphertext.extend_from_slice(pkcs8);
        // Encrypted in place, with capacity for the tag: growing would leave the plaintext behind.
        let nonce = RandomizedNonceKey::new(&AES_256_GCM, data_key.expose())
            .and_then(|cipher| cipher.seal_in_place_append_tag(Aad::from(&context), &mut ciphertext))
            .map_err(|_| KeyError::Seal)?;
        let wrapped = kms.wrap_key(&data_key, &context)?;
        let nonce = nonce.as_ref().to_vec();
        Ok(Self { cluster_ca_envelope: VERSION, cluster, key_id, wrapped, nonce, ciphertext })
    }

    /// Decrypt the key.
    ///
    /// # Errors
    /// [`KeyError::EnvelopeDamaged`].
    pub fn open(&self, data_key: &DataKey) -> Result<PrivateKey, KeyError> {
        let damaged = |_| KeyError::EnvelopeDamaged;
        let nonce = Nonce::try_assume_unique_for_key(&self.nonce).map_err(damaged)?;
        let mut text = Zeroizing::new(self.ciphertext.clone());
        let pkcs8 = RandomizedNonceKey::new(&AES_256_GCM, data_key.expose())
            .and_then(|cipher| cipher.open_in_place(nonce, Aad::from(&self.context()), &mut text))
            .map_err(damaged)?;
        let key = PrivateKey::from_pkcs8(pkcs8)?;
        if key.key_id() == self.key_id { Ok(key) } else { Err(KeyError::EnvelopeDamaged) }
    }

    /// Unwrap the data key with `kms`.
    ///
    /// # Errors
    /// [`KmsError`].
    pub fn data_key(&self, kms: &dyn KeyWrap<WrappedKey>) -> Result<DataKey, KmsError> {
        kms.unwrap_key(&self.wrapped, &self.context())
    }

    /// The envelope with its data key wrapped by another service, verified by opening it. The ciphertext stays
    /// as it is.
    ///
    /// # Errors
    /// [`KeyError::Kms`], or [`KeyError::EnvelopeDamaged`].
    pub fn wrapped_by(&self, data_key: &DataKey, kms: &dyn KeyWrap<WrappedKey>) -> Result<Self, KeyError> {
        self.verified(kms.wrap_key(data_key, &self.context())?, kms)
    }

    /// The envelope with its data key rewrapped under the newest version of the service's key, verified by
    /// opening it. `None` if that version has wrapped it already, and opens it.
    ///
    /// # Errors
    /// [`KeyError::Kms`], or [`KeyError::EnvelopeDamaged`].
    pub fn rewrapped(&self, kms: &dyn KeyWrap<WrappedKey>) -> Result<Option<Self>, KeyError> {
        match kms.rewrap_key(&self.wrapped)? {
            // A service may name the version of a key that it has lost and made again.
            Rewrap::Current => self.open(&self.data_key(kms)?).map(|_| None),
            Rewrap::Done(wrapped) => self.verified(wrapped, kms).map(Some),
        }
    }

    fn verified(&self, wrapped: WrappedKey, kms: &dyn KeyWrap<WrappedKey>) -> Result<Self, KeyError> {
        let new = Self { wrapped, ..self.clone() };
        new.open(&new.data_key(kms)?)?;
        Ok(new)
    }

    /// The wrapped data key.
    #[must_use]
    pub fn wrapped(&self) -> &WrappedKey {
        &self.wrapped
    }

    /// Key id: SHA-256 of the SubjectPublicKeyInfo.
    #[must_use]
    pub fn key_id(&self) -> &Sha256 {
        &self.key_id
    }

    /// True if the contents of a file look like an envelope: JSON, not PEM.
    #[must_use]
    pub fn is_like(bytes: &[u8]) -> bool {
        bytes.trim_ascii_start().first() == Some(&b'{')
    }

    /// Parse an envelope.
    ///
    /// # Errors
    /// [`KeyError::EnvelopeUnreadable`], [`KeyError::EnvelopeVersion`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        let unreadable = |error: serde_json::Error| KeyError::EnvelopeUnreadable { why: error.to_string() };
        let AnyVersion { cluster_ca_envelope: found } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if found != VERSION {
            return Err(KeyError::EnvelopeVersion { found, known: VERSION });
        }
        serde_json::from_slice(bytes).map_err(unreadable)
    }

    /// Serialize the envelope as it is stored.
    ///
    /// # Errors
    /// [`KeyError::Seal`] when it cannot be serialized.
    pub fn to_text(&self) -> Result<String, KeyError> {
        let mut text = serde_json::to_string_pretty(self).map_err(|_| KeyError::Seal)?;
        text.push('\n');
        Ok(text)
    }

    fn context(&self) -> Vec<u8> {
        context(self.cluster_ca_envelope, self.cluster, &self.key_id)
    }
}

/// Associated data. Its fields have fixed lengths, so that different contexts never have the same bytes.
fn context(version: u32, cluster: Uuid, key_id: &Sha256) -> Vec<u8> {
    [DOMAIN, &version.to_be_bytes(), cluster.as_bytes(), &key_id.0].concat()
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, Engine as _};

    use super::*;
    use crate::error::Coded;
    use crate::keys::kms::vault::TransitCiphertext;
    use crate::x509::KeyAlgorithm;

    /// A fake service, whose ciphertext is the key version and the plain data key.
    struct FakeKms(u64);

    impl FakeKms {
        fn write(&self, data_key: &[u8]) -> WrappedKey {
            let ciphertext = format!("vault:v{}:{}", self.0, BASE64_STANDARD.encode(data_key));
            WrappedKey::Vault(TransitCiphertext { key: "fake".to_owned(), ciphertext })
        }
    }

    impl KeyWrap<WrappedKey> for FakeKms {
        fn check(&self) -> Result<(), KmsError> {
            Ok(())
        }

        fn wrap_key(&self, data_key: &DataKey, _: &[u8]) -> Result<WrappedKey, KmsError> {
            Ok(self.write(data_key.expose()))
        }

        fn unwrap_key(&self, wrapped: &WrappedKey, _: &[u8]) -> Result<DataKey, KmsError> {
            let WrappedKey::Vault(wrapped) = wrapped else { panic!() };
            let bytes =
                wrapped.ciphertext.rsplit(':').next().and_then(|text| BASE64_STANDARD.decode(text).ok());
            let key = bytes.and_then(|bytes| DataKey::from_bytes(&bytes));
            key.ok_or_else(|| KmsError::NotConfigured { kms: "vault", key: wrapped.key.clone() })
        }

        fn rewrap_key(&self, wrapped: &WrappedKey) -> Result<Rewrap<WrappedKey>, KmsError> {
            if wrapped.version() == Some(self.0) {
                return Ok(Rewrap::Current);
            }
            Ok(Rewrap::Done(self.write(self.unwrap_key(wrapped, &[])?.expose())))
        }
    }

    fn sealed(algorithm: KeyAlgorithm) -> (PrivateKey, Envelope) {
        let key = PrivateKey::generate(algorithm).unwrap();
        let envelope = Envelope::seal(&key, Uuid::from_u128(7), &FakeKms(1)).unwrap();
        (key, envelope)
    }

    #[test]
    fn every_key_type_survives_a_round_trip() {
        for algorithm in KeyAlgorithm::ALL {
            let (key, envelope) = sealed(algorithm);
            let again = Envelope::parse(envelope.to_text().unwrap().as_bytes()).unwrap();
            assert_eq!(again, envelope);
            assert_eq!(
                again.open(&again.data_key(&FakeKms(1)).unwrap()).unwrap().public_key_info(),
                key.public_key_info()
            );
        }
    }

    #[test]
    fn an_envelope_altered_in_any_field_does_not_open() {
        let (_, envelope) = sealed(KeyAlgorithm::EcdsaP256);
        let (_, other) = sealed(KeyAlgorithm::EcdsaP256);
        let altered = |change: &dyn Fn(&mut Envelope)| {
            let mut copy = envelope.clone();
            change(&mut copy);
            copy.open(&copy.data_key(&FakeKms(1)).unwrap()).unwrap_err().code()
        };
        assert_eq!(altered(&|e| e.cluster_ca_envelope = 2), "key.envelope_damaged");
        assert_eq!(altered(&|e| e.cluster = Uuid::from_u128(8)), "key.envelope_damaged");
        assert_eq!(altered(&|e| e.key_id = other.key_id), "key.envelope_damaged");
        assert_eq!(altered(&|e| e.wrapped = other.wrapped.clone()), "key.envelope_damaged");
        assert_eq!(altered(&|e| e.nonce = vec![0; 11]), "key.envelope_damaged");
        for at in 0..envelope.nonce.len() {
            assert_eq!(altered(&|e| e.nonce[at] ^= 1), "key.envelope_damaged");
        }
        for at in 0..envelope.ciphertext.len() {
            assert_eq!(altered(&|e| e.ciphertext[at] ^= 1), "key.envelope_damaged");
            assert_eq!(altered(&|e| e.ciphertext.truncate(at)), "key.envelope_damaged");
        }
    }

    #[test]
    fn malformed_envelopes_are_refused_and_never_panic() {
        let (_, envelope) = sealed(KeyAlgorithm::EcdsaP256);
        let text = envelope.to_text().unwrap();
        let code = |text: &str| Envelope::parse(text.as_bytes()).unwrap_err().code();
        assert_eq!(code(&text.replace("envelope\": 1", "envelope\": 9")), "key.envelope_version");
        assert_eq!(code(&text.replace("nonce", "once")), "key.envelope_unreadable");
        assert_eq!(code(&text.replace("{\n", "{ \"more\": 1,\n")), "key.envelope_unreadable");
        for at in 0..text.trim_end().len() {
            assert_eq!(code(&text[..at]), "key.envelope_unreadable");
        }
    }

    #[test]
    fn rewrapping_leaves_the_ciphertext_unchanged() {
        let (key, envelope) = sealed(KeyAlgorithm::EcdsaP256);
        assert!(envelope.rewrapped(&FakeKms(1)).unwrap().is_none(), "current already");
        let again = envelope.rewrapped(&FakeKms(2)).unwrap().unwrap();
        assert_eq!((again.wrapped().version(), &again.ciphertext), (Some(2), &envelope.ciphertext));
        assert_eq!(
            again.open(&again.data_key(&FakeKms(2)).unwrap()).unwrap().public_key_info(),
            key.public_key_info()
        );
    }
}
