//! One mutually authenticated HTTP/1.1 connection to a gateway.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::CertificateDer;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::context::CallContext;
use super::error::{CallError, CallStage, RefusalReason};
use super::list::GatewayEntry;
use super::messages::ProblemDetails;
use super::sanitized_text::SanitizedText;
use crate::identity::Host;
use crate::mtls::tls::{HTTP_1_1, ServerChainVerifier, client_config, provider, server_name};
use crate::probe::{ConnectionOutcome, Endpoint, RefusalCause};
use crate::x509::Certificate;

/// Largest response body accepted; a gateway sends a few kilobytes.
const MAX_BODY: usize = 1 << 20;

/// Largest response head accepted.
const MAX_HEAD: usize = 16 << 10;

/// Response of any status.
pub(super) struct GatewayResponse {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl GatewayResponse {
    /// The body of a successful response.
    ///
    /// # Errors
    /// [`CallError`] for any status but 200.
    pub(super) fn success(self) -> Result<Bytes, CallError> {
        match self.status {
            StatusCode::OK => Ok(self.body),
            StatusCode::FORBIDDEN => Err(CallError::NotAnOperator),
            StatusCode::NOT_FOUND => Err(CallError::NotAGateway),
            status => {
                let reason =
                    self.problem().map(|ProblemDetails { code, detail, .. }| RefusalReason { code, detail });
                Err(CallError::Refused { status: status.as_u16(), reason })
            }
        }
    }

    /// Problem details of a refusal; `None` if the body has none, as a proxy's error page.
    pub(super) fn problem(&self) -> Option<ProblemDetails> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// Open connection to a gateway whose certificate has been verified.
pub(super) struct GatewaySession {
    requests: http1::SendRequest<Full<Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
    host: String,
    deadline: Deadline,
    /// Leaf certificate of the gateway.
    pub(super) certificate: Certificate,
}

impl GatewaySession {
    /// Connect to `gateway` and verify its certificate.
    pub(super) async fn open(gateway: &GatewayEntry, context: &CallContext) -> Result<Self, CallError> {
        let deadline = Deadline { at: Instant::now() + context.timeout(), timeout: context.timeout() };
        let stream = deadline.enforce(CallStage::Connect, connect(&gateway.address)).await?;
        // An optimization only: a failure is ignored.
        let _ = stream.set_nodelay(true);
        let verified = Arc::new(Mutex::new(None));
        let config =
            client_config(verifier(gateway, context, &verified), context.resolver(), Some(HTTP_1_1))?;
        let connecting = TlsConnector::from(config).connect(server_name(gateway.host())?, stream);
        let connected = deadline.enforce(CallStage::Handshake, async { Ok(connecting.await) }).await?;
        let verified = verified.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (tls, certificate) = match (connected, verified) {
            (_, Some(Err(cause))) => return Err(CallError::Handshake(cause)),
            (Ok(tls), Some(Ok(certificate))) => (tls, certificate),
            (Ok(_), None) => return Err(CallError::CutOff),
            (Err(error), verified) => {
                return Err(of_outcome(&ConnectionOutcome::of_error(&error, verified.is_some())));
            }
        };
        let (requests, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .handshake(TokioIo::new(tls))
            .await
            .map_err(|error| of_hyper(&error))?;
        Ok(Self {
            requests,
            connection: tokio::spawn(connection),
            host: Endpoint { host: gateway.host().clone(), port: gateway.address.port }.to_string(),
            deadline,
            certificate,
        })
    }

    /// Send one request, with content type and body if there is `content`, and read the response.
    ///
    /// # Errors
    /// [`CallError`] when no complete response arrives within the time and size limits.
    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &'static str,
        content: Option<(&'static str, Bytes)>,
    ) -> Result<GatewayResponse, CallError> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = method;
        *request.uri_mut() = http::Uri::from_static(path);
        let invalid = |_| CallError::Unreadable { why: "its name is not a valid Host header".into() };
        let host = header::HeaderValue::from_str(&self.host).map_err(invalid)?;
        request.headers_mut().insert(header::HOST, host);
        let agent = header::HeaderValue::from_static(concat!("cluster-ca/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(header::USER_AGENT, agent);
        if let Some((content_type, body)) = content {
            let content_type = header::HeaderValue::from_static(content_type);
            request.headers_mut().insert(header::CONTENT_TYPE, content_type);
            *request.body_mut() = Full::new(body);
        }
        let deadline = self.deadline;
        deadline.enforce(CallStage::Response, self.exchange(request)).await
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<GatewayResponse, CallError> {
        let sent = match self.requests.ready().await {
            Ok(()) => self.requests.send_request(request).await,
            Err(error) => Err(error),
        };
        let response = match sent {
            Ok(response) => response,
            Err(error) => return Err(self.failure(&error).await),
        };
        let status = response.status();
        match Limited::new(response.into_body(), MAX_BODY).collect().await {
            Ok(body) => Ok(GatewayResponse { status, body: body.to_bytes() }),
            Err(error) if error.is::<LengthLimitError>() => Err(CallError::Oversized),
            Err(_) => Err(CallError::CutOff),
        }
    }

    /// The error behind a failed request. A TLS alert reaches only the connection task, and says more
    /// than the request's own error.
    async fn failure(&mut self, error: &hyper::Error) -> CallError {
        let of_request = of_hyper(error);
        if !matches!(of_request, CallError::CutOff) {
            return of_request;
        }
        match (&mut self.connection).await {
            Ok(Err(error)) => of_hyper(&error),
            _ => of_request,
        }
    }
}

/// End of the time limit of a session.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    at: Instant,
    timeout: Duration,
}

impl Deadline {
    async fn enforce<T>(
        self,
        stage: CallStage,
        step: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let silent = |_| CallError::Silent { stage, after: self.timeout };
        timeout_at(self.at, step).await.map_err(silent)?
    }
}

async fn connect(address: &Endpoint) -> Result<TcpStream, CallError> {
    let addresses = match &address.host {
        Host::Ip(ip) => vec![(*ip, address.port).into()],
        Host::Dns(name) => lookup_host((name.as_str(), address.port))
            .await
            .map_err(|source| CallError::Unresolved { name: name.clone(), source })?
            .collect(),
    };
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(match last.kind() {
        io::ErrorKind::ConnectionRefused => CallError::Unattended,
        _ => CallError::Unreachable { source: last },
    })
}

/// Result of the certificate verification; `None` before the gateway has presented a certificate.
type Verified = Arc<Mutex<Option<Result<Certificate, RefusalCause>>>>;

/// Verifier for the certificate of `gateway`. It keeps its result in `verified`, because rustls reduces
/// a refusal to an alert.
fn verifier(
    gateway: &GatewayEntry,
    context: &CallContext,
    verified: &Verified,
) -> ServerChainVerifier<impl Fn(&[CertificateDer<'static>]) -> bool + Send + Sync + 'static> {
    let (gateway, context, verified) = (gateway.clone(), context.clone(), Arc::clone(verified));
    ServerChainVerifier::new(provider(), move |chain| {
        // The message may quote a certificate that no trusted issuer has signed.
        let sanitized = |cause: RefusalCause| RefusalCause {
            message: SanitizedText::from(cause.message.as_str()).to_string(),
            ..cause
        };
        let result = context.trust().verify(&gateway, chain).map_err(sanitized);
        let accepted = result.is_ok();
        *verified.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        accepted
    })
}

fn of_outcome(outcome: &ConnectionOutcome) -> CallError {
    let cause = outcome.cause().filter(|_| *outcome != ConnectionOutcome::Closed);
    cause.map_or(CallError::CutOff, CallError::Handshake)
}

fn of_hyper(error: &hyper::Error) -> CallError {
    if error.is_parse_too_large() {
        return CallError::Oversized;
    }
    if error.is_parse() {
        return CallError::Unreadable { why: "it is not HTTP".into() };
    }
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.map_or(CallError::CutOff, |error| of_outcome(&ConnectionOutcome::of_error(error, true)))
}
