//! Signed tokens: keys, signatures and strict parsing (RFC 7515, RFC 8725).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde::{Deserialize, Serialize};

use super::error::TokenError;
use crate::x509::Sha256;

/// Longest token in bytes.
const LONGEST: usize = 4096;

/// The only algorithm.
const ALGORITHM: &str = "ES256";

/// Header of a token. Any other member, such as `jwk`, `jku`, `x5c` or `crit`, is refused.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JoseHeader {
    alg: String,
    typ: String,
    kid: String,
}

/// Public key that verifies tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerificationKey {
    /// ID by which tokens name it: its JWK thumbprint (RFC 7638).
    pub id: String,
    /// Uncompressed point on P-256.
    pub point: Vec<u8>,
}

/// SubjectPublicKeyInfo of a key on P-256, up to its uncompressed point (RFC 5480, section 2).
const P256_INFO: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

impl VerificationKey {
    /// The key in a SubjectPublicKeyInfo (DER).
    ///
    /// # Errors
    /// [`TokenError::Key`] unless it is a key on P-256 with an uncompressed point.
    pub fn of_public_key_info(der: &[u8]) -> Result<Self, TokenError> {
        Self::of_point(der.strip_prefix(P256_INFO).ok_or(TokenError::Key)?)
    }

    /// The key with this uncompressed point.
    ///
    /// # Errors
    /// [`TokenError::Key`] for anything else than 65 bytes that begin with 4.
    pub fn of_point(point: &[u8]) -> Result<Self, TokenError> {
        let [4, coordinates @ ..] = point else { return Err(TokenError::Key) };
        let (x, y) =
            coordinates.split_at_checked(32).filter(|(_, y)| y.len() == 32).ok_or(TokenError::Key)?;
        let [x, y] = [x, y].map(|coordinate| BASE64_URL_SAFE_NO_PAD.encode(coordinate));
        let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let id = BASE64_URL_SAFE_NO_PAD.encode(Sha256::of(jwk.as_bytes()).0);
        Ok(Self { id, point: point.to_vec() })
    }
}

/// Private key that signs tokens.
#[derive(Debug)]
pub(super) struct JwsKey {
    pair: EcdsaKeyPair,
    pub(super) public: VerificationKey,
}

impl JwsKey {
    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, TokenError> {
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map_err(|_| TokenError::Key)?;
        let public = VerificationKey::of_point(pair.public_key().as_ref())?;
        Ok(Self { pair, public })
    }

    /// Sign a JSON text.
    pub(super) fn sign(&self, typ: &str, payload: &[u8]) -> Result<String, TokenError> {
        let header =
            JoseHeader { alg: ALGORITHM.to_owned(), typ: typ.to_owned(), kid: self.public.id.clone() };
        let header = serde_json::to_vec(&header).map_err(|_| TokenError::Signing)?;
        let [header, payload] = [header.as_slice(), payload].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        let mut token = format!("{header}.{payload}");
        let signature = self.signature_of(token.as_bytes())?;
        token.push('.');
        token.push_str(&BASE64_URL_SAFE_NO_PAD.encode(signature));
        Ok(token)
    }

    /// Signature of the first two parts of a JWS.
    pub(super) fn signature_of(&self, signed: &[u8]) -> Result<Vec<u8>, TokenError> {
        let signature = self.pair.sign(&SystemRandom::new(), signed).map_err(|_| TokenError::Signing)?;
        Ok(signature.as_ref().to_vec())
    }
}

/// Verify a token of type `typ` with one of `keys`, and return its payload with that key.
pub(super) fn verify<'k>(
    token: &str,
    typ: &str,
    keys: &'k [VerificationKey],
) -> Result<(Vec<u8>, &'k VerificationKey), TokenError> {
    if token.len() > LONGEST {
        return Err(TokenError::Malformed);
    }
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenError::Malformed);
    };
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed);
    let parsed: JoseHeader = serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Malformed)?;
    if parsed.alg != ALGORITHM {
        return Err(TokenError::Algorithm);
    }
    if parsed.typ != typ {
        return Err(TokenError::Malformed);
    }
    let key = keys.iter().find(|key| key.id == parsed.kid).ok_or(TokenError::UnknownKey)?;
    let signed = token.get(..header.len() + 1 + payload.len()).ok_or(TokenError::Malformed)?;
    verify_signature(key, signed.as_bytes(), &decode(signature)?)?;
    Ok((decode(payload)?, key))
}

/// Verify the signature of the first two parts of a JWS.
pub(super) fn verify_signature(
    key: &VerificationKey,
    signed: &[u8],
    signature: &[u8],
) -> Result<(), TokenError> {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key.point)
        .verify(signed, signature)
        .map_err(|_| TokenError::Signature)
}
