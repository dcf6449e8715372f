//! PKCS#8 of version 1 from any encoding of a private key: OpenSSL, GnuTLS, NSS, Java, Go and Node all read it.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use zeroize::Zeroizing;

use crate::x509::KeyAlgorithm;

/// `PrivateKeyInfo` (RFC 5208) of the key in `der`: PKCS#8 of any version (RFC 5958), SEC 1 or PKCS#1. `None` if
/// `der` is not a key of this type.
pub(super) fn from_any(der: &[u8], algorithm: KeyAlgorithm) -> Option<Zeroizing<Vec<u8>>> {
    let ecdsa = |signing| {
        let pair = EcdsaKeyPair::from_private_key_der(signing, der).ok()?;
        Some(Zeroizing::new(pair.to_pkcs8v1().ok()?.as_ref().to_vec()))
    };
    match algorithm {
        KeyAlgorithm::EcdsaP256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
        KeyAlgorithm::EcdsaP384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING),
        KeyAlgorithm::Ed25519 => {
            let pair = Ed25519KeyPair::from_pkcs8(der).ok()?;
            Some(Zeroizing::new(pair.to_pkcs8v1().ok()?.as_ref().to_vec()))
        }
        KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => {
            let pair = rsa::KeyPair::from_pkcs8(der).or_else(|_| rsa::KeyPair::from_der(der)).ok()?;
            let pkcs8: Pkcs8V1Der<'_> = pair.as_der().ok()?;
            Some(Zeroizing::new(pkcs8.as_ref().to_vec()))
        }
    }
}
