//! Private keys in memory.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::pkcs8::Document;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair,
};
use rcgen::{
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize,
    SignatureAlgorithm, SigningKey,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroize;

use super::error::KeyError;
use super::kms::KmsError;
use super::pkcs8;
use super::remote_key::{DigestSigner, RemoteKey};
use crate::files;
use crate::secret::Secret;
use crate::x509::{KeyAlgorithm, Sha256, pem, public_key_algorithm};

/// PEM label of an unencrypted PKCS#8 key (RFC 7468, section 10).
const PKCS8_LABEL: &str = "PRIVATE KEY";

/// A private key with its public half, in memory or non-exportable. Clones share the key, which is zeroized when the
/// last one is dropped.
#[derive(Clone)]
pub struct PrivateKey {
    material: Arc<Material>,
    algorithm: KeyAlgorithm,
}

enum Material {
    Generated(GeneratedKey),
    Pair(rcgen::KeyPair),
    Remote(RemoteKey),
}

/// ECDSA key as it was generated. rcgen would parse it again, and check it as a foreign key, which takes as long as the
/// signature of its certificate.
struct GeneratedKey {
    pair: EcdsaKeyPair,
    /// PKCS#8 of version 1; zeroized when dropped.
    pkcs8: Document,
    algorithm: &'static SignatureAlgorithm,
}

impl PrivateKey {
    /// Generate a key.
    ///
    /// # Errors
    /// [`KeyError::Generate`] when the crypto library fails.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, KeyError> {
        let rsa = |size| rcgen::KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size);
        let pair = match algorithm {
            KeyAlgorithm::EcdsaP256 => {
                return Self::generate_ecdsa(
                    algorithm,
                    &ECDSA_P256_SHA256_ASN1_SIGNING,
                    &PKCS_ECDSA_P256_SHA256,
                );
            }
            KeyAlgorithm::EcdsaP384 => {
                return Self::generate_ecdsa(
                    algorithm,
                    &ECDSA_P384_SHA384_ASN1_SIGNING,
                    &PKCS_ECDSA_P384_SHA384,
                );
            }
            KeyAlgorithm::Ed25519 => return Self::generate_ed25519(),
            KeyAlgorithm::Rsa2048 => rsa(RsaKeySize::_2048),
            KeyAlgorithm::Rsa3072 => rsa(RsaKeySize::_3072),
            KeyAlgorithm::Rsa4096 => rsa(RsaKeySize::_4096),
        };
        pair.map(|pair| Self { material: Arc::new(Material::Pair(pair)), algorithm })
            .map_err(|_| KeyError::Generate { algorithm })
    }

    fn generate_ecdsa(
        algorithm: KeyAlgorithm,
        signing: &'static EcdsaSigningAlgorithm,
        signature: &'static SignatureAlgorithm,
    ) -> Result<Self, KeyError> {
        let failed = |_| KeyError::Generate { algorithm };
        let pair = EcdsaKeyPair::generate(signing).map_err(failed)?;
        let pkcs8 = pair.to_pkcs8v1().map_err(failed)?;
        let material = Material::Generated(GeneratedKey { pair, pkcs8, algorithm: signature });
        Ok(Self { material: Arc::new(material), algorithm })
    }

    /// In version 1 of PKCS#8, which every tool reads. rcgen would use version 2, which OpenSSL 3 refuses.
    fn generate_ed25519() -> Result<Self, KeyError> {
        let failed = |_| KeyError::Generate { algorithm: KeyAlgorithm::Ed25519 };
        let document = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()).map_err(failed)?;
        Self::from_pkcs8(document.as_ref())
    }

    /// Parse an unencrypted private key in DER: PKCS#8 (RFC 5958), SEC 1 or PKCS#1. In memory it is PKCS#8 of
    /// version 1, whatever it was: that is what is written, encrypted and handed over.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] for anything else, and for an unsupported key type.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair = rcgen::KeyPair::try_from(der).map_err(|_| KeyError::Unsupported)?;
        let algorithm = algorithm_of(&pair).ok_or(KeyError::Unsupported)?;
        let pkcs8 = pkcs8::from_any(der, algorithm).ok_or(KeyError::Unsupported)?;
        let pair = match pkcs8.as_slice() == der {
            true => pair,
            false => rcgen::KeyPair::try_from(pkcs8.as_slice()).map_err(|_| KeyError::Unsupported)?,
        };
        Ok(Self { material: Arc::new(Material::Pair(pair)), algorithm })
    }

    /// A non-exportable key behind `signer`.
    ///
    /// # Errors
    /// [`KeyError::Kms`] when its public half cannot be read.
    pub fn remote(signer: Box<dyn DigestSigner>) -> Result<Self, KeyError> {
        let material = Arc::new(Material::Remote(RemoteKey::new(signer)?));
        Ok(Self { material, algorithm: KeyAlgorithm::EcdsaP256 })
    }

    /// Make a test signature: the service or token of a non-exportable key may refuse to sign.
    ///
    /// # Errors
    /// [`KeyError::Kms`] with the refusal.
    pub fn test_signature(&self) -> Result<(), KeyError> {
        let signed = self.sign(b"cluster-ca: test signature");
        signed.map(drop).map_err(|_| self.take_failure().map_or(KeyError::Unsupported, KeyError::Kms))
    }

    /// Cause of the first failed signature with a non-exportable key since the last call.
    pub fn take_failure(&self) -> Option<KmsError> {
        match self.material.as_ref() {
            Material::Remote(remote) => remote.take_failure(),
            Material::Generated(_) | Material::Pair(_) => None,
        }
    }

    /// Parse the only private key in a text: unencrypted, in PEM, as PKCS#8, SEC 1 or PKCS#1.
    ///
    /// # Errors
    /// [`KeyError`] for text without a key or with several, an encrypted key, or an unsupported type.
    pub fn from_pem(text: &Secret) -> Result<Self, KeyError> {
        let block = pem::key_block(text.expose()).map_err(|_| KeyError::NotPem)?;
        match block.label.as_str() {
            _ if block.encrypted => Err(KeyError::LegacyEncryption),
            PKCS8_LABEL | "EC PRIVATE KEY" | "RSA PRIVATE KEY" => Self::from_pkcs8(block.der()),
            "ENCRYPTED PRIVATE KEY" => Err(KeyError::Encrypted),
            _ => Err(KeyError::NotPem),
        }
    }

    /// Read an unencrypted key from a private file (0600). [`PrivateKey::unlock`] also reads protected keys.
    ///
    /// # Errors
    /// [`KeyError`] for a file that is missing, readable by other users, or not an unencrypted key.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        Self::from_pem(&files::read_private(path)?).map_err(|error| error.in_file(path))
    }

    /// The key as unencrypted PKCS#8 in PEM.
    ///
    /// # Errors
    /// [`KeyError::NotExportable`], and [`KeyError::Generate`] when the key cannot be encoded.
    pub fn to_pem(&self) -> Result<Secret, KeyError> {
        let failed = |_| KeyError::Generate { algorithm: self.algorithm };
        pem::secret_pem(PKCS8_LABEL, self.der()?).map_err(failed)
    }

    /// The key as unencrypted PKCS#8 in DER, for a TLS library.
    ///
    /// # Errors
    /// [`KeyError::NotExportable`].
    pub fn to_pkcs8(&self) -> Result<PrivatePkcs8KeyDer<'static>, KeyError> {
        Ok(PrivatePkcs8KeyDer::from(self.der()?.to_vec()))
    }

    /// The key as PKCS#8 in DER, without a copy.
    ///
    /// # Errors
    /// [`KeyError::NotExportable`].
    pub fn der(&self) -> Result<&[u8], KeyError> {
        match self.material.as_ref() {
            Material::Remote(_) => Err(KeyError::NotExportable),
            Material::Generated(key) => Ok(key.pkcs8.as_ref()),
            Material::Pair(pair) => Ok(pair.serialized_der()),
        }
    }

    /// Type of the key.
    #[must_use]
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// SubjectPublicKeyInfo in DER, comparable with that of a certificate.
    #[must_use]
    pub fn public_key_info(&self) -> Vec<u8> {
        self.subject_public_key_info()
    }

    /// Key id: SHA-256 of the SubjectPublicKeyInfo.
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
        // RSA sizes are distinguished in one place, the certificate parser.
        public_key_algorithm(&pair.subject_public_key_info())
    }
}

impl PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        match self.material.as_ref() {
            Material::Remote(remote) => remote.public_key().der_bytes(),
            Material::Generated(key) => key.pair.public_key().as_ref(),
            Material::Pair(pair) => pair.der_bytes(),
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.material.as_ref() {
            Material::Remote(remote) => remote.public_key().algorithm(),
            Material::Generated(key) => key.algorithm,
            Material::Pair(pair) => rcgen::KeyPair::algorithm(pair),
        }
    }
}

impl SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        match self.material.as_ref() {
            Material::Remote(remote) => remote.sign(message),
            Material::Generated(key) => {
                let signed = key.pair.sign(&SystemRandom::new(), message);
                signed.map(|signature| signature.as_ref().to_vec()).map_err(|_| rcgen::Error::RingUnspecified)
            }
            Material::Pair(pair) => pair.sign(message),
        }
    }
}

impl Drop for Material {
    fn drop(&mut self) {
        if let Self::Pair(pair) = self {
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
    use rcgen::CertificateParams;

    use super::*;
    use crate::error::Coded;
    use crate::x509::Certificate;

    #[test]
    fn every_key_type_survives_a_round_trip() {
        for algorithm in KeyAlgorithm::ALL {
            let key = PrivateKey::generate(algorithm).unwrap();
            let again = PrivateKey::from_pem(&key.to_pem().unwrap()).unwrap();
            assert_eq!(again.algorithm(), algorithm);
            assert_eq!(again.public_key_info(), key.public_key_info());
            assert_eq!(again.der().unwrap(), key.der().unwrap(), "{algorithm}");
        }
    }

    #[test]
    fn a_generated_key_and_the_same_key_from_its_file_sign_alike() {
        for algorithm in KeyAlgorithm::ALL {
            let key = PrivateKey::generate(algorithm).unwrap();
            let again = PrivateKey::from_pkcs8(key.der().unwrap()).unwrap();
            for signer in [key, again] {
                let root = CertificateParams::default().self_signed(&signer).unwrap();
                let certificate = Certificate::from_der(root.der()).unwrap();
                assert_eq!(certificate.key_algorithm, Some(algorithm));
                certificate.verify_signature(&signer.public_key_info()).unwrap();
            }
        }
    }

    #[test]
    fn debug_hides_the_key() {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(ecdsa-p256, …)");
    }

    #[test]
    fn anything_but_one_unencrypted_key_is_refused() {
        let refused =
            |text: &str| PrivateKey::from_pem(&Secret::new(text.as_bytes().to_vec())).unwrap_err().code();
        assert_eq!(refused(""), "key.not_pem");
        assert_eq!(refused("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "key.not_pem");
        assert_eq!(
            refused("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            "key.unsupported"
        );
        let legacy = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n";
        assert_eq!(refused(legacy), "key.legacy_encryption");
        let two = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap().to_pem().unwrap();
        let two = String::from_utf8(two.expose().to_vec()).unwrap().repeat(2);
        assert_eq!(refused(&two), "key.not_pem");
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert_eq!(refused(encrypted), "key.encrypted");
    }

    #[test]
    fn a_key_is_found_as_other_tools_write_it() {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let pem = String::from_utf8(key.to_pem().unwrap().expose().to_vec()).unwrap();
        let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in [
            format!("{parameters}{pem}"),
            format!("{pem}{certificate}"),
            format!("{certificate}{pem}"),
            format!(
                "Bag Attributes\n    friendlyName: alice\nKey Attributes: <No Attributes>\n{pem}\nafterwards\n"
            ),
            format!("\u{feff}{}", pem.replace('\n', "\r\n")),
        ] {
            let read = PrivateKey::from_pem(&Secret::new(text.clone().into_bytes()));
            assert_eq!(read.unwrap().public_key_info(), key.public_key_info(), "{text}");
        }
    }

    #[test]
    fn a_key_file_readable_by_others_is_refused() {
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
