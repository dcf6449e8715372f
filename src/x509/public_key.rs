//! Types of public keys.

use x509_parser::oid_registry::{OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use super::key_algorithm::KeyAlgorithm;

/// Key type of a SubjectPublicKeyInfo (DER); `None` if it is unsupported.
#[must_use]
pub fn public_key_algorithm(public_key_info: &[u8]) -> Option<KeyAlgorithm> {
    SubjectPublicKeyInfo::from_der(public_key_info).ok().and_then(|(_, key)| key_algorithm(&key))
}

/// Key type of a public key; `None` if it is unsupported.
pub(super) fn key_algorithm(key: &SubjectPublicKeyInfo<'_>) -> Option<KeyAlgorithm> {
    let oid = &key.algorithm.algorithm;
    if *oid == OID_SIG_ED25519 {
        return Some(KeyAlgorithm::Ed25519);
    }
    if *oid == OID_KEY_TYPE_EC_PUBLIC_KEY {
        return match algorithm_oid(&key.algorithm).as_str() {
            "1.2.840.10045.3.1.7" => Some(KeyAlgorithm::EcdsaP256),
            "1.3.132.0.34" => Some(KeyAlgorithm::EcdsaP384),
            _ => None,
        };
    }
    if *oid == OID_PKCS1_RSAENCRYPTION
        && let Ok(PublicKey::RSA(rsa)) = key.parsed()
    {
        return match rsa.key_size() {
            2048 => Some(KeyAlgorithm::Rsa2048),
            3072 => Some(KeyAlgorithm::Rsa3072),
            4096 => Some(KeyAlgorithm::Rsa4096),
            _ => None,
        };
    }
    None
}

/// Describes a public key of any type: `rsa-1024`, or its object identifier.
pub(super) fn key_description(key: &SubjectPublicKeyInfo<'_>) -> String {
    match (key_algorithm(key), key.parsed()) {
        (Some(algorithm), _) => algorithm.to_string(),
        (None, Ok(PublicKey::RSA(rsa))) => format!("rsa-{}", rsa.key_size()),
        (None, _) => algorithm_oid(&key.algorithm),
    }
}

/// Object identifier of the curve for EC keys, of the algorithm for others.
pub(super) fn algorithm_oid(algorithm: &AlgorithmIdentifier<'_>) -> String {
    let parameters =
        algorithm.parameters.as_ref().filter(|_| algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY);
    let curve = parameters.and_then(|parameters| parameters.as_oid().ok());
    curve.as_ref().unwrap_or(&algorithm.algorithm).to_id_string()
}
