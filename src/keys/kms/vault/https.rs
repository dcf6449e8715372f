//! HTTPS transport: deadlines, size limits, few retries; no redirects, no proxies, no plain http.

use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, TcpConnector};
use zeroize::Zeroizing;

use super::tls_connector::TlsConnector;
use crate::keys::kms::error::KmsError;
use crate::keys::kms::tls;
use crate::keys::kms::trust_anchors::KmsTrustAnchors;

/// Time limit of a connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time limit of a request, connection included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause before the retries.
const RETRY_PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

/// Longest response body, in bytes. Real ones are below 16 KiB.
const MAX_RESPONSE: usize = 256 << 10;

/// HTTPS client of one service.
pub(super) struct Https {
    agent: ureq::Agent,
    address: String,
}

/// Request to a service.
pub(super) enum HttpsRequest<'a> {
    /// `GET`.
    Get,
    /// `POST` of a JSON text.
    Post(&'a [u8]),
}

/// Response of any status.
pub(super) struct HttpsResponse {
    pub(super) status: u16,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Https {
    pub(super) fn new(address: &str, anchors: &KmsTrustAnchors) -> Result<Self, KmsError> {
        let tls = TlsConnector::new(tls::client_config(anchors, None)?);
        let config = ureq::Agent::config_builder()
            .https_only(true)
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(REQUEST_TIMEOUT))
            .user_agent(concat!("cluster-ca/", env!("CARGO_PKG_VERSION")))
            .build();
        let connector = ().chain(TcpConnector::default()).chain(tls);
        let agent = ureq::Agent::with_parts(config, connector, DefaultResolver::default());
        Ok(Self { agent, address: address.to_owned() })
    }

    /// Send a request, and retries it if the service is briefly unavailable. Every request of this client may
    /// be repeated safely.
    pub(super) fn call(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        request: &HttpsRequest<'_>,
    ) -> Result<HttpsResponse, KmsError> {
        let mut pauses = RETRY_PAUSES.iter();
        loop {
            let response = self.once(path, headers, request);
            let retry = match &response {
                Ok(response) => is_temporary(response.status),
                Err(error) => never_arrived(error),
            };
            match pauses.next() {
                Some(pause) if retry => thread::sleep(*pause),
                _ => return self.complete(response.map_err(|error| self.failure(error))?),
            }
        }
    }

    fn once(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        request: &HttpsRequest<'_>,
    ) -> Result<HttpsResponse, ureq::Error> {
        let url = format!("{}/v1/{path}", self.address);
        let mut response = match request {
            HttpsRequest::Get => {
                let request = self.agent.get(&url);
                headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).call()?
            }
            HttpsRequest::Post(json) => {
                let request = self.agent.post(&url).content_type("application/json");
                headers
                    .iter()
                    .fold(request, |request, (name, value)| request.header(*name, *value))
                    .send(*json)?
            }
        };
        let status = response.status().as_u16();
        // One allocation, since the body may be a data key: growing would leave a copy behind. One byte more
        // than the limit tells a longer body from one that fits.
        let mut body = Zeroizing::new(Vec::with_capacity(MAX_RESPONSE + 1));
        let limit = u64::try_from(body.capacity()).unwrap_or(u64::MAX);
        response.body_mut().as_reader().take(limit).read_to_end(&mut body)?;
        Ok(HttpsResponse { status, body })
    }

    /// Refuse a response that was cut at the limit.
    fn complete(&self, response: HttpsResponse) -> Result<HttpsResponse, KmsError> {
        if response.body.len() <= MAX_RESPONSE {
            return Ok(response);
        }
        Err(KmsError::Protocol { address: self.address.clone(), why: "it is longer than 256 KiB" })
    }

    fn failure(&self, error: ureq::Error) -> KmsError {
        tls::connection_error(self.address.clone(), error.into_io(), false)
    }
}

/// True if a retry may succeed: a lagging standby (412), a rate limit, a leader election, a balancer in between. A
/// sealed Vault is 503, too; that it is retried costs a second.
fn is_temporary(status: u16) -> bool {
    matches!(status, 412 | 429 | 500 | 502..=504)
}

/// True if the request cannot have reached the service. After a timeout there is no retry: it would add to
/// the load of a slow service.
fn never_arrived(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::ConnectionFailed => true,
        ureq::Error::Io(error) => {
            matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset)
        }
        _ => false,
    }
}
