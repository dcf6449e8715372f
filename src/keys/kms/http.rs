//! HTTPS to a key management service: deadlines, bounded answers, bounded retries, no redirects, no
//! proxies, no plain http.

use std::io::{self, Read};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use zeroize::Zeroizing;

use super::KmsError;
use super::trust::Trust;

/// How long one connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// How long one request may take in all.
const REQUEST: Duration = Duration::from_secs(10);

/// How long to wait before each further attempt.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

/// The most that an answer may hold; a true one is a few hundred bytes.
const MOST: u64 = 256 << 10;

/// One service.
pub(super) struct Https {
    agent: ureq::Agent,
    address: String,
}

/// What to ask.
pub(super) enum Call<'a> {
    /// `GET`.
    Get,
    /// `POST` of a JSON text.
    Post(&'a [u8]),
}

/// An answer, whatever its status.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Https {
    pub(super) fn new(address: &str, trust: &Trust) -> Self {
        let anchors: Vec<_> =
            trust.anchors().iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
            .root_certs(RootCerts::new_with_certs(&anchors))
            .build();
        let agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .https_only(true)
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(REQUEST))
            .user_agent(concat!("cluster-ca/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self { agent, address: address.to_owned() }
    }

    /// Sends one request, again if the service is briefly unable; every request here may be sent twice.
    pub(super) fn call(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        call: &Call<'_>,
    ) -> Result<Answer, KmsError> {
        let mut pauses = PAUSES.iter();
        loop {
            let answer = self.once(path, headers, call);
            let again = match &answer {
                Ok(answer) => is_brief(answer.status),
                Err(error) => never_arrived(error),
            };
            match pauses.next() {
                Some(pause) if again => thread::sleep(*pause),
                _ => return answer.map_err(|error| self.failure(error)),
            }
        }
    }

    fn once(&self, path: &str, headers: &[(&str, &str)], call: &Call<'_>) -> Result<Answer, ureq::Error> {
        let url = format!("{}/v1/{path}", self.address);
        let mut response = match call {
            Call::Get => {
                let request = self.agent.get(&url);
                headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).call()?
            }
            Call::Post(json) => {
                let request = self.agent.post(&url).content_type("application/json");
                headers
                    .iter()
                    .fold(request, |request, (name, value)| request.header(*name, *value))
                    .send(*json)?
            }
        };
        let status = response.status().as_u16();
        // One allocation: what it holds may be a data key.
        let mut body = Zeroizing::new(Vec::with_capacity(usize::try_from(MOST).unwrap_or_default()));
        response.body_mut().as_reader().take(MOST).read_to_end(&mut body)?;
        Ok(Answer { status, body })
    }

    fn failure(&self, error: ureq::Error) -> KmsError {
        let address = self.address.clone();
        match error.into_io() {
            error if untrusted(&error).is_some() => {
                let why = untrusted(&error).unwrap_or_default();
                KmsError::CertificateUntrusted { address, why }
            }
            source => KmsError::Unavailable { address, source },
        }
    }
}

/// Statuses after which the same request may well succeed: a standby that is behind (412), too many
/// requests, an election, a gateway in between.
fn is_brief(status: u16) -> bool {
    matches!(status, 412 | 429 | 500 | 502 | 504)
}

/// Whether the request cannot have reached the service. One that is slow is not asked again: that
/// would only add to what it has to do.
fn never_arrived(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::ConnectionFailed => true,
        ureq::Error::Io(error) => {
            matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset)
        }
        _ => false,
    }
}

/// What is wrong with the server's certificate, where that is what failed.
fn untrusted(error: &io::Error) -> Option<String> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = match error.get_ref() {
        Some(inner) => Some(inner),
        None => None,
    };
    while let Some(error) = cause {
        let found = match error.downcast_ref::<ureq::Error>() {
            Some(ureq::Error::Rustls(error)) => Some(error),
            Some(ureq::Error::Io(inner)) => return untrusted(inner),
            _ => error.downcast_ref::<rustls::Error>(),
        };
        if let Some(rustls::Error::InvalidCertificate(why)) = found {
            return Some(why.to_string());
        }
        cause = error.source();
    }
    None
}
