//! Shared parts of signing certificates and CRLs: the signature algorithm and error translation.

use rcgen::PublicKeyData;
use rustls_pki_types::{AlgorithmIdentifier, alg_id};

use super::error::CaError;
use crate::keys::PrivateKey;

/// Signature algorithm of a key as an AlgorithmIdentifier (DER, without tag and length).
pub(super) fn signature_algorithm(key: &impl PublicKeyData) -> Result<AlgorithmIdentifier, CaError> {
    let known = [
        (&rcgen::PKCS_ECDSA_P256_SHA256, alg_id::ECDSA_SHA256),
        (&rcgen::PKCS_ECDSA_P384_SHA384, alg_id::ECDSA_SHA384),
        (&rcgen::PKCS_ED25519, alg_id::ED25519),
        (&rcgen::PKCS_RSA_SHA256, alg_id::RSA_PKCS1_SHA256),
    ];
    let found = known.into_iter().find(|(algorithm, _)| key.algorithm() == *algorithm);
    found.map(|(_, identifier)| identifier).ok_or_else(|| CaError::Signing {
        why: "the key's signature algorithm is not supported for CRLs".to_owned(),
    })
}

/// Translate errors of rcgen, here only.
pub(super) fn signing_failed(error: rcgen::Error) -> CaError {
    CaError::Signing { why: error.to_string() }
}

/// Replace a signing error by the cause that a remote signer keeps, because rcgen cannot carry it.
pub(super) fn with_signer_failure<T>(key: &PrivateKey, result: Result<T, CaError>) -> Result<T, CaError> {
    match result {
        Err(CaError::Signing { why }) => {
            Err(key.take_failure().map_or(CaError::Signing { why }, CaError::Kms))
        }
        other => other,
    }
}
