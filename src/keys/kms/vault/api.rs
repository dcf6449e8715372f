//! Bodies of Vault's HTTP API, in JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::keys::kms::credential::Credential;

/// Envelope of every successful answer.
#[derive(Deserialize)]
pub(super) struct Data<T> {
    pub(super) data: T,
}

/// `{"auth": …}`, the response to a login.
#[derive(Deserialize)]
pub(super) struct Login {
    pub(super) auth: Auth,
}

#[derive(Deserialize)]
pub(super) struct Auth {
    pub(super) client_token: Credential,
}

/// Body of every refusal.
#[derive(Default, Deserialize)]
pub(super) struct Errors {
    #[serde(default)]
    pub(super) errors: Vec<String>,
}

/// Properties of a wrapping key.
#[derive(Deserialize)]
pub(super) struct WrappingKey {
    pub(super) latest_version: u64,
    #[serde(default)]
    pub(super) supports_encryption: bool,
    #[serde(default)]
    pub(super) supports_decryption: bool,
    #[serde(default)]
    pub(super) derived: bool,
}

/// Type of a key, such as `ecdsa-p256`.
#[derive(Deserialize)]
pub(super) struct KeyType {
    #[serde(rename = "type")]
    pub(super) key_type: String,
}

/// Properties of a signing key; its public halves by version.
#[derive(Deserialize)]
pub(super) struct SigningKey {
    pub(super) latest_version: u64,
    pub(super) keys: BTreeMap<String, PublicHalf>,
}

#[derive(Deserialize)]
pub(super) struct PublicHalf {
    pub(super) public_key: String,
}

#[derive(Deserialize)]
pub(super) struct Signature {
    pub(super) signature: String,
}

#[derive(Deserialize)]
pub(super) struct Ciphertext {
    pub(super) ciphertext: String,
}

#[derive(Deserialize)]
pub(super) struct Plaintext {
    pub(super) plaintext: Zeroizing<String>,
}

/// Lifetime of a token, in seconds.
#[derive(Deserialize)]
pub(super) struct TokenLifetime {
    pub(super) ttl: u64,
    pub(super) creation_ttl: u64,
    #[serde(default)]
    pub(super) renewable: bool,
    /// Seconds since 1970.
    #[serde(default)]
    pub(super) creation_time: i64,
    /// End, however often the token is renewed, in seconds after its creation; 0 for none.
    #[serde(default)]
    pub(super) explicit_max_ttl: i64,
    /// End without a renewal; `None` for a token without an end.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub(super) expire_time: Option<OffsetDateTime>,
}

/// Body of `encrypt`.
#[derive(Serialize)]
pub(super) struct EncryptRequest<'a> {
    pub(super) plaintext: &'a str,
}

/// Body of `decrypt` and `rewrap`.
#[derive(Serialize)]
pub(super) struct CiphertextRequest<'a> {
    pub(super) ciphertext: &'a str,
}

/// Body of an AppRole login.
#[derive(Serialize)]
pub(super) struct LoginRequest<'a> {
    pub(super) role_id: &'a str,
    pub(super) secret_id: &'a str,
}

/// Body of `sign` for a digest.
#[derive(Serialize)]
pub(super) struct SignRequest<'a> {
    pub(super) input: &'a str,
    pub(super) prehashed: bool,
    pub(super) hash_algorithm: &'static str,
    pub(super) marshaling_algorithm: &'static str,
    pub(super) key_version: u64,
}

/// Body without fields: `{}`.
#[derive(Serialize)]
pub(super) struct NoFields {}
