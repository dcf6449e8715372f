//! Signature of certificates, CSRs and CRLs (`SIGNED{}` of X.509), and the accepted signature algorithms.

use rustls_pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::{RawPublicKeyEntity, aws_lc_rs as algorithms};

use super::der::{DerError, Reader, tag};

/// Accepted signature algorithms of chains, CRLs and CSRs, without SHA-1 and short RSA keys.
pub(super) static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P256_SHA512,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ECDSA_P384_SHA512,
    algorithms::ED25519,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// Signed body, algorithm and signature. The body is untrusted until [`Signed::verify`] succeeds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed<'a> {
    /// Signed body with tag and length.
    pub(crate) body: &'a [u8],
    /// Content of the AlgorithmIdentifier.
    pub(crate) algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    pub(crate) fn from_der(der: &'a [u8]) -> Result<Self, DerError> {
        let mut outer = Reader::new(Reader::whole(der, tag::SEQUENCE)?);
        let body = outer.element()?;
        let algorithm = outer.expect(tag::SEQUENCE)?;
        let bits = outer.expect(tag::BIT_STRING)?;
        outer.end()?;
        // The first octet is the number of unused bits; signatures have none.
        match (body.tag, bits.split_first()) {
            (tag::SEQUENCE, Some((0, signature))) => Ok(Self { body: body.raw, algorithm, signature }),
            _ => Err(DerError::Tag),
        }
    }

    /// Verify the signature with the key in `public_key_info` (DER).
    pub(crate) fn verify(&self, public_key_info: &[u8]) -> Result<(), SignatureError> {
        let public_key_info = SubjectPublicKeyInfoDer::from(public_key_info);
        let key = RawPublicKeyEntity::try_from(&public_key_info).map_err(|_| SignatureError::Unsupported)?;
        for algorithm in ALGORITHMS.iter().filter(|known| *known.signature_alg_id() == *self.algorithm) {
            match key.verify_signature(*algorithm, self.body, self.signature) {
                Ok(()) => return Ok(()),
                // Two curves share an algorithm identifier: this one was for the other curve.
                Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)) => {}
                Err(_) => return Err(SignatureError::Wrong),
            }
        }
        Err(SignatureError::Unsupported)
    }
}

/// Failed verification of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// Unsupported algorithm, or unsupported for this type of key.
    #[error("its signature algorithm is not supported for this key")]
    Unsupported,
    /// Made by another key, or over other content.
    #[error("its signature was not made by this key over this content")]
    Wrong,
}
