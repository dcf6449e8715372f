//! Vault's Transit engine, and OpenBao's: a data key is encrypted there and decrypted there.
//!
//! Three of the engine's traits decide how it is used. `encrypt` makes a key that is missing, so the
//! key is always looked at first. `rewrap` cannot handle associated data, so what belongs together is
//! bound in the envelope. A key that does not exist reads as "denied" where the policy does not name it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use super::configuration::{AppRole, Credential, SECRET_ID, TOKEN, VaultCredentials, VaultService};
use super::http::{Answer, Call, Https};
use super::trust::Trust;
use super::{KeyWrap, KmsError, Rewrap, TransitCiphertext, Wrapped};
use crate::keys::envelope::DataKey;
use crate::keys::held::DigestSigner;
use crate::x509::pem::only_block;

/// A key of a Transit engine.
pub struct Transit {
    https: Https,
    service: VaultService,
    /// The token in use: the one that was given, or that of the last login.
    token: Mutex<Option<Credential>>,
}

/// `{"data": …}`.
#[derive(Deserialize)]
struct Data<T> {
    data: T,
}

/// `{"auth": …}` of a login.
#[derive(Deserialize)]
struct Login {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    client_token: Credential,
}

/// `{"errors": […]}`.
#[derive(Default, Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<String>,
}

#[derive(Deserialize)]
struct KeyFacts {
    latest_version: u64,
    #[serde(default)]
    supports_encryption: bool,
    #[serde(default)]
    supports_decryption: bool,
    #[serde(default)]
    derived: bool,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

/// What is known of a key that signs.
#[derive(Deserialize)]
struct SigningKeyFacts {
    latest_version: u64,
    keys: BTreeMap<String, PublicHalf>,
}

#[derive(Deserialize)]
struct PublicHalf {
    public_key: String,
}

#[derive(Deserialize)]
struct Signature {
    signature: String,
}

#[derive(Deserialize)]
struct Ciphertext {
    ciphertext: String,
}

#[derive(Deserialize)]
struct Plaintext {
    plaintext: Zeroizing<String>,
}

#[derive(Deserialize)]
struct TokenFacts {
    ttl: u64,
    creation_ttl: u64,
    #[serde(default)]
    renewable: bool,
}

#[derive(Serialize)]
struct EncryptRequest<'a> {
    plaintext: &'a str,
}

#[derive(Serialize)]
struct LoginRequest<'a> {
    role_id: &'a str,
    secret_id: &'a str,
}

impl Transit {
    pub(super) fn new(service: &VaultService, trust: &Trust) -> Result<Self, KmsError> {
        let missing = |what| KmsError::CredentialMissing { what, address: service.address.to_string() };
        let token = match &service.credentials {
            VaultCredentials::Token(token) => Some(token.clone().ok_or_else(|| missing(TOKEN))?),
            VaultCredentials::AppRole(AppRole { secret_id: None, .. }) => return Err(missing(SECRET_ID)),
            VaultCredentials::AppRole(_) => None,
        };
        let https = Https::new(service.address.as_str(), trust);
        Ok(Self { https, service: service.clone(), token: Mutex::new(token) })
    }

    fn address(&self) -> String {
        self.service.address.to_string()
    }

    /// `MOUNT/OPERATION/KEY`.
    fn path(&self, operation: &str) -> String {
        format!("{}/{operation}/{}", self.service.transit_path, self.service.key)
    }

    /// Sends a request with the token; a login that ran out is made anew, once.
    fn call(&self, path: &str, call: &Call<'_>) -> Result<Answer, KmsError> {
        let used = self.token()?;
        let answer = self.send(path, Some(&used), call)?;
        if answer.status != 403 || !matches!(self.service.credentials, VaultCredentials::AppRole(_)) {
            return Ok(answer);
        }
        self.forget_token();
        self.send(path, Some(&self.token()?), call)
    }

    fn send(&self, path: &str, token: Option<&Credential>, call: &Call<'_>) -> Result<Answer, KmsError> {
        let mut headers = Vec::with_capacity(2);
        headers.extend(token.map(|token| ("X-Vault-Token", token.expose())));
        headers.extend(self.service.namespace.iter().map(|name| ("X-Vault-Namespace", name.as_str())));
        self.https.call(path, &headers, call)
    }

    fn token(&self) -> Result<Credential, KmsError> {
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        match token.as_ref() {
            Some(token) => Ok(token.clone()),
            None => Ok(token.insert(self.login()?).clone()),
        }
    }

    fn forget_token(&self) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn login(&self) -> Result<Credential, KmsError> {
        let VaultCredentials::AppRole(AppRole { auth_path, role_id, secret_id: Some(secret_id) }) =
            &self.service.credentials
        else {
            return Err(KmsError::CredentialMissing { what: TOKEN, address: self.address() });
        };
        let path = format!("auth/{auth_path}/login");
        let body = private_json(&LoginRequest { role_id, secret_id: secret_id.expose() });
        let answer = self.send(&path, None, &Call::Post(&body))?;
        match answer.status {
            200 => self.read::<Login>(&answer).map(|login| login.auth.client_token),
            400 | 401 | 403 if !is_namespace_missing(&answer) => {
                Err(KmsError::LoginRefused { address: self.address(), messages: messages(&answer) })
            }
            _ => Err(self.refusal(&path, "update", &answer)),
        }
    }

    fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, KmsError> {
        let why = "it is not the JSON that the API promises";
        serde_json::from_slice(&answer.body).map_err(|_| KmsError::Protocol { address: self.address(), why })
    }

    /// `POST MOUNT/OPERATION/KEY`, which has to succeed.
    fn post<T: DeserializeOwned>(&self, operation: &'static str, body: &[u8]) -> Result<T, KmsError> {
        let path = self.path(operation);
        let answer = self.call(&path, &Call::Post(body))?;
        match answer.status {
            200 => Ok(self.read::<Data<T>>(&answer)?.data),
            _ => Err(self.refusal(&path, "update", &answer)),
        }
    }

    /// What is known of the key; the one way to learn whether it is there.
    fn key_facts<T: DeserializeOwned>(&self) -> Result<T, KmsError> {
        let path = self.path("keys");
        let answer = self.call(&path, &Call::Get)?;
        match answer.status {
            200 => Ok(self.read::<Data<T>>(&answer)?.data),
            _ => Err(self.refusal(&path, "read", &answer)),
        }
    }

    /// The remedy differs, so the cases are told apart.
    fn refusal(&self, path: &str, capability: &'static str, answer: &Answer) -> KmsError {
        let (address, messages) = (self.address(), messages(answer));
        let says = |words: &str| messages.iter().any(|message| message.contains(words));
        let key = self.service.key.to_string();
        match answer.status {
            400 if says("too old") || says("disallowed by policy") => {
                KmsError::KeyVersionRefused { address, key, messages }
            }
            400 if says("encryption key not found") => KmsError::KeyMissing { address, key },
            403 if self.token_is_refused() => {
                KmsError::TokenRefused { address, needed: format!("`{capability}` on {path}"), messages }
            }
            403 => KmsError::Denied { address, path: path.to_owned(), capability, messages },
            404 if says("no handler for route") => {
                let mount = path.rsplit_once('/').map_or(path, |(before, _)| before);
                let mount = mount.rsplit_once('/').map_or(mount, |(before, _)| before);
                KmsError::MountMissing { address, path: mount.to_owned() }
            }
            404 if is_namespace_missing(answer) => {
                let namespace = self.service.namespace.as_ref().map(ToString::to_string).unwrap_or_default();
                KmsError::NamespaceMissing { address, namespace }
            }
            404 => KmsError::KeyMissing { address, key },
            503 => KmsError::Sealed { address },
            300..=399 => {
                let why = "it sends the request elsewhere; give the address that answers itself";
                KmsError::Protocol { address, why }
            }
            status => {
                KmsError::Refused { address, operation: path.to_owned(), status: status.into(), messages }
            }
        }
    }

    /// Whether it is the token that is not accepted, rather than its policy that lacks something: the
    /// policy `default` lets every token look at itself.
    fn token_is_refused(&self) -> bool {
        let look = self.token().and_then(|token| self.send(LOOKUP_SELF, Some(&token), &Call::Get));
        look.is_ok_and(|answer| answer.status == 403)
    }

    fn transit(&self, ciphertext: String) -> Wrapped {
        Wrapped::Vault(TransitCiphertext { key: self.service.key.to_string(), ciphertext })
    }

    fn ciphertext_of<'a>(&self, wrapped: &'a Wrapped) -> Result<&'a str, KmsError> {
        match wrapped {
            Wrapped::Vault(wrapped) if wrapped.key == self.service.key.as_str() => Ok(&wrapped.ciphertext),
            other => Err(KmsError::not_configured(other)),
        }
    }
}

impl KeyWrap for Transit {
    fn check(&self) -> Result<(), KmsError> {
        let facts = self.key_facts::<KeyFacts>()?;
        let unfit =
            |why| Err(KmsError::KeyUnfit { address: self.address(), key: self.service.key.to_string(), why });
        match facts {
            KeyFacts { supports_encryption: false, .. } => unfit("wrap data keys: its type does not encrypt"),
            KeyFacts { supports_decryption: false, .. } => unfit("wrap data keys: its type does not decrypt"),
            KeyFacts { derived: true, .. } => {
                unfit("wrap data keys: it is derived, so that every call needs a context")
            }
            _ => Ok(()),
        }
    }

    fn wrap_key(&self, data_key: &DataKey, _context: &[u8]) -> Result<Wrapped, KmsError> {
        self.check()?;
        let plaintext = Zeroizing::new(BASE64_STANDARD.encode(data_key.expose()));
        let body = private_json(&EncryptRequest { plaintext: &plaintext });
        Ok(self.transit(self.post::<Ciphertext>("encrypt", &body)?.ciphertext))
    }

    fn unwrap_key(&self, wrapped: &Wrapped, _context: &[u8]) -> Result<DataKey, KmsError> {
        let body = json!({ "ciphertext": self.ciphertext_of(wrapped)? }).to_string();
        let text = self.post::<Plaintext>("decrypt", body.as_bytes())?.plaintext;
        let bytes = BASE64_STANDARD.decode(text.as_bytes()).map(Zeroizing::new);
        let data_key = bytes.ok().and_then(|bytes| DataKey::from_bytes(&bytes));
        let data_key = data_key.ok_or_else(|| KmsError::DataKey { address: self.address() })?;
        // Failing to is no failure of what the token was used for: it holds for as long again, and the
        // next use tries again.
        let _ = self.keep_login();
        Ok(data_key)
    }

    fn rewrap_key(&self, wrapped: &Wrapped) -> Result<Rewrap, KmsError> {
        let ciphertext = self.ciphertext_of(wrapped)?;
        if wrapped.version() == Some(self.key_facts::<KeyFacts>()?.latest_version) {
            return Ok(Rewrap::Current);
        }
        let body = json!({ "ciphertext": ciphertext }).to_string();
        let renewed = self.post::<Ciphertext>("rewrap", body.as_bytes())?;
        Ok(Rewrap::Done(self.transit(renewed.ciphertext)))
    }

    /// Renews a token when half of its life is over. A role needs none of that: each run logs in anew.
    fn keep_login(&self) -> Result<Option<Duration>, KmsError> {
        if !matches!(self.service.credentials, VaultCredentials::Token(_)) {
            return Ok(None);
        }
        let answer = self.call(LOOKUP_SELF, &Call::Get)?;
        if answer.status != 200 {
            return Err(self.refusal(LOOKUP_SELF, "read", &answer));
        }
        let TokenFacts { mut ttl, creation_ttl, renewable } = self.read::<Data<TokenFacts>>(&answer)?.data;
        if !renewable || ttl == 0 {
            return Ok(None);
        }
        let half = creation_ttl / 2;
        if ttl < half.max(1) {
            let answer = self.call(RENEW_SELF, &Call::Post(b"{}"))?;
            if answer.status != 200 {
                return Err(self.refusal(RENEW_SELF, "update", &answer));
            }
            ttl = creation_ttl;
        }
        Ok(Some(Duration::from_secs(ttl.saturating_sub(half) + 1)))
    }
}

/// One version of a key of a Transit engine that signs.
pub(super) struct TransitSigner {
    transit: Transit,
    version: u64,
}

impl TransitSigner {
    /// The signer of one version of the key; the newest when none is named.
    pub(super) fn new(transit: Transit, version: Option<u64>) -> Result<Self, KmsError> {
        let version = match version {
            Some(version) => version,
            None => transit.signing_key_facts()?.latest_version,
        };
        Ok(Self { transit, version })
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }
}

impl Transit {
    fn signing_key_facts(&self) -> Result<SigningKeyFacts, KmsError> {
        // Looked at twice, since a key that does not sign has no public halves to read.
        let kind = self.key_facts::<Kind>()?.kind;
        if kind == "ecdsa-p256" {
            return self.key_facts();
        }
        let why = "sign as the root: its type is not ecdsa-p256";
        Err(KmsError::KeyUnfit { address: self.address(), key: self.service.key.to_string(), why })
    }
}

impl DigestSigner for TransitSigner {
    fn public_key_info(&self) -> Result<Vec<u8>, KmsError> {
        let transit = &self.transit;
        let facts = transit.signing_key_facts()?;
        let pem = facts.keys.get(&self.version.to_string()).map(|half| half.public_key.clone());
        let missing = || KmsError::KeyMissing {
            address: transit.address(),
            key: format!("{}, version {}", transit.service.key, self.version),
        };
        let pem = pem.ok_or_else(missing)?;
        let unreadable =
            |_| KmsError::Protocol { address: transit.address(), why: "the public key in it cannot be read" };
        let block = only_block(pem.as_bytes()).map_err(unreadable)?;
        Ok(block.der().to_vec())
    }

    fn sign_digest(&self, digest: &[u8]) -> Result<Vec<u8>, KmsError> {
        let body = json!({
            "input": BASE64_STANDARD.encode(digest),
            "prehashed": true,
            "hash_algorithm": "sha2-256",
            "marshaling_algorithm": "asn1",
            "key_version": self.version,
        });
        let signed = self.transit.post::<Signature>("sign", body.to_string().as_bytes())?.signature;
        let text = signed.rsplit(':').next().unwrap_or_default();
        let why = "the signature in it is not base64";
        BASE64_STANDARD.decode(text).map_err(|_| KmsError::Protocol { address: self.transit.address(), why })
    }
}

const LOOKUP_SELF: &str = "auth/token/lookup-self";
const RENEW_SELF: &str = "auth/token/renew-self";

/// The service's own words, made fit to be shown: what it says is not ours to trust.
fn messages(answer: &Answer) -> Vec<String> {
    let found: Errors = serde_json::from_slice(&answer.body).unwrap_or_default();
    let clean = |text: String| {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        words.chars().filter(|c| !c.is_control()).take(200).collect()
    };
    found.errors.into_iter().take(3).map(clean).filter(|text: &String| !text.is_empty()).collect()
}

fn is_namespace_missing(answer: &Answer) -> bool {
    messages(answer).iter().any(|message| message.contains("namespace not found"))
}

/// A request in zeroized memory: it may hold a secret.
fn private_json(request: &impl Serialize) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    // Writing plain texts into memory cannot fail.
    let _ = serde_json::to_writer(&mut *text, request);
    text
}
