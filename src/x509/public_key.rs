//! Types of public keys.

use x509_parser::asn1_rs::Tag;
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

/// Type of a public key (DER) that no TLS handshake can prove; `None` for one that rustls supports.
pub(super) fn unsupported_in_tls(public_key_info: &[u8]) -> Option<String> {
    let Ok((_, key)) = SubjectPublicKeyInfo::from_der(public_key_info) else {
        return Some("unreadable".to_owned());
    };
    let is_p521 = || algorithm_oid(&key.algorithm) == "1.3.132.0.35";
    let is_rsa = || {
        key.algorithm.algorithm == OID_PKCS1_RSAENCRYPTION
            && matches!(key.parsed(), Ok(PublicKey::RSA(rsa)) if (2048..=8192).contains(&rsa.key_size()))
    };
    let is_supported = key_algorithm(&key).is_some() || is_p521() || is_rsa();
    (!is_supported).then(|| key_description(&key))
}

/// Describe a public key of any type: `rsa-1024`, or its object identifier.
pub(super) fn key_description(key: &SubjectPublicKeyInfo<'_>) -> String {
    match (key_algorithm(key), key.parsed()) {
        (Some(algorithm), _) => algorithm.to_string(),
        (None, Ok(PublicKey::RSA(rsa))) => format!("rsa-{}", rsa.key_size()),
        (None, _) => {
            let oid = algorithm_oid(&key.algorithm);
            match KNOWN_KEYS.iter().find(|(known, _)| *known == oid) {
                Some((_, name)) => format!("{name} ({oid})"),
                None => oid,
            }
        }
    }
}

/// Unsupported curves and algorithms that other tools write.
const KNOWN_KEYS: &[(&str, &str)] = &[
    // The algorithm itself: no curve is named.
    ("1.2.840.10045.2.1", "an elliptic curve with explicit parameters instead of a name"),
    ("1.2.840.10040.4.1", "DSA"),
    ("1.2.840.113549.1.1.7", "RSA-OAEP"),
    ("1.2.840.113549.1.1.10", "RSA restricted to PSS"),
    ("1.3.101.110", "X25519, which cannot sign"),
    ("1.3.101.111", "X448, which cannot sign"),
    ("1.3.101.113", "Ed448"),
    ("1.3.132.0.10", "the curve secp256k1"),
    ("1.3.132.0.33", "the curve P-224"),
    ("1.3.132.0.35", "the curve P-521"),
    ("1.2.840.10045.3.1.1", "the curve P-192"),
    ("1.3.36.3.3.2.8.1.1.7", "the curve brainpoolP256r1"),
    ("1.3.36.3.3.2.8.1.1.11", "the curve brainpoolP384r1"),
    ("1.3.36.3.3.2.8.1.1.13", "the curve brainpoolP512r1"),
    ("2.16.840.1.101.3.4.3.17", "ML-DSA-44"),
    ("2.16.840.1.101.3.4.3.18", "ML-DSA-65"),
    ("2.16.840.1.101.3.4.3.19", "ML-DSA-87"),
];

/// Object identifier of the curve for EC keys, of the algorithm for others.
pub(super) fn algorithm_oid(algorithm: &AlgorithmIdentifier<'_>) -> String {
    let parameters =
        algorithm.parameters.as_ref().filter(|_| algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY);
    // `as_oid` reads contents of any tag: explicit parameters are a SEQUENCE.
    let curve = parameters.filter(|parameters| parameters.tag() == Tag::Oid);
    let curve = curve.and_then(|parameters| parameters.as_oid().ok());
    curve.as_ref().unwrap_or(&algorithm.algorithm).to_id_string()
}
