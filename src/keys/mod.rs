//! Private keys: making them, writing and reading them, signing with them.
//!
//! A key in memory is zeroized when it is dropped and never shown. What protects it at rest is this
//! module's business alone: whoever needs a key says which file and gets a [`PrivateKey`], whatever
//! the file holds ([`KeyFile`]), with what their [`Unlock`] supplies. The root's key may be in no file at
//! all, but with a service or in a PKCS#11 token that signs by it ([`DigestSigner`]).

mod envelope;
mod error;
mod file;
mod held;
pub mod kms;
mod locked;
mod passphrase;
mod unlock;

pub use envelope::{DataKey, Envelope};
pub use error::KeyError;
pub use file::{KeyFile, NewProtection, Protection};
pub use held::DigestSigner;
pub use locked::{LockedKey, Opener};
pub use passphrase::judge_new_passphrase;
pub use unlock::{NothingToUnlockWith, Unlock};

use std::fmt;
use std::path::Path;

use aws_lc_rs::signature::Ed25519KeyPair;
use rcgen::{
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize,
    SignatureAlgorithm, SigningKey,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroize;

use self::held::HeldKey;
use self::kms::KmsError;
use crate::files;
use crate::secret::Secret;
use crate::x509::pem;
use crate::x509::{KeyAlgorithm, Sha256};

/// The label of an unencrypted PKCS#8 key in PEM (RFC 7468, section 10).
const PKCS8_LABEL: &str = "PRIVATE KEY";

/// A private key with its public half.
pub struct PrivateKey {
    material: Material,
    algorithm: KeyAlgorithm,
}

/// Where the private half is.
enum Material {
    /// With a service or a token that signs by it.
    Held(HeldKey),
    /// Here.
    Pair(rcgen::KeyPair),
}

impl PrivateKey {
    /// Makes a new key with the crypto library's own generator.
    ///
    /// # Errors
    /// [`KeyError::Generate`] when the library cannot.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, KeyError> {
        let rsa = |size| rcgen::KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size);
        let pair = match algorithm {
            KeyAlgorithm::EcdsaP256 => rcgen::KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            KeyAlgorithm::EcdsaP384 => rcgen::KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            KeyAlgorithm::Ed25519 => return Self::generate_ed25519(),
            KeyAlgorithm::Rsa2048 => rsa(RsaKeySize::_2048),
            KeyAlgorithm::Rsa3072 => rsa(RsaKeySize::_3072),
            KeyAlgorithm::Rsa4096 => rsa(RsaKeySize::_4096),
        };
        pair.map(|pair| Self { material: Material::Pair(pair), algorithm })
            .map_err(|_| KeyError::Generate { algorithm })
    }

    /// Version 1 of PKCS#8, which every tool reads; rcgen would write version 2, which OpenSSL 3 refuses.
    fn generate_ed25519() -> Result<Self, KeyError> {
        let failed = |_| KeyError::Generate { algorithm: KeyAlgorithm::Ed25519 };
        let document = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()).map_err(failed)?;
        Self::from_pkcs8(document.as_ref())
    }

    /// Reads an unencrypted private key in DER: PKCS#8 (RFC 5958), SEC 1 or PKCS#1.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] for anything else, and for a key type that this project does not use.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair = rcgen::KeyPair::try_from(der).map_err(|_| KeyError::Unsupported)?;
        let algorithm = algorithm_of(&pair).ok_or(KeyError::Unsupported)?;
        Ok(Self { material: Material::Pair(pair), algorithm })
    }

    /// A key that is held by `signer`; there is nothing of it to be written anywhere.
    ///
    /// # Errors
    /// [`KeyError::Kms`] when the public half cannot be had.
    pub fn held(signer: Box<dyn DigestSigner>) -> Result<Self, KeyError> {
        let material = Material::Held(HeldKey::new(signer)?);
        Ok(Self { material, algorithm: KeyAlgorithm::EcdsaP256 })
    }

    /// Has the key sign something of no use, to know that it does: one that is held elsewhere may not be
    /// allowed to.
    ///
    /// # Errors
    /// Why it does not.
    pub fn try_out(&self) -> Result<(), KeyError> {
        let signed = self.sign(b"cluster-ca: a signature of no use");
        signed.map(drop).map_err(|_| self.take_failure().map_or(KeyError::Unsupported, KeyError::Kms))
    }

    /// Why a signature of a key that is held elsewhere could not be had; the first one that could not, if
    /// there are several.
    pub fn take_failure(&self) -> Option<KmsError> {
        match &self.material {
            Material::Held(held) => held.take_failure(),
            Material::Pair(_) => None,
        }
    }

    fn pair(&self) -> Result<&rcgen::KeyPair, KeyError> {
        match &self.material {
            Material::Held(_) => Err(KeyError::Held),
            Material::Pair(pair) => Ok(pair),
        }
    }

    /// Reads an unencrypted private key in PEM; anything around the one block is refused.
    ///
    /// # Errors
    /// [`KeyError`] for text that is no key, an encrypted key, or an unsupported type.
    pub fn from_pem(text: &Secret) -> Result<Self, KeyError> {
        let block = pem::only_block(text.expose()).map_err(|_| KeyError::NotPem)?;
        match block.label.as_str() {
            _ if block.encrypted => Err(KeyError::NotPem),
            PKCS8_LABEL | "EC PRIVATE KEY" | "RSA PRIVATE KEY" => Self::from_pkcs8(block.der()),
            "ENCRYPTED PRIVATE KEY" => Err(KeyError::Encrypted),
            _ => Err(KeyError::NotPem),
        }
    }

    /// Reads the unencrypted key in a file that its owner alone may read; see [`PrivateKey::unlock`]
    /// for one that may be protected by more.
    ///
    /// # Errors
    /// [`KeyError`] for a file that is missing, exposed, or holds no key that can be opened.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        Self::from_pem(&files::read_private(path)?).map_err(|error| error.in_file(path))
    }

    /// The key as unencrypted PKCS#8 in PEM.
    ///
    /// # Errors
    /// [`KeyError::Held`], and [`KeyError::Generate`] when the key cannot be encoded, which no key of
    /// ours causes.
    pub fn to_pem(&self) -> Result<Secret, KeyError> {
        let der = self.pair()?.serialized_der();
        let failed = |_| KeyError::Generate { algorithm: self.algorithm };
        pem::secret_pem(PKCS8_LABEL, der).map_err(failed)
    }

    /// The key as unencrypted PKCS#8 in DER, for a TLS library.
    ///
    /// # Errors
    /// [`KeyError::Held`].
    pub fn to_pkcs8(&self) -> Result<PrivatePkcs8KeyDer<'static>, KeyError> {
        Ok(PrivatePkcs8KeyDer::from(self.pair()?.serialize_der()))
    }

    /// The key in DER as it was read (PKCS#8, SEC 1 or PKCS#1), for a library that keeps no copy of it.
    ///
    /// # Errors
    /// [`KeyError::Held`].
    pub fn der(&self) -> Result<&[u8], KeyError> {
        Ok(self.pair()?.serialized_der())
    }

    /// What kind of key it is.
    #[must_use]
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// DER of the public half's SubjectPublicKeyInfo, to be compared with a certificate's.
    #[must_use]
    pub fn public_key_info(&self) -> Vec<u8> {
        self.subject_public_key_info()
    }

    /// What identifies the key pair: SHA-256 of the public half's SubjectPublicKeyInfo.
    #[must_use]
    pub fn key_id(&self) -> Sha256 {
        Sha256::of(&self.public_key_info())
    }
}

fn algorithm_of(pair: &rcgen::KeyPair) -> Option<KeyAlgorithm> {
    let algorithm = rcgen::KeyPair::algorithm(pair);
    if algorithm == &PKCS_ECDSA_P256_SHA256 {
        Some(KeyAlgorithm::EcdsaP256)
    } else if algorithm == &PKCS_ECDSA_P384_SHA384 {
        Some(KeyAlgorithm::EcdsaP384)
    } else if algorithm == &rcgen::PKCS_ED25519 {
        Some(KeyAlgorithm::Ed25519)
    } else {
        // The certificate view tells RSA sizes apart; it is the one place that knows how.
        crate::x509::public_key_algorithm(&pair.subject_public_key_info())
    }
}

impl PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        match &self.material {
            Material::Held(held) => held.public_key().der_bytes(),
            Material::Pair(pair) => pair.der_bytes(),
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match &self.material {
            Material::Held(held) => held.public_key().algorithm(),
            Material::Pair(pair) => rcgen::KeyPair::algorithm(pair),
        }
    }
}

impl SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        match &self.material {
            Material::Held(held) => held.sign(message),
            Material::Pair(pair) => pair.sign(message),
        }
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        if let Material::Pair(pair) = &mut self.material {
            pair.zeroize();
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({}, …)", self.algorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_type_reads_back_as_it_was_written() {
        for algorithm in KeyAlgorithm::ALL {
            let key = PrivateKey::generate(algorithm).unwrap();
            let again = PrivateKey::from_pem(&key.to_pem().unwrap()).unwrap();
            assert_eq!(again.algorithm(), algorithm);
            assert_eq!(again.public_key_info(), key.public_key_info());
        }
    }

    #[test]
    fn a_key_is_never_shown() {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(ecdsa-p256, …)");
    }

    #[test]
    fn what_is_not_exactly_one_open_key_is_refused() {
        let refused =
            |text: &str| PrivateKey::from_pem(&Secret::new(text.as_bytes().to_vec())).unwrap_err().code();
        assert_eq!(refused(""), "key.not_pem");
        assert_eq!(refused("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "key.not_pem");
        assert_eq!(
            refused("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            "key.unsupported"
        );
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert_eq!(refused(encrypted), "key.encrypted");
    }

    #[test]
    fn a_key_file_that_others_can_read_is_not_opened() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.key");
        let key = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap();
        std::fs::write(&path, key.to_pem().unwrap().expose()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(PrivateKey::open(&path).unwrap_err().code(), "file.exposed");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(PrivateKey::open(&path).is_ok());
    }
}
