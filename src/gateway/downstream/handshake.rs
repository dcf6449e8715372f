//! From an accepted socket to an authenticated, registered connection, or to one line that says why not.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::{HandshakeKind, ServerConnection};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::error::{Coded, with_causes};
use crate::gateway::Shared;
use crate::gateway::config::{ClientCertificate, Listener};
use crate::gateway::downstream::connection::Connection;
use crate::gateway::downstream::worker::{Slot, Worker};
use crate::gateway::mtls::peer::Peer;
use crate::gateway::mtls::server_config::{self, Protocol};
use crate::gateway::mtls::server_name::Hosts;
use crate::gateway::mtls::verifier::{Observed, PeerError, Presented, observing};
use crate::gateway::sessions::registry::{Opening, Registration};
use crate::gateway::state::loader::{Entry, State};
use crate::gateway::telemetry::sinks::{HandshakeRefused, micros_since};
use crate::x509::{Certificate, Sha256};

/// How long a refused caller may take to read why.
const LINGER: Duration = Duration::from_millis(500);

/// A connection that may be served.
pub struct Admitted {
    /// What its requests share.
    pub connection: Connection,
    /// The connection itself.
    pub stream: TlsStream<TcpStream>,
}

/// Makes the handshake and registers whom it lets in; whom it does not, the log names.
///
/// `listener` is the number of the listener at which the caller came.
pub async fn admit(
    worker: &Arc<Worker>,
    listener: usize,
    stream: TcpStream,
    remote: SocketAddr,
    mut slot: Slot,
) -> Option<Admitted> {
    let begun = worker.gateway.clock.monotonic();
    match attempt(worker, listener, stream, remote).await {
        Ok(Opened { stream, hosts, registration }) => {
            slot.place.handshake_done();
            let session = Arc::clone(registration.session());
            let connection = Connection { worker: Arc::clone(worker), session, hosts, registration, slot };
            Some(Admitted { connection, stream })
        }
        Err(refusal) => {
            refusal.log(&worker.gateway, remote, begun);
            if refusal.begun {
                slot.place.handshake_failed(worker.gateway.clock.monotonic());
            }
            if let Some(stream) = refusal.stream {
                linger(stream).await;
            }
            None
        }
    }
}

/// What a handshake has come to that let its caller in.
struct Opened {
    stream: TlsStream<TcpStream>,
    hosts: Hosts,
    registration: Registration,
}

async fn attempt(
    worker: &Arc<Worker>,
    listener: usize,
    stream: TcpStream,
    remote: SocketAddr,
) -> Result<Opened, Box<Refusal>> {
    let gateway = &worker.gateway;
    let state = gateway.state.load_full();
    let Some(Entry { listener, tls }) = state.entries.get(listener) else {
        return Err(Refusal::new(
            "connection.listener_removed",
            "the configuration has this listener no more",
        ));
    };
    // It is large, and stays where it is.
    let accepting = pin!(TlsAcceptor::from(Arc::clone(tls)).accept(stream).into_fallible());
    let (result, observed) = observing(timeout(gateway.limits.handshake_timeout, accepting)).await;
    let Observed { presented, begun } = observed;
    let stream = match result {
        Ok(Ok(stream)) => stream,
        Ok(Err((error, _)))
            if !begun
                && matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) =>
        {
            return Err(Refusal::new(
                NOT_BEGUN,
                "the caller closed the connection before its handshake began",
            ));
        }
        Ok(Err((error, stream))) => {
            return Err(Refusal::failed(&error, presented).having(begun).answering(stream));
        }
        Err(_) => {
            let refusal = Refusal::new("tls.timeout", "the handshake took too long");
            return Err(refusal.of(presented).having(begun));
        }
    };
    let (tcp, tls) = stream.get_ref();
    // The caller's last flight is acknowledged now, and not after the delay that the kernel allows
    // itself: with Nagle's algorithm, the first request waits for it.
    let _ = SockRef::from(tcp).set_tcp_quickack(true);
    let peer = peer(&state, *listener, presented, tls, gateway).map_err(|refusal| refusal.having(begun))?;
    let reached = tcp.local_addr().ok().map(|address| address.ip());
    let hosts = Hosts::of(tls, &state.own.leaf, reached);
    let opening = Opening {
        peer,
        remote,
        tls_version: server_config::version(tls),
        protocol: Protocol::of(tls),
        resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
    };
    let registration = gateway.registry.register(worker.index, opening).ok_or_else(|| {
        Refusal::new("connection.identity_limit", "the caller has as many connections open as it may have")
            .having(begun)
    })?;
    gateway.telemetry.handshake_accepted(registration.session());
    gateway.settle(registration.session(), state.generation);
    Ok(Opened { stream, hosts, registration })
}

/// Who is at the other end: as the verifier has found during this handshake, or, where the handshake had
/// no need of it (a session resumed), as it finds now. Nobody, where the listener lets callers without a
/// certificate in.
fn peer(
    state: &State,
    listener: Listener,
    presented: Option<Presented>,
    tls: &ServerConnection,
    gateway: &Shared,
) -> Result<Option<Arc<Peer>>, Box<Refusal>> {
    if let Some(Presented { verdict: Ok(peer), .. }) = presented {
        return Ok(Some(peer));
    }
    let Some((leaf, intermediates)) = tls.peer_certificates().and_then(<[_]>::split_first) else {
        return match listener.client_certificate {
            ClientCertificate::Optional => Ok(None),
            ClientCertificate::Required => {
                Err(Refusal::new(PeerError::Missing.code(), PeerError::Missing.to_string()))
            }
        };
    };
    let now = gateway.clock.now();
    let verdict = state.verifier.judge(leaf, intermediates, listener.identity_form, now);
    verdict.map(Some).map_err(|error| {
        let mut refusal = Refusal::new(error.code(), with_causes(&error));
        refusal.leaf = Some(leaf.clone().into_owned());
        refusal
    })
}

/// The code of a look at the open port, as load balancers and kubelets take every few seconds. It is counted;
/// a line for each, and a place among the last refused ones, would hide those who wanted to come in.
const NOT_BEGUN: &str = "tls.not_begun";

/// Why a connection is not served.
#[derive(Debug)]
pub struct Refusal {
    code: &'static str,
    detail: String,
    leaf: Option<CertificateDer<'static>>,
    /// Whether the handshake had begun to cost something.
    begun: bool,
    /// Where the alert has to arrive yet.
    stream: Option<TcpStream>,
}

impl Refusal {
    /// A refusal for this reason.
    pub fn new(code: &'static str, detail: impl Into<String>) -> Box<Self> {
        Box::new(Self { code, detail: detail.into(), leaf: None, begun: false, stream: None })
    }

    /// A handshake that ended with `error`, for which the verifier's verdict is the better reason.
    fn failed(error: &io::Error, presented: Option<Presented>) -> Box<Self> {
        match &presented {
            Some(Presented { verdict: Err(refusal), .. }) => Self::new(refusal.code(), with_causes(refusal)),
            _ => {
                let (code, detail) = server_config::handshake_failure(error);
                Self::new(code, detail)
            }
        }
        .of(presented)
    }

    fn of(mut self: Box<Self>, presented: Option<Presented>) -> Box<Self> {
        self.leaf = presented.map(|presented| presented.leaf);
        self
    }

    const fn having(mut self: Box<Self>, begun: bool) -> Box<Self> {
        self.begun = begun;
        self
    }

    fn answering(mut self: Box<Self>, stream: TcpStream) -> Box<Self> {
        self.stream = Some(stream);
        self
    }

    /// Tells of it, with what is known of the certificate.
    pub fn log(&self, gateway: &Shared, remote: SocketAddr, begun: Instant) {
        if self.code == NOT_BEGUN {
            gateway.telemetry.metrics.handshake_refused(self.code);
            return;
        }
        gateway.telemetry.handshake_refused(remote, self.code, || {
            let certificate = self.leaf.as_ref().and_then(|leaf| Certificate::from_der(leaf).ok());
            let certificate = certificate.as_ref();
            let bounded = |text: String| text.chars().take(1_024).collect();
            HandshakeRefused {
                remote,
                reason: self.code,
                detail: self.detail.clone(),
                subject: certificate.map(|certificate| bounded(certificate.subject.to_string())),
                issuer: certificate.map(|certificate| bounded(certificate.issuer.to_string())),
                serial_number: certificate.map(|certificate| certificate.serial_number),
                fingerprint: self.leaf.as_ref().map(|leaf| Sha256::of(leaf)),
                duration_us: micros_since(begun),
                certificate: self.leaf.clone(),
            }
        });
    }
}

/// Ends a connection such that the alert arrives: closing it with bytes unread would send a reset, and
/// the reset would overtake what was written.
async fn linger(mut stream: TcpStream) {
    let _ = timeout(LINGER, async {
        stream.shutdown().await?;
        let mut waste = [0; 1_024];
        for _ in 0..64 {
            if stream.read(&mut waste).await? == 0 {
                break;
            }
        }
        Ok::<_, io::Error>(())
    })
    .await;
}
