//! Client of one key of a Transit engine: login, requests, refusals.
//!
//! A key that does not exist is reported as "denied" if no policy covers its path.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::api::{Data, Errors, Login, LoginRequest};
use super::https::{Https, HttpsRequest, HttpsResponse};
use super::settings::{AppRole, SECRET_ID, TOKEN, VaultCredentials, VaultService};
use crate::keys::kms::credential::Credential;
use crate::keys::kms::error::{KmsError, ServiceStatus};
use crate::keys::kms::trust_anchors::KmsTrustAnchors;

/// Properties of the token in use. The policy `default` allows every token to read them.
pub(super) const LOOKUP_SELF: &str = "auth/token/lookup-self";

/// Renewal of the token in use.
pub(super) const RENEW_SELF: &str = "auth/token/renew-self";

/// Longest request body, in bytes. Real ones are below 1 KiB.
const MAX_REQUEST: usize = 4096;

/// A key of a Transit engine.
pub(super) struct Transit {
    https: Https,
    pub(super) service: VaultService,
    /// The configured token, or that of the last login.
    token: Mutex<Option<Credential>>,
}

impl Transit {
    pub(super) fn new(service: &VaultService, anchors: &KmsTrustAnchors) -> Result<Self, KmsError> {
        let missing = |what| KmsError::CredentialMissing { what, address: service.address.to_string() };
        let token = match &service.credentials {
            VaultCredentials::Token(token) => Some(token.clone().ok_or_else(|| missing(TOKEN.name))?),
            VaultCredentials::AppRole(AppRole { secret_id: None, .. }) => {
                return Err(missing(SECRET_ID.name));
            }
            VaultCredentials::AppRole(_) => None,
        };
        let https = Https::new(service.address.as_str(), anchors)?;
        Ok(Self { https, service: service.clone(), token: Mutex::new(token) })
    }

    pub(super) fn address(&self) -> String {
        self.service.address.to_string()
    }

    /// `MOUNT/OPERATION/KEY`.
    fn path(&self, operation: &str) -> String {
        format!("{}/{operation}/{}", self.service.transit_path, self.service.key)
    }

    /// Send a request with the token. After a refusal an AppRole logs in again, once: its token may have
    /// expired.
    fn call(&self, path: &str, request: &HttpsRequest<'_>) -> Result<HttpsResponse, KmsError> {
        let used = self.token()?;
        let response = self.send(path, Some(&used), request)?;
        if response.status != 403 || !matches!(self.service.credentials, VaultCredentials::AppRole(_)) {
            return Ok(response);
        }
        self.forget_token();
        self.send(path, Some(&self.token()?), request)
    }

    fn send(
        &self,
        path: &str,
        token: Option<&Credential>,
        request: &HttpsRequest<'_>,
    ) -> Result<HttpsResponse, KmsError> {
        let mut headers = Vec::with_capacity(2);
        headers.extend(token.map(|token| ("X-Vault-Token", token.expose())));
        headers.extend(self.service.namespace.iter().map(|name| ("X-Vault-Namespace", name.as_str())));
        self.https.call(path, &headers, request)
    }

    fn token(&self) -> Result<Credential, KmsError> {
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        match token.as_ref() {
            Some(token) => Ok(token.clone()),
            None => Ok(token.insert(self.log_in()?).clone()),
        }
    }

    fn forget_token(&self) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn log_in(&self) -> Result<Credential, KmsError> {
        let VaultCredentials::AppRole(AppRole { auth_path, role_id, secret_id: Some(secret_id) }) =
            &self.service.credentials
        else {
            return Err(KmsError::CredentialMissing { what: TOKEN.name, address: self.address() });
        };
        let path = format!("auth/{auth_path}/login");
        let body = self.body(&LoginRequest { role_id, secret_id: secret_id.expose() })?;
        let response = self.send(&path, None, &HttpsRequest::Post(&body))?;
        match response.status {
            200 => self.read::<Login>(&response).map(|login| login.auth.client_token),
            400 | 401 | 403 if !is_namespace_missing(&response) => {
                Err(KmsError::LoginRefused { address: self.address(), messages: messages(&response) })
            }
            _ => Err(self.refusal(&path, "update", &response)),
        }
    }

    /// Serialize a request body.
    fn body(&self, request: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        private_json(request)
            .map_err(|error| KmsError::Request { address: self.address(), why: error.to_string() })
    }

    fn read<T: DeserializeOwned>(&self, response: &HttpsResponse) -> Result<T, KmsError> {
        let why = "it is not the JSON that the API defines";
        serde_json::from_slice(&response.body)
            .map_err(|_| KmsError::Protocol { address: self.address(), why })
    }

    /// `POST MOUNT/OPERATION/KEY`.
    pub(super) fn post<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        request: &impl Serialize,
    ) -> Result<T, KmsError> {
        self.post_to(&self.path(operation), request).and_then(|response| self.data(&response))
    }

    /// `POST PATH`, for its status alone.
    pub(super) fn post_to(&self, path: &str, request: &impl Serialize) -> Result<HttpsResponse, KmsError> {
        let body = self.body(request)?;
        let response = self.call(path, &HttpsRequest::Post(&body))?;
        if response.status == 200 { Ok(response) } else { Err(self.refusal(path, "update", &response)) }
    }

    /// `GET PATH`.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, KmsError> {
        let response = self.call(path, &HttpsRequest::Get)?;
        if response.status == 200 { self.data(&response) } else { Err(self.refusal(path, "read", &response)) }
    }

    /// Properties of the key. The only safe test for its existence: `encrypt` creates a missing key.
    pub(super) fn key_properties<T: DeserializeOwned>(&self) -> Result<T, KmsError> {
        self.get(&self.path("keys"))
    }

    fn data<T: DeserializeOwned>(&self, response: &HttpsResponse) -> Result<T, KmsError> {
        Ok(self.read::<Data<T>>(response)?.data)
    }

    /// The error for a refused request. Each remedy has its own error.
    fn refusal(&self, path: &str, capability: &'static str, response: &HttpsResponse) -> KmsError {
        let (address, messages) = (self.address(), messages(response));
        let says = |words: &str| messages.iter().any(|message| message.contains(words));
        let key = self.service.key.to_string();
        match response.status {
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
            404 if is_namespace_missing(response) => {
                let namespace = self.service.namespace.as_ref().map(ToString::to_string).unwrap_or_default();
                KmsError::NamespaceMissing { address, namespace }
            }
            404 => KmsError::KeyMissing { address, key },
            503 if says("sealed") => KmsError::Sealed { address },
            300..=399 => {
                let why = "it redirects; configure the address that answers requests itself";
                KmsError::Protocol { address, why }
            }
            status => {
                let status = ServiceStatus::Http(status);
                KmsError::Refused { address, operation: path.to_owned(), status, messages }
            }
        }
    }

    /// True if the token itself is refused, rather than one path: a valid token may look up itself. If the
    /// lookup fails for another reason, the refusal of the path stands.
    fn token_is_refused(&self) -> bool {
        let lookup = self.token().and_then(|token| self.send(LOOKUP_SELF, Some(&token), &HttpsRequest::Get));
        lookup.is_ok_and(|response| response.status == 403)
    }
}

impl fmt::Debug for Transit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transit({} at {})", self.service.key, self.service.address)
    }
}

/// The service's own messages, sanitized and shortened: they are untrusted. Empty if the body is no JSON,
/// as from a proxy in between; the status is reported in any case.
fn messages(response: &HttpsResponse) -> Vec<String> {
    let found: Errors = serde_json::from_slice(&response.body).unwrap_or_default();
    let clean = |text: String| {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        words.chars().filter(|c| !c.is_control()).take(200).collect()
    };
    found.errors.into_iter().take(3).map(clean).filter(|text: &String| !text.is_empty()).collect()
}

fn is_namespace_missing(response: &HttpsResponse) -> bool {
    messages(response).iter().any(|message| message.contains("namespace not found"))
}

/// Serialize a request into one zeroized allocation: growing would leave copies of its secrets behind. A
/// request that does not fit is an error, never sent in part.
fn private_json(request: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    let mut text = Zeroizing::new(vec![0; MAX_REQUEST]);
    let mut rest = text.as_mut_slice();
    serde_json::to_writer(&mut rest, request)?;
    let unused = rest.len();
    text.truncate(MAX_REQUEST - unused);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde::ser::Error as _;
    use serde::{Serialize, Serializer};

    use super::*;

    /// A text, and a field that may fail to serialize after it.
    #[derive(Serialize)]
    struct Request {
        text: String,
        #[serde(serialize_with = "fail")]
        fails: bool,
    }

    fn fail<S: Serializer>(fails: &bool, serializer: S) -> Result<S::Ok, S::Error> {
        if *fails { Err(S::Error::custom("no")) } else { serializer.serialize_bool(false) }
    }

    #[test]
    fn a_request_is_complete_or_an_error() {
        let frame = r#"{"text":"","fails":false}"#.len();
        for (length, fits) in
            [(0, true), (MAX_REQUEST - frame, true), (MAX_REQUEST - frame + 1, false), (1 << 20, false)]
        {
            let body = private_json(&Request { text: "x".repeat(length), fails: false });
            assert_eq!(body.as_ref().map(|body| body.len()).ok(), fits.then_some(frame + length));
        }
        assert!(private_json(&Request { text: "x".to_owned(), fails: true }).is_err());
    }
}
