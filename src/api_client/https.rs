//! Requests to the server: https only, deadlines, size limits, no redirects, no proxies.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use serde::Serialize;
use serde_json::Value;
use ureq::RequestBuilder;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::typestate::WithBody;
use zeroize::Zeroizing;

use super::error::ApiClientError;
use crate::identity::Host;
use crate::secret::Secret;
use crate::x509::pem;

/// Time limit of a connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time limit of a request, connection included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest response body in bytes.
const LONGEST_ANSWER: usize = 1 << 20;

/// Port where the URL has none.
const PORT: u16 = 14000;

/// URL of a server: `https://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// URL as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for ServerUrl {
    type Err = ApiClientError;

    fn from_str(text: &str) -> Result<Self, ApiClientError> {
        let wrong = || ApiClientError::Url { given: text.escape_debug().take(80).collect() };
        let rest = text.strip_prefix("https://").unwrap_or(text);
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains("://") {
            return Err(wrong());
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') && (!host.contains(':') || host.ends_with(']')) => {
                (host, port.parse::<u16>().map_err(|_| wrong())?)
            }
            _ => (authority, PORT),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match bare.parse::<Host>().map_err(|_| wrong())? {
            Host::Dns(name) => Ok(Self(format!("https://{name}:{port}"))),
            Host::Ip(std::net::IpAddr::V4(ip)) => Ok(Self(format!("https://{ip}:{port}"))),
            Host::Ip(std::net::IpAddr::V6(ip)) => Ok(Self(format!("https://[{ip}]:{port}"))),
        }
    }
}

/// Server with the CA certificates that it is verified with.
pub struct ApiServer {
    url: ServerUrl,
    agent: ureq::Agent,
}

impl ApiServer {
    /// The server at `url`, whose certificate must chain to one of the CA certificates in `anchors` (PEM).
    ///
    /// # Errors
    /// [`ApiClientError::CaCertificate`].
    pub fn new(url: ServerUrl, anchors: &[u8]) -> Result<Self, ApiClientError> {
        let roots = pem::certificates(anchors)?;
        let roots: Vec<_> = roots.iter().map(|root| Certificate::from_der(&root.der).to_owned()).collect();
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
            .root_certs(RootCerts::new_with_certs(&roots))
            .build();
        let agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .https_only(true)
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(REQUEST_TIMEOUT))
            .user_agent(concat!("cluster-ca/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self { url, agent })
    }

    /// URL of the server.
    #[must_use]
    pub fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Get a resource.
    ///
    /// # Errors
    /// [`ApiClientError`].
    pub fn get(&self, path: &str, token: Option<&Secret>) -> Result<Value, ApiClientError> {
        let mut request = self.agent.get(self.at(path));
        if let Some(token) = token {
            request = request.header("authorization", &*bearer(token));
        }
        self.answer(request.call())
    }

    /// Get a resource that is a text, such as PEM.
    ///
    /// # Errors
    /// [`ApiClientError`].
    pub fn get_text(&self, path: &str, token: &Secret) -> Result<String, ApiClientError> {
        let request = self.agent.get(self.at(path)).header("authorization", &*bearer(token));
        let (status, body) = self.read(request.call())?;
        match status {
            200 => String::from_utf8(body.to_vec()).map_err(|_| self.protocol()),
            _ => Err(self.refusal(status, &body)),
        }
    }

    /// Post a JSON body, or none.
    ///
    /// # Errors
    /// [`ApiClientError`].
    pub fn post(
        &self,
        path: &str,
        token: Option<&Secret>,
        body: Option<&impl Serialize>,
    ) -> Result<Value, ApiClientError> {
        self.send(self.agent.post(self.at(path)), token, body)
    }

    /// Put a JSON body.
    ///
    /// # Errors
    /// [`ApiClientError`].
    pub fn put(&self, path: &str, token: &Secret, body: &impl Serialize) -> Result<Value, ApiClientError> {
        self.send(self.agent.put(self.at(path)), Some(token), Some(body))
    }

    fn send(
        &self,
        mut request: RequestBuilder<WithBody>,
        token: Option<&Secret>,
        body: Option<&impl Serialize>,
    ) -> Result<Value, ApiClientError> {
        if let Some(token) = token {
            request = request.header("authorization", &*bearer(token));
        }
        let answer = match body {
            Some(body) => {
                let json = serde_json::to_vec(body).map(Zeroizing::new).map_err(|_| self.protocol())?;
                request.content_type("application/json").send(json.as_slice())
            }
            None => request.send_empty(),
        };
        self.answer(answer)
    }

    fn at(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.url)
    }

    /// Error for an answer that is not of the API.
    pub(super) fn protocol(&self) -> ApiClientError {
        ApiClientError::Protocol { server: self.url.to_string() }
    }

    /// Status and body of an answer.
    fn read(
        &self,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<(u16, Zeroizing<Vec<u8>>), ApiClientError> {
        let mut response = answer.map_err(|error| self.failure(error))?;
        let status = response.status().as_u16();
        // One allocation: the body may hold tokens, and growing would leave copies behind.
        let mut body = Zeroizing::new(Vec::with_capacity(LONGEST_ANSWER + 1));
        let limit = u64::try_from(body.capacity()).unwrap_or(u64::MAX);
        let read = response.body_mut().as_reader().take(limit).read_to_end(&mut body);
        read.map_err(|source| ApiClientError::Unavailable { server: self.url.to_string(), source })?;
        if body.len() > LONGEST_ANSWER {
            return Err(self.protocol());
        }
        Ok((status, body))
    }

    fn answer(
        &self,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Value, ApiClientError> {
        let (status, body) = self.read(answer)?;
        match status {
            204 => Ok(Value::Null),
            200..300 => serde_json::from_slice(&body).map_err(|_| self.protocol()),
            _ => Err(self.refusal(status, &body)),
        }
    }

    /// Error for a problem in a body (RFC 9457).
    fn refusal(&self, status: u16, body: &[u8]) -> ApiClientError {
        let Ok(value) = serde_json::from_slice::<Value>(body) else { return self.protocol() };
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        match (text("code"), text("detail")) {
            (Some(code), Some(detail)) => ApiClientError::Refused { code, status, detail },
            _ => self.protocol(),
        }
    }

    fn failure(&self, error: ureq::Error) -> ApiClientError {
        let server = self.url.to_string();
        let source = error.into_io();
        match untrusted(&source) {
            Some(why) => ApiClientError::Untrusted { server, why },
            None => ApiClientError::Unavailable { server, source },
        }
    }
}

fn bearer(token: &Secret) -> Zeroizing<String> {
    Zeroizing::new(format!("Bearer {}", String::from_utf8_lossy(token.expose())))
}

/// Reason for refusing a certificate, in words. The library names its variants.
fn reason(error: &rustls::CertificateError) -> String {
    use rustls::CertificateError;
    match error {
        CertificateError::BadEncoding => "it cannot be read".to_owned(),
        CertificateError::BadSignature => "its signature is wrong".to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it does not have this name".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not a server's certificate".to_owned()
        }
        CertificateError::Revoked => "it is revoked".to_owned(),
        CertificateError::UnknownIssuer => "no trusted CA issued it".to_owned(),
        other => format!("it is not valid ({other})"),
    }
}

/// Reason why the server's certificate was refused; `None` for any other failure.
fn untrusted(error: &io::Error) -> Option<String> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let rustls = match error.downcast_ref::<ureq::Error>() {
            Some(ureq::Error::Rustls(error)) => Some(error),
            _ => error.downcast_ref::<rustls::Error>(),
        };
        if let Some(rustls::Error::InvalidCertificate(why)) = rustls {
            return Some(reason(why));
        }
        cause = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Coded;

    #[test]
    fn a_url_has_a_host_and_the_scheme_https() {
        for (text, url) in [
            ("https://ca.example.com", "https://ca.example.com:14000"),
            ("https://ca.example.com:8443/", "https://ca.example.com:8443"),
            ("ca.example.com:8443", "https://ca.example.com:8443"),
            ("https://10.0.0.5", "https://10.0.0.5:14000"),
            ("https://[::1]:8443", "https://[::1]:8443"),
            ("https://[::1]", "https://[::1]:14000"),
        ] {
            assert_eq!(text.parse::<ServerUrl>().unwrap().as_str(), url, "{text}");
        }
        for text in
            ["http://ca.example.com", "https://", "https://a@b", "https://a/b", "https://a:x", "ftp://a"]
        {
            assert_eq!(text.parse::<ServerUrl>().unwrap_err().code(), "input.server_url", "{text}");
        }
    }
}
