//! What the gateway signs for the service behind: who calls, for which request, for a few seconds.
//!
//! One JWT a request (RFC 7519, ES256 of RFC 7518), bound to method and target as DPoP names them
//! (RFC 9449, section 4.2), to the query by its hash, and to the caller's certificate (RFC 8705,
//! section 3.1). The service verifies it with the keys that the gateway publishes (RFC 7517), and then
//! need not trust the network between them. A body is not bound.

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
use crate::gateway::config::Assertion;
use crate::gateway::message::framing::RequestHost;
use crate::gateway::message::path::RequestPath;
use crate::gateway::message::request_id::RequestId;
use crate::identity::{Identity, Name, Role, TrustDomain};
use crate::keys::{KeyError, PrivateKey};
use crate::mtls::Peer;
use crate::mtls::keys::LoadedKey;
use crate::x509::{KeyAlgorithm, SerialNumber, Sha256};

/// Where the assertion stands.
pub const X_CLUSTER_ASSERTION: HeaderName = HeaderName::from_static("x-cluster-assertion");

/// Says which kind of JWT it is, so that none of another kind is taken for it (RFC 8725, section 3.11).
const TYPE: &str = "cluster-assertion+jwt";

/// How much longer than an assertion holds its key is published: a verifier's clock may be late.
const LEEWAY: Duration = Duration::from_secs(60);

/// What signs assertions, and the keys that they can be verified with.
#[derive(Debug)]
pub struct Assertions {
    issuer: String,
    audience: Option<String>,
    lifetime: Duration,
    key: Arc<SigningKey>,
    retired: Vec<Retired>,
}

/// A key that signs no more, until nothing holds that it has signed.
#[derive(Clone, Debug)]
struct Retired {
    key: Arc<SigningKey>,
    until: OffsetDateTime,
}

/// The request that an assertion is for.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Its number, which is the assertion's too.
    pub id: RequestId,
    /// Its method.
    pub method: &'a Method,
    /// The host that it asks for.
    pub host: &'a RequestHost,
    /// The path and query, as they were judged.
    pub path: &'a RequestPath,
    /// The name of the upstream that it goes to.
    pub upstream: &'a str,
}

impl Assertions {
    /// Signs with the key that `config` names and that was `found`, or else with one that is made; a key
    /// made before stays, and one that was replaced is published until nothing holds any more that it has
    /// signed. While the named key is missing, what there was `before` goes on, if it is nothing
    /// (`Some(None)`) without signing.
    ///
    /// # Errors
    /// [`AssertionError`] when there is no key to sign with.
    pub fn load(
        config: &Assertion,
        found: Option<LoadedKey>,
        trust_domain: &TrustDomain,
        before: Option<Option<&Self>>,
        at: OffsetDateTime,
    ) -> Result<Option<Self>, AssertionError> {
        let previous = before.flatten();
        let key = match (config.key.as_ref().zip(found), previous) {
            (Some((source, LoadedKey::Opened { key, fingerprint, .. })), _) => {
                Arc::new(SigningKey::read(&source.path, &key, fingerprint)?)
            }
            (Some(_), Some(previous)) => Arc::clone(&previous.key),
            (Some(_), None) if before.is_some() => return Ok(None),
            (None, Some(previous)) if previous.key.origin == Origin::Generated => Arc::clone(&previous.key),
            (..) => Arc::new(SigningKey::generate()?),
        };
        let mut retired = Vec::new();
        if let Some(previous) = previous {
            let until = at + previous.lifetime + LEEWAY;
            retired.push(Retired { key: Arc::clone(&previous.key), until });
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

    /// What the files of the key had in them; `None` for one that was made.
    #[must_use]
    pub fn key_fingerprint(&self) -> Option<Sha256> {
        match self.key.origin {
            Origin::File(fingerprint) => Some(fingerprint),
            Origin::Generated => None,
        }
    }

    /// The assertion for one request of `caller`, as the value of [`X_CLUSTER_ASSERTION`].
    ///
    /// # Errors
    /// [`AssertionError::Sign`]; then the request must not be sent.
    pub fn sign(
        &self,
        caller: &Peer,
        call: &Call<'_>,
        at: OffsetDateTime,
    ) -> Result<HeaderValue, AssertionError> {
        let issued = at.unix_timestamp();
        let host = call.host.value().to_str().map_err(|_| AssertionError::Sign)?;
        let claims = Claims {
            iss: &self.issuer,
            aud: self.audience.as_deref().unwrap_or(call.upstream),
            sub: &caller.identity,
            role: caller.identity.role,
            name: &caller.identity.name,
            serial: caller.serial_number,
            jti: call.id,
            iat: issued,
            nbf: issued,
            exp: issued.saturating_add_unsigned(self.lifetime.as_secs()),
            htm: call.method.as_str(),
            htu: format!("https://{host}{}", call.path.path()),
            htq: call.path.query().map(|query| Hash(Sha256::of(query.as_bytes()))),
            cnf: Confirmation { certificate: Hash(caller.chain.leaf.fingerprint()) },
        };
        let token = self.key.sign(&claims)?;
        let mut value = HeaderValue::try_from(token).map_err(|_| AssertionError::Sign)?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The keys of all assertions that can hold at `at`, the one that signs in front (RFC 7517).
    #[must_use]
    pub fn jwks(&self, at: OffsetDateTime) -> JwkSet<'_> {
        let retired = self.retired.iter().filter(|retired| retired.until >= at).map(|retired| &*retired.key);
        JwkSet { keys: std::iter::once(&*self.key).chain(retired).map(|key| &key.jwk).collect() }
    }
}

/// Where a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// With what was in its files.
    File(Sha256),
    Generated,
}

#[derive(Debug)]
struct SigningKey {
    pair: EcdsaKeyPair,
    origin: Origin,
    jwk: Jwk,
    /// The first part of every token, with its dot.
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
            .and_then(|pair| Self::new(pair, Origin::File(fingerprint)))
    }

    fn generate() -> Result<Self, AssertionError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Self::new(pair.map_err(|_| AssertionError::Generate)?, Origin::Generated)
    }

    fn new(pair: EcdsaKeyPair, origin: Origin) -> Result<Self, AssertionError> {
        let jwk = Jwk::of_point(pair.public_key().as_ref()).ok_or(AssertionError::Generate)?;
        let header = encode(&Header { alg: "ES256", kid: &jwk.kid, typ: TYPE })? + ".";
        Ok(Self { pair, origin, jwk, header })
    }

    /// A compact JWS (RFC 7515, section 7.1).
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
struct Header<'a> {
    alg: &'static str,
    kid: &'a str,
    typ: &'static str,
}

/// What is asserted; the names are registered, but for those of the cluster's own vocabulary and `htq`.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a Identity,
    role: Role,
    name: &'a Name,
    serial: SerialNumber,
    jti: RequestId,
    iat: i64,
    nbf: i64,
    exp: i64,
    htm: &'a str,
    htu: String,
    /// The hash of the query; a request without one has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    htq: Option<Hash>,
    cnf: Confirmation,
}

#[derive(Serialize)]
struct Confirmation {
    #[serde(rename = "x5t#S256")]
    certificate: Hash,
}

/// A SHA-256 as the standards of JOSE write it.
struct Hash(Sha256);

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0.0))
    }
}

/// Public keys as they are published (RFC 7517, section 5).
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
    /// The thumbprint (RFC 7638).
    kid: String,
    alg: &'static str,
    #[serde(rename = "use")]
    purpose: &'static str,
}

impl Jwk {
    /// The key at an uncompressed point of P-256 (SEC 1, section 2.3.3).
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

/// Why there is no assertion.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssertionError {
    /// The crypto library makes no key.
    #[error("no key for assertions can be made")]
    Generate,
    /// The key cannot be opened.
    #[error("the key for assertions {} cannot be opened", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Box<KeyError>,
    },
    /// The key is of another kind than ES256 takes.
    #[error("the key for assertions {} is of type {algorithm}, and ES256 takes ecdsa-p256", path.display())]
    KeyType {
        /// The file.
        path: PathBuf,
        /// What it is.
        algorithm: KeyAlgorithm,
    },
    /// A request cannot be asserted.
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
