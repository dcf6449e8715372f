//! Signed assertions to upstreams: identity of the caller, bound to one request, valid for a few seconds.
//!
//! An assertion is a JWT (RFC 7519, ES256 of RFC 7518). It is bound to:
//!
//! - method and target, with the claims of DPoP (RFC 9449, section 4.2),
//! - the query, by its hash,
//! - the caller's certificate (RFC 8705, section 3.1).
//!
//! It is not bound to the body. An upstream verifies it with the keys that the gateway publishes (RFC 7517),
//! and need not trust the network in between.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use http::Method;
use http::header::{HeaderName, HeaderValue};
use serde::{Serialize, Serializer};
use time::OffsetDateTime;

use crate::error::{Code, Coded};
use crate::gateway::config::AssertionSettings;
use crate::gateway::message::framing::RequestHost;
use crate::gateway::message::path::RequestPath;
use crate::gateway::tokens::TokenHolder;
use crate::identity::{AccountRole, Name, Role, TrustDomain};
use crate::keys::{KeyError, PrivateKey};
use crate::mtls::Peer;
use crate::mtls::keys::LoadedKey;
use crate::serving::request_id::RequestId;
use crate::x509::{KeyAlgorithm, SerialNumber, Sha256};

/// Header that carries the assertion.
pub const X_CLUSTER_ASSERTION: HeaderName = HeaderName::from_static("x-cluster-assertion");

/// Type of the JWT, so that no JWT of another type is accepted as an assertion (RFC 8725, section 3.11).
const TYPE: &str = "cluster-assertion+jwt";

/// Time that a key is published after its last assertion expires, for verifiers whose clock is slow.
const LEEWAY: Duration = Duration::from_secs(60);

/// Signer of assertions, with the public keys that verify them.
#[derive(Debug)]
pub struct Assertions {
    issuer: String,
    audience: Option<String>,
    lifetime: Duration,
    key: Arc<SigningKey>,
    retired: Vec<RetiredKey>,
}

/// Key that no longer signs, published until its last assertion has expired.
#[derive(Clone, Debug)]
struct RetiredKey {
    key: Arc<SigningKey>,
    until: OffsetDateTime,
}

/// Request that an assertion is bound to.
#[derive(Clone, Copy, Debug)]
pub struct AssertedRequest<'a> {
    /// ID of the request, and of the assertion.
    pub id: RequestId,
    /// HTTP method.
    pub method: &'a Method,
    /// Requested host.
    pub host: &'a RequestHost,
    /// Path and query.
    pub path: &'a RequestPath,
    /// Name of the upstream.
    pub upstream: &'a str,
}

/// Caller that an assertion is about.
#[derive(Clone, Copy, Debug)]
pub struct AssertedCaller<'a> {
    /// Holder of the client certificate.
    pub peer: Option<&'a Peer>,
    /// User of the access token.
    pub user: Option<&'a TokenHolder>,
}

impl AssertedCaller<'_> {
    /// True without a certificate and without a token.
    #[must_use]
    pub const fn is_anonymous(&self) -> bool {
        self.peer.is_none() && self.user.is_none()
    }

    /// Subject: the identity of the certificate, else the user.
    fn subject(&self) -> String {
        match (self.peer, self.user) {
            (Some(peer), _) => peer.identity.to_string(),
            (None, Some(user)) => user.token.claims.sub.clone(),
            (None, None) => String::new(),
        }
    }
}

impl Assertions {
    /// Create the signer of `config`. `loaded` is the configured key; `previous` is the signer of the last
    /// state, if there is a last state.
    ///
    /// Without a configured key, a key is generated once and kept across reloads. A replaced key stays
    /// published until its assertions have expired. While the configured key is not open, the previous key
    /// stays in use; if there is none (`Some(None)`), the result is `None`, and no assertion is signed.
    ///
    /// # Errors
    /// [`AssertionError`] if the key cannot be used, or none can be generated.
    pub fn load(
        config: &AssertionSettings,
        loaded: Option<LoadedKey>,
        trust_domain: &TrustDomain,
        previous: Option<Option<&Self>>,
        at: OffsetDateTime,
    ) -> Result<Option<Self>, AssertionError> {
        let has_previous_state = previous.is_some();
        let previous = previous.flatten();
        let key = match (config.key.as_ref().zip(loaded), previous) {
            (Some((source, LoadedKey::Opened { key, fingerprint, .. })), _) => {
                Arc::new(SigningKey::read(&source.path, &key, fingerprint)?)
            }
            (Some(_), Some(previous)) => Arc::clone(&previous.key),
            (Some(_), None) if has_previous_state => return Ok(None),
            (None, Some(previous)) if previous.key.origin == KeyOrigin::Generated => {
                Arc::clone(&previous.key)
            }
            (..) => Arc::new(SigningKey::generate()?),
        };
        let mut retired = Vec::new();
        if let Some(previous) = previous {
            let until = at + previous.lifetime + LEEWAY;
            retired.push(RetiredKey { key: Arc::clone(&previous.key), until });
            retired.extend(previous.retired.iter().filter(|retired| retired.until >= at).cloned());
            retired.retain(|retired| retired.key.jwk.kid != key.jwk.kid);
        }
        Ok(Some(Self {
            issuer: config.issuer.clone().unwrap_or_else(|| format!("spiffe://{trust_domain}")),
            audience: config.audience.clone(),
            lifetime: config.lifetime,
            key,
            retired,
        }))
    }

    /// SHA-256 of the key files; `None` for a generated key.
    #[must_use]
    pub fn key_fingerprint(&self) -> Option<Sha256> {
        match self.key.origin {
            KeyOrigin::File(fingerprint) => Some(fingerprint),
            KeyOrigin::Generated => None,
        }
    }

    /// Sign the assertion for one request of `caller`; returns the value of [`X_CLUSTER_ASSERTION`].
    ///
    /// # Errors
    /// [`AssertionError::Sign`]; the request must not be sent.
    pub fn sign(
        &self,
        caller: &AssertedCaller<'_>,
        request: &AssertedRequest<'_>,
        at: OffsetDateTime,
    ) -> Result<HeaderValue, AssertionError> {
        let issued = at.unix_timestamp();
        let host = request.host.value().to_str().map_err(|_| AssertionError::Sign)?;
        let claims = Claims {
            iss: &self.issuer,
            aud: self.audience.as_deref().unwrap_or(request.upstream),
            sub: caller.subject(),
            role: caller.peer.map(|peer| peer.identity.role),
            name: caller.peer.map(|peer| &peer.identity.name),
            serial: caller.peer.map(|peer| peer.serial_number),
            user: caller.user.map(|user| &user.account.name),
            org: caller.user.map(|user| user.account.organization.as_str()),
            user_role: caller.user.map(|user| user.account.role),
            jti: request.id,
            iat: issued,
            nbf: issued,
            exp: issued.saturating_add_unsigned(self.lifetime.as_secs()),
            htm: request.method.as_str(),
            htu: format!("https://{host}{}", request.path.path()),
            htq: request.path.query().map(|query| JoseHash(Sha256::of(query.as_bytes()))),
            cnf: caller
                .peer
                .map(|peer| Confirmation { certificate: JoseHash(peer.chain.leaf.fingerprint()) }),
        };
        let token = self.key.sign(&claims)?;
        let mut value = HeaderValue::try_from(token).map_err(|_| AssertionError::Sign)?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Public keys of all assertions that may be valid at `at`, signing key first (RFC 7517).
    #[must_use]
    pub fn jwks(&self, at: OffsetDateTime) -> JwkSet<'_> {
        let retired = self.retired.iter().filter(|retired| retired.until >= at).map(|retired| &*retired.key);
        JwkSet { keys: std::iter::once(&*self.key).chain(retired).map(|key| &key.jwk).collect() }
    }
}

/// Configured or generated key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyOrigin {
    /// Key files, with their SHA-256.
    File(Sha256),
    Generated,
}

#[derive(Debug)]
struct SigningKey {
    pair: EcdsaKeyPair,
    origin: KeyOrigin,
    jwk: Jwk,
    /// Encoded JWS header with the trailing dot, the same in every token.
    header: String,
}

impl SigningKey {
    fn read(path: &Path, key: &PrivateKey, fingerprint: Sha256) -> Result<Self, AssertionError> {
        let failed = |error| AssertionError::Key { path: path.to_owned(), source: Box::new(error) };
        if key.algorithm() != KeyAlgorithm::EcdsaP256 {
            return Err(AssertionError::KeyType { path: path.to_owned(), algorithm: key.algorithm() });
        }
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.der().map_err(failed)?)
            .map_err(|_| failed(KeyError::Unsupported))
            .and_then(|pair| Self::new(pair, KeyOrigin::File(fingerprint)))
    }

    fn generate() -> Result<Self, AssertionError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Self::new(pair.map_err(|_| AssertionError::Generate)?, KeyOrigin::Generated)
    }

    fn new(pair: EcdsaKeyPair, origin: KeyOrigin) -> Result<Self, AssertionError> {
        let jwk = Jwk::of_point(pair.public_key().as_ref()).ok_or(AssertionError::Generate)?;
        let header = encode(&JwsHeader { alg: "ES256", kid: &jwk.kid, typ: TYPE })? + ".";
        Ok(Self { pair, origin, jwk, header })
    }

    /// Sign a compact JWS (RFC 7515, section 7.1).
    fn sign(&self, claims: &Claims<'_>) -> Result<String, AssertionError> {
        let mut token = self.header.clone();
        token.push_str(&encode(claims)?);
        let signature =
            self.pair.sign(&SystemRandom::new(), token.as_bytes()).map_err(|_| AssertionError::Sign)?;
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Ok(token)
    }
}

fn encode(value: &impl Serialize) -> Result<String, AssertionError> {
    let json = serde_json::to_vec(value).map_err(|_| AssertionError::Sign)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(json))
}

#[derive(Serialize)]
struct JwsHeader<'a> {
    alg: &'static str,
    kid: &'a str,
    typ: &'static str,
}

/// Claims. All except `role`, `name`, `serial`, `user`, `org`, `user_role` and `htq` have their registered meaning.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: String,
    /// Role, name and serial number of the certificate; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<SerialNumber>,
    /// User of the access token, its organization and its role; absent without a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_role: Option<AccountRole>,
    jti: RequestId,
    iat: i64,
    nbf: i64,
    exp: i64,
    htm: &'a str,
    htu: String,
    /// SHA-256 of the query; absent without a query.
    #[serde(skip_serializing_if = "Option::is_none")]
    htq: Option<JoseHash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
}

#[derive(Serialize)]
struct Confirmation {
    #[serde(rename = "x5t#S256")]
    certificate: JoseHash,
}

/// SHA-256 in the encoding of JOSE: base64url without padding.
struct JoseHash(Sha256);

impl Serialize for JoseHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0.0))
    }
}

/// JWK set (RFC 7517, section 5).
#[derive(Debug, Serialize)]
pub struct JwkSet<'a> {
    keys: Vec<&'a Jwk>,
}

#[derive(Debug, Serialize)]
struct Jwk {
    kty: &'static str,
    crv: &'static str,
    x: String,
    y: String,
    /// Thumbprint (RFC 7638).
    kid: String,
    alg: &'static str,
    #[serde(rename = "use")]
    purpose: &'static str,
}

impl Jwk {
    /// Key of an uncompressed P-256 point (SEC 1, section 2.3.3).
    fn of_point(point: &[u8]) -> Option<Self> {
        let coordinates = point.strip_prefix(&[4]).filter(|coordinates| coordinates.len() == 64)?;
        let (x, y) = coordinates.split_at(32);
        let (x, y) = (BASE64_URL_SAFE_NO_PAD.encode(x), BASE64_URL_SAFE_NO_PAD.encode(y));
        let thumbprint =
            Sha256::of(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#).as_bytes());
        let kid = BASE64_URL_SAFE_NO_PAD.encode(thumbprint.0);
        Some(Self { kty: "EC", crv: "P-256", x, y, kid, alg: "ES256", purpose: "sig" })
    }
}

/// Assertion that cannot be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssertionError {
    /// Generating a key failed.
    #[error("a key for assertions cannot be generated")]
    Generate,
    /// The key cannot be opened.
    #[error("the assertion key {} cannot be opened", path.display())]
    Key {
        /// Path of the key file.
        path: PathBuf,
        /// Reason.
        source: Box<KeyError>,
    },
    /// The key type does not fit ES256.
    #[error("the assertion key {} is of type {algorithm}; ES256 requires ecdsa-p256", path.display())]
    KeyType {
        /// Path of the key file.
        path: PathBuf,
        /// Type of the key.
        algorithm: KeyAlgorithm,
    },
    /// Signing failed.
    #[error("the assertion about the caller cannot be signed")]
    Sign,
}

impl Coded for AssertionError {
    fn coded(&self) -> Code {
        match self {
            Self::Generate => Code::refused("assertion.generate"),
            Self::Key { source, .. } => source.coded(),
            Self::KeyType { .. } => Code::refused("assertion.key_type"),
            Self::Sign => Code::refused("assertion.sign"),
        }
    }
}
