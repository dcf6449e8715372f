//! One mutually authenticated conversation with a gateway.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::context::{Calling, Parts};
use super::error::{Fault, Stage};
use super::list::Gateway;
use super::messages::Problem;
use super::text::Text;
use super::trust::Trust;
use crate::identity::Host;
use crate::probe::{Cause, End, Endpoint, ProbeError, Witness};
use crate::x509::Certificate;

/// The most that an answer may hold; a true one is a few kilobytes.
const MOST: usize = 1 << 20;

/// The most that the head of an answer may hold.
const MOST_HEAD: usize = 16 << 10;

/// An answer, whatever its status.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Answer {
    /// The body of a success.
    ///
    /// # Errors
    /// What the gateway says instead.
    pub(super) fn success(self) -> Result<Bytes, Fault> {
        match self.status {
            StatusCode::OK => Ok(self.body),
            StatusCode::FORBIDDEN => Err(Fault::NotAnOperator),
            StatusCode::NOT_FOUND => Err(Fault::NotAGateway),
            status => {
                let Problem { code, detail, .. } = self.problem();
                Err(Fault::Refused { status: status.as_u16(), code, detail })
            }
        }
    }

    /// What the gateway has to say about a refusal; nothing where it says nothing that can be read.
    pub(super) fn problem(&self) -> Problem {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// An open connection to one gateway, which has proved to be it.
pub(super) struct Conversation {
    requests: http1::SendRequest<Full<Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
    host: String,
    deadline: Deadline,
    /// The certificate that it presented.
    pub(super) served: Certificate,
}

impl Conversation {
    pub(super) async fn open(gateway: &Gateway, calling: &Calling) -> Result<Self, Fault> {
        let Parts { caller, trust, patience } = &*calling.0;
        let deadline = Deadline { at: Instant::now() + *patience, patience: *patience };
        let stream = deadline.allows(Stage::Connect, connect(&gateway.address)).await?;
        // Best effort: it only saves a moment.
        let _ = stream.set_nodelay(true);
        let verdict = Arc::new(Mutex::new(None));
        let config = config(Arc::clone(caller), judge(gateway, trust, &verdict))?;
        let connecting = TlsConnector::from(Arc::new(config)).connect(server_name(gateway)?, stream);
        let connected = deadline.allows(Stage::Handshake, async { Ok(connecting.await) }).await?;
        let verdict = verdict.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (tls, served) = match (connected, verdict) {
            (_, Some(Err(cause))) => return Err(Fault::Handshake(cause)),
            (Ok(tls), Some(Ok(served))) => (tls, served),
            (Ok(_), None) => return Err(Fault::CutOff),
            (Err(error), verdict) => return Err(refused(&End::of(&error, verdict.is_some()))),
        };
        let (requests, connection) = http1::Builder::new()
            .max_buf_size(MOST_HEAD)
            .handshake(TokioIo::new(tls))
            .await
            .map_err(|error| fault(&error))?;
        Ok(Self {
            requests,
            connection: tokio::spawn(connection),
            host: Endpoint { host: gateway.host().clone(), port: gateway.address.port }.to_string(),
            deadline,
            served,
        })
    }

    /// Sends one request and reads the answer to it.
    ///
    /// # Errors
    /// [`Fault`] when there is none, or none that is bounded.
    pub(super) async fn ask(
        &mut self,
        method: Method,
        path: &'static str,
        content: Option<(&'static str, Bytes)>,
    ) -> Result<Answer, Fault> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = method;
        *request.uri_mut() = http::Uri::from_static(path);
        let unspeakable = |_| Fault::Unreadable { why: "its name cannot be called".to_owned() };
        let host = header::HeaderValue::from_str(&self.host).map_err(unspeakable)?;
        request.headers_mut().insert(header::HOST, host);
        let agent = header::HeaderValue::from_static(concat!("cluster-ca/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(header::USER_AGENT, agent);
        if let Some((content_type, body)) = content {
            let content_type = header::HeaderValue::from_static(content_type);
            request.headers_mut().insert(header::CONTENT_TYPE, content_type);
            *request.body_mut() = Full::new(body);
        }
        let deadline = self.deadline;
        deadline.allows(Stage::Answer, self.exchange(request)).await
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Fault> {
        let sent = match self.requests.ready().await {
            Ok(()) => self.requests.send_request(request).await,
            Err(error) => Err(error),
        };
        let response = match sent {
            Ok(response) => response,
            Err(error) => return Err(self.failure(&error).await),
        };
        let status = response.status();
        match Limited::new(response.into_body(), MOST).collect().await {
            Ok(body) => Ok(Answer { status, body: body.to_bytes() }),
            Err(error) if error.is::<LengthLimitError>() => Err(Fault::Oversized),
            Err(_) => Err(Fault::CutOff),
        }
    }

    /// What ended the conversation: the gateway's own word, which only the connection may have heard, says
    /// more than the request that it broke.
    async fn failure(&mut self, error: &hyper::Error) -> Fault {
        let of_request = fault(error);
        if !matches!(of_request, Fault::CutOff) {
            return of_request;
        }
        match (&mut self.connection).await {
            Ok(Err(error)) => fault(&error),
            _ => of_request,
        }
    }
}

/// When a conversation has to be over.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    at: Instant,
    patience: Duration,
}

impl Deadline {
    async fn allows<T>(self, stage: Stage, step: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let silent = |_| Fault::Silent { stage, after: self.patience };
        timeout_at(self.at, step).await.map_err(silent)?
    }
}

async fn connect(address: &Endpoint) -> Result<TcpStream, Fault> {
    let addresses = match &address.host {
        Host::Ip(ip) => vec![(*ip, address.port).into()],
        Host::Dns(name) => lookup_host((name.as_str(), address.port))
            .await
            .map_err(|source| Fault::Unresolved { name: name.clone(), source })?
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
        io::ErrorKind::ConnectionRefused => Fault::Unattended,
        _ => Fault::Unreachable { source: last },
    })
}

/// What the judgement of the presented certificate came to, once there was one.
type Verdict = Arc<Mutex<Option<Result<Certificate, Cause>>>>;

/// Judges what is presented as that of `gateway`, and says so in `verdict`.
fn judge(gateway: &Gateway, trust: &Trust, verdict: &Verdict) -> Arc<dyn ServerCertVerifier> {
    let (gateway, trust, verdict) = (gateway.clone(), trust.clone(), Arc::clone(verdict));
    Arc::new(Witness::new(move |chain| {
        // It may quote what nobody has signed.
        let bounded =
            |cause: Cause| Cause { message: Text::from(cause.message.as_str()).to_string(), ..cause };
        let judged = trust.refusal(&gateway, chain).map_err(bounded);
        let answer = match &judged {
            Ok(_) => Ok(()),
            Err(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
        };
        *verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(judged);
        answer
    }))
}

fn config(
    caller: Arc<CertifiedKey>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ClientConfig, ProbeError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ProbeError::Tls { why: error.to_string() })?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(caller)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn server_name(gateway: &Gateway) -> Result<ServerName<'static>, ProbeError> {
    match gateway.host() {
        Host::Ip(ip) => Ok((*ip).into()),
        Host::Dns(name) => {
            ServerName::try_from(name.clone()).map_err(|error| ProbeError::Tls { why: error.to_string() })
        }
    }
}

/// A handshake, or a connection, that ended so.
fn refused(end: &End) -> Fault {
    end.cause().filter(|_| *end != End::Closed).map_or(Fault::CutOff, Fault::Handshake)
}

fn fault(error: &hyper::Error) -> Fault {
    if error.is_parse_too_large() {
        return Fault::Oversized;
    }
    if error.is_parse() {
        return Fault::Unreadable { why: "it is no HTTP".to_owned() };
    }
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.map_or(Fault::CutOff, |cause| refused(&End::of(cause, true)))
}
