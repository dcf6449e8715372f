//! Private keys that never leave the service or token that holds them: it is sent a digest and gives back a
//! signature, which is verified here before anybody relies on it.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rcgen::{PublicKeyData, SubjectPublicKeyInfo};

use super::KeyError;
use super::kms::KmsError;

/// Signs digests with an ECDSA P-256 key that is held elsewhere.
pub trait DigestSigner: Send + Sync {
    /// DER of the public half's SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`KmsError`], above all when the key is missing or of another type.
    fn public_key_info(&self) -> Result<Vec<u8>, KmsError>;

    /// The signature of a SHA-256 digest, in DER (RFC 3279, section 2.2.3).
    ///
    /// # Errors
    /// [`KmsError`].
    fn sign_digest(&self, digest: &[u8]) -> Result<Vec<u8>, KmsError>;
}

/// A key that is held elsewhere.
pub(super) struct HeldKey {
    signer: Box<dyn DigestSigner>,
    public_key: SubjectPublicKeyInfo,
    /// Why a signature could not be had, the first of them that nobody has asked for yet: the signing
    /// library has no room for the reason, and what follows on other threads may only follow from it.
    failure: Mutex<Option<KmsError>>,
}

impl HeldKey {
    pub(super) fn new(signer: Box<dyn DigestSigner>) -> Result<Self, KeyError> {
        let info = signer.public_key_info()?;
        let public_key = SubjectPublicKeyInfo::from_der(&info).map_err(|_| KeyError::Unsupported)?;
        Ok(Self { signer, public_key, failure: Mutex::new(None) })
    }

    pub(super) fn public_key(&self) -> &SubjectPublicKeyInfo {
        &self.public_key
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signed = self.signer.sign_digest(digest(&SHA256, message).as_ref()).and_then(|signature| {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.public_key.der_bytes())
                .verify(message, &signature)
                .map(|()| signature)
                .map_err(|_| KmsError::Signature)
        });
        signed.map_err(|error| {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            rcgen::Error::RemoteKeyError
        })
    }

    pub(super) fn take_failure(&self) -> Option<KmsError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for HeldKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeldKey(…)")
    }
}
