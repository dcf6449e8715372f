//! What a certificate, a request and a CRL have in common (X.509's `SIGNED{}`): a body, the name of
//! an algorithm and a signature; and the one list of algorithms this project believes.

use rustls_pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::{RawPublicKeyEntity, aws_lc_rs as algorithms};

use super::der::{DerError, Reader, tag};

/// The signature algorithms that are believed, in chains, CRLs and requests alike; SHA-1 and short
/// RSA keys are not among them.
pub(super) static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ED25519,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// A signed body, taken apart; nothing in it is to be believed before [`Signed::verify`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed<'a> {
    /// The body as it was signed, tag and length included.
    pub(crate) body: &'a [u8],
    /// The content of the AlgorithmIdentifier.
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
        // Signatures are whole octets: the first one says that no bit is unused.
        match (body.tag, bits.split_first()) {
            (tag::SEQUENCE, Some((0, signature))) => Ok(Self { body: body.raw, algorithm, signature }),
            _ => Err(DerError::Tag),
        }
    }

    /// Whether the key of `public_key_info` (DER) made this signature.
    pub(crate) fn verify(&self, public_key_info: &[u8]) -> Result<(), SignatureError> {
        let public_key_info = SubjectPublicKeyInfoDer::from(public_key_info);
        let key = RawPublicKeyEntity::try_from(&public_key_info).map_err(|_| SignatureError::Unsupported)?;
        for algorithm in ALGORITHMS.iter().filter(|known| *known.signature_alg_id() == *self.algorithm) {
            match key.verify_signature(*algorithm, self.body, self.signature) {
                Ok(()) => return Ok(()),
                // Two curves share one signature algorithm: this one was for the other's keys.
                Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)) => {}
                Err(_) => return Err(SignatureError::Wrong),
            }
        }
        Err(SignatureError::Unsupported)
    }
}

/// Why a signature is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The algorithm, or the algorithm with this kind of key, is not one of this project's.
    #[error("its signature algorithm is not supported for this key")]
    Unsupported,
    /// Another key made it, or what was signed has changed.
    #[error("its signature was not made by this key over this content")]
    Wrong,
}
