//! Non-exportable keys: a service or token receives a digest and returns a signature, which is verified
//! here before use.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rcgen::{PublicKeyData, SubjectPublicKeyInfo};

use super::error::KeyError;
use super::kms::KmsError;

/// Signer with a non-exportable ECDSA P-256 key.
pub trait DigestSigner: Send + Sync {
    /// SubjectPublicKeyInfo of the key, in DER.
    ///
    /// # Errors
    /// [`KmsError`], notably when the key is missing or of another type.
    fn public_key_info(&self) -> Result<Vec<u8>, KmsError>;

    /// Sign a SHA-256 digest; the signature is DER (RFC 3279, section 2.2.3).
    ///
    /// # Errors
    /// [`KmsError`].
    fn sign_digest(&self, digest: &[u8]) -> Result<Vec<u8>, KmsError>;
}

/// A non-exportable key and its public half.
pub(super) struct RemoteKey {
    signer: Box<dyn DigestSigner>,
    public_key: SubjectPublicKeyInfo,
    /// The first failed signature since the last `take_failure`: rcgen's error type cannot carry the
    /// cause, and later failures on other threads may only be its consequences.
    failure: Mutex<Option<KmsError>>,
}

impl RemoteKey {
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

impl fmt::Debug for RemoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RemoteKey(…)")
    }
}
