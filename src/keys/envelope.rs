//! Envelopes: a private key encrypted with a random data key (DEK) of its own, which a key
//! management service (KMS) wraps. Only the data key ever goes to the service.
//!
//! The file is JSON with a version. AES-256-GCM binds the version, the cluster and the identity of
//! the key pair to the ciphertext; what the service needs to unwrap the data key is outside of that,
//! so that a rotation in the service does not touch the key itself.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::kms::{KeyWrap, KmsError, Rewrap, Wrapped};
use super::{KeyError, PrivateKey};
use crate::x509::Sha256;

/// The present format.
const VERSION: u32 = 1;

/// What the associated data begins with, so that no other use of AES-256-GCM can be mistaken for this.
const DOMAIN: &[u8] = b"cluster-ca key envelope\0";

/// A data encryption key: used for one envelope, zeroized when dropped.
pub struct DataKey(Zeroizing<[u8; 32]>);

impl DataKey {
    /// A new random data key.
    ///
    /// # Errors
    /// [`KeyError::Seal`] when the generator fails.
    pub fn random() -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(bytes.as_mut()).map_err(|_| KeyError::Seal)?;
        Ok(Self(bytes))
    }

    /// The data key that a service unwrapped; none when it has not the length of one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        (bytes.len() == key.len()).then(|| key.copy_from_slice(bytes))?;
        Some(Self(key))
    }

    /// The bytes, for the service that wraps them.
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

/// A sealed private key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    cluster_ca_envelope: u32,
    cluster: Uuid,
    /// SHA-256 of the public half's SubjectPublicKeyInfo.
    key_id: Sha256,
    wrapped: Wrapped,
    #[serde(with = "base64_text")]
    nonce: Vec<u8>,
    #[serde(with = "base64_text")]
    ciphertext: Vec<u8>,
}

/// What an envelope of any version has.
#[derive(Deserialize)]
struct AnyVersion {
    cluster_ca_envelope: u32,
}

impl Envelope {
    /// Seals `key` for `cluster` with a new data key, which `kms` wraps.
    ///
    /// # Errors
    /// [`KeyError::Seal`], or what the service says.
    pub fn seal(key: &PrivateKey, cluster: Uuid, kms: &dyn KeyWrap) -> Result<Self, KeyError> {
        let data_key = DataKey::random()?;
        let key_id = key.key_id();
        let context = context(VERSION, cluster, &key_id);
        let pkcs8 = key.pair()?.serialized_der();
        let mut ciphertext = Vec::with_capacity(pkcs8.len() + AES_256_GCM.tag_len());
        ciphertext.extend_from_slice(pkcs8);
        // Encrypted in place, in a buffer with room for the tag: no plaintext is left behind.
        let nonce = RandomizedNonceKey::new(&AES_256_GCM, data_key.expose())
            .and_then(|cipher| cipher.seal_in_place_append_tag(Aad::from(&context), &mut ciphertext))
            .map_err(|_| KeyError::Seal)?;
        let wrapped = kms.wrap_key(&data_key, &context)?;
        let nonce = nonce.as_ref().to_vec();
        Ok(Self { cluster_ca_envelope: VERSION, cluster, key_id, wrapped, nonce, ciphertext })
    }

    /// Opens the key with its data key.
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

    /// The data key, unwrapped by `kms`.
    ///
    /// # Errors
    /// What the service says.
    pub fn data_key(&self, kms: &dyn KeyWrap) -> Result<DataKey, KmsError> {
        kms.unwrap_key(&self.wrapped, &self.context())
    }

    /// The same sealed key with its data key wrapped by `kms`, unwrapped again to be sure that it can
    /// be. The key itself is not opened.
    ///
    /// # Errors
    /// What the service says.
    pub fn moved(&self, data_key: &DataKey, kms: &dyn KeyWrap) -> Result<Self, KeyError> {
        self.tried(kms.wrap_key(data_key, &self.context())?, kms)
    }

    /// The same sealed key with its data key wrapped under the newest version of the service's key,
    /// which the service does without showing the data key. None: it is wrapped so already.
    ///
    /// # Errors
    /// What the service says.
    pub fn rewrapped(&self, kms: &dyn KeyWrap) -> Result<Option<Self>, KeyError> {
        match kms.rewrap_key(&self.wrapped)? {
            Rewrap::Current => Ok(None),
            Rewrap::Done(wrapped) => self.tried(wrapped, kms).map(Some),
        }
    }

    fn tried(&self, wrapped: Wrapped, kms: &dyn KeyWrap) -> Result<Self, KeyError> {
        let moved = Self { wrapped, ..self.clone() };
        moved.open(&moved.data_key(kms)?)?;
        Ok(moved)
    }

    /// How the data key is wrapped.
    #[must_use]
    pub fn wrapped(&self) -> &Wrapped {
        &self.wrapped
    }

    /// SHA-256 of the public half's SubjectPublicKeyInfo.
    #[must_use]
    pub fn key_id(&self) -> &Sha256 {
        &self.key_id
    }

    /// Whether a file is meant to be an envelope.
    #[must_use]
    pub fn is_like(bytes: &[u8]) -> bool {
        bytes.trim_ascii_start().first() == Some(&b'{')
    }

    /// Reads an envelope.
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

    /// The envelope as it is written to a file.
    ///
    /// # Errors
    /// [`KeyError::Seal`] when it cannot be encoded, which no envelope of ours causes.
    pub fn to_text(&self) -> Result<String, KeyError> {
        let mut text = serde_json::to_string_pretty(self).map_err(|_| KeyError::Seal)?;
        text.push('\n');
        Ok(text)
    }

    fn context(&self) -> Vec<u8> {
        context(self.cluster_ca_envelope, self.cluster, &self.key_id)
    }
}

/// The associated data: fields of fixed length, so that no two contexts are the same bytes.
fn context(version: u32, cluster: Uuid, key_id: &Sha256) -> Vec<u8> {
    [DOMAIN, &version.to_be_bytes(), cluster.as_bytes(), &key_id.0].concat()
}

/// Bytes as base64 (RFC 4648, section 4).
pub(super) mod base64_text {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in crate::keys) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(in crate::keys) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map_err(|_| de::Error::custom("not base64"))
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, Engine as _};

    use super::super::kms::TransitCiphertext;
    use super::*;
    use crate::x509::KeyAlgorithm;

    /// A service that hides nothing; the version is what it writes before the data key.
    struct Glass(u64);

    impl Glass {
        fn write(&self, data_key: &[u8]) -> Wrapped {
            let ciphertext = format!("vault:v{}:{}", self.0, BASE64_STANDARD.encode(data_key));
            Wrapped::Vault(TransitCiphertext { key: "glass".to_owned(), ciphertext })
        }
    }

    impl KeyWrap for Glass {
        fn check(&self) -> Result<(), KmsError> {
            Ok(())
        }

        fn wrap_key(&self, data_key: &DataKey, _: &[u8]) -> Result<Wrapped, KmsError> {
            Ok(self.write(data_key.expose()))
        }

        fn unwrap_key(&self, wrapped: &Wrapped, _: &[u8]) -> Result<DataKey, KmsError> {
            let Wrapped::Vault(wrapped) = wrapped else { panic!() };
            let bytes =
                wrapped.ciphertext.rsplit(':').next().and_then(|text| BASE64_STANDARD.decode(text).ok());
            let key = bytes.and_then(|bytes| DataKey::from_bytes(&bytes));
            key.ok_or_else(|| KmsError::NotConfigured { kms: "vault", key: wrapped.key.clone() })
        }

        fn rewrap_key(&self, wrapped: &Wrapped) -> Result<Rewrap, KmsError> {
            if wrapped.version() == Some(self.0) {
                return Ok(Rewrap::Current);
            }
            Ok(Rewrap::Done(self.write(self.unwrap_key(wrapped, &[])?.expose())))
        }
    }

    fn sealed(algorithm: KeyAlgorithm) -> (PrivateKey, Envelope) {
        let key = PrivateKey::generate(algorithm).unwrap();
        let envelope = Envelope::seal(&key, Uuid::from_u128(7), &Glass(1)).unwrap();
        (key, envelope)
    }

    #[test]
    fn every_key_type_opens_as_it_was_sealed() {
        for algorithm in KeyAlgorithm::ALL {
            let (key, envelope) = sealed(algorithm);
            let again = Envelope::parse(envelope.to_text().unwrap().as_bytes()).unwrap();
            assert_eq!(again, envelope);
            assert_eq!(
                again.open(&again.data_key(&Glass(1)).unwrap()).unwrap().public_key_info(),
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
            copy.open(&copy.data_key(&Glass(1)).unwrap()).unwrap_err().code()
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
    fn text_that_is_no_envelope_is_named_and_never_panics() {
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
    fn rewrapping_changes_the_wrapping_alone() {
        let (key, envelope) = sealed(KeyAlgorithm::EcdsaP256);
        assert!(envelope.rewrapped(&Glass(1)).unwrap().is_none(), "current already");
        let again = envelope.rewrapped(&Glass(2)).unwrap().unwrap();
        assert_eq!((again.wrapped().version(), &again.ciphertext), (Some(2), &envelope.ciphertext));
        assert_eq!(
            again.open(&again.data_key(&Glass(2)).unwrap()).unwrap().public_key_info(),
            key.public_key_info()
        );
    }
}
