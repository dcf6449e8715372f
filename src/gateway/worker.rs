//! One worker: a thread with a runtime, a listening socket and upstream connections of its own. Nothing
//! moves from one worker to another, so that none waits for another.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::{Connection, Http, serve};
use super::headers::IdentityHeaders;
use super::peer::Peer;
use super::registry::Opening;
use super::request_id::RequestIds;
use super::state::State;
use super::telemetry::{HandshakeRefused, micros_since};
use super::tls::{self, Protocol};
use super::verify::{PeerError, Presented, observing};
use super::{Phase, Shared};
use crate::x509::{Certificate, Sha256};

/// How many handshakes of one worker may be under way; further callers wait in the kernel's queue.
const HANDSHAKES: usize = 512;

/// How often connections to upstreams are looked over.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

/// How long accepting pauses when the system has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a refused caller may take to read why.
const LINGER: Duration = Duration::from_millis(500);

/// A thread of the gateway.
#[derive(Debug)]
pub struct Worker {
    /// Its number, from 0.
    pub index: usize,
    /// What all workers share.
    pub gateway: Arc<Shared>,
    /// How HTTP is spoken with callers.
    pub http: Http,
    /// The numbers of its requests.
    pub request_ids: RequestIds,
    handshakes: Arc<Semaphore>,
}

impl Worker {
    /// Worker number `index`.
    #[must_use]
    pub fn new(index: usize, gateway: Arc<Shared>) -> Self {
        let limits = &gateway.limits;
        Self {
            index,
            http: Http::new(limits),
            request_ids: RequestIds::new(Arc::clone(&gateway.entropy)),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
            gateway,
        }
    }

    /// Accepts connections until the gateway drains, and serves them until it stops.
    pub async fn run(
        self: Arc<Self>,
        listeners: Vec<std::net::TcpListener>,
        mut phase: watch::Receiver<Phase>,
    ) {
        for listener in listeners {
            match TcpListener::from_std(listener) {
                Ok(listener) => {
                    tokio::spawn(Arc::clone(&self).accept(listener, phase.clone()));
                }
                Err(error) => tracing::error!(%error, "a worker cannot listen"),
            }
        }
        let mut housekeeping = interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = Phase::reached(Phase::Stopped, &mut phase) => return,
                _ = housekeeping.tick() => {
                    for upstream in &self.gateway.state.load().upstreams {
                        upstream.close_idle(self.index);
                    }
                }
            }
        }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, mut phase: watch::Receiver<Phase>) {
        loop {
            tokio::select! {
                biased;
                () = Phase::reached(Phase::Draining, &mut phase) => break,
                (permit, accepted) = self.next(&listener) => match accepted {
                    Ok((stream, remote)) => self.take(permit, stream, remote),
                    // The one at the other end has gone already.
                    Err(error) if is_of_one_connection(&error) => {}
                    Err(error) => {
                        tracing::warn!(%error, "no connection can be accepted");
                        sleep(PAUSE).await;
                    }
                }
            }
        }
        self.take_waiting(&listener).await;
    }

    /// The next connection, once there is room for its handshake: until then callers wait in the
    /// kernel's queue, where they cost nothing.
    async fn next(
        &self,
        listener: &TcpListener,
    ) -> (Option<OwnedSemaphorePermit>, io::Result<(TcpStream, SocketAddr)>) {
        let permit = Arc::clone(&self.handshakes).acquire_owned().await.ok();
        (permit, listener.accept().await)
    }

    /// Takes the connections that the kernel has accepted already: closing the socket would reset them.
    async fn take_waiting(self: &Arc<Self>, listener: &TcpListener) {
        std::future::poll_fn(|cx| {
            while let Poll::Ready(Ok((stream, remote))) = listener.poll_accept(cx) {
                self.take(None, stream, remote);
            }
            Poll::Ready(())
        })
        .await;
    }

    fn take(self: &Arc<Self>, permit: Option<OwnedSemaphorePermit>, stream: TcpStream, remote: SocketAddr) {
        let Some(slot) = Slot::take(&self.gateway) else {
            self.refuse(remote, "connection.limit", "too many connections are open", None, Instant::now());
            return;
        };
        let worker = Arc::clone(self);
        tokio::spawn(async move {
            let admitted = worker.admit(stream, remote).await;
            drop(permit);
            if let Some((connection, registration, stream, protocol)) = admitted {
                // A task of its own: the one that made the handshake is several times as large.
                tokio::spawn(async move {
                    serve(connection, registration, stream, protocol).await;
                    drop(slot);
                });
            }
        });
    }

    /// Makes the handshake, and registers whom it lets in.
    async fn admit(
        self: &Arc<Self>,
        stream: TcpStream,
        remote: SocketAddr,
    ) -> Option<(Connection, super::registry::Registration, TlsStream<TcpStream>, Protocol)> {
        let begun = Instant::now();
        let state = self.gateway.state.load_full();
        // Without it, small records wait for the acknowledgement of those before.
        let _ = stream.set_nodelay(true);
        let accepting = TlsAcceptor::from(Arc::clone(&state.tls)).accept(stream).into_fallible();
        let (result, presented) = observing(timeout(self.gateway.limits.handshake_timeout, accepting)).await;
        let stream = match result {
            Ok(Ok(stream)) => stream,
            Ok(Err((error, stream))) => {
                match &presented {
                    Some(Presented { verdict: Err(refusal), .. }) => {
                        self.refuse(remote, refusal.code(), &with_causes(refusal), presented.as_ref(), begun);
                    }
                    _ => {
                        let (code, detail) = tls::handshake_failure(&error);
                        self.refuse(remote, code, &detail, presented.as_ref(), begun);
                    }
                }
                linger(stream).await;
                return None;
            }
            Err(_) => {
                let detail = "the handshake took too long";
                self.refuse(remote, "tls.timeout", detail, presented.as_ref(), begun);
                return None;
            }
        };
        let (tcp, tls) = stream.get_ref();
        // The caller's last flight is acknowledged now, and not after the delay that the kernel allows
        // itself: with Nagle's algorithm, the first request waits for it.
        let _ = SockRef::from(tcp).set_tcp_quickack(true);
        let peer = match self.peer(&state, presented, tls) {
            Ok(peer) => peer,
            Err(refusal) => {
                self.refuse(remote, refusal.code(), &with_causes(&refusal), None, begun);
                return None;
            }
        };
        let protocol = Protocol::of(tls);
        let identity = match IdentityHeaders::new(&peer.identity, &peer.chain.leaf, remote.ip()) {
            Ok(identity) => identity,
            Err(_) => {
                let detail = "the certificate has something that no header can carry";
                self.refuse(remote, "certificate.unspeakable", detail, None, begun);
                return None;
            }
        };
        let opening = Opening {
            peer,
            remote,
            tls_version: tls::version(tls),
            protocol: protocol.as_str(),
            resumed: tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        };
        let registration = self.gateway.registry.register(self.index, opening);
        self.gateway.settle(registration.session(), state.generation);
        let session = Arc::clone(registration.session());
        Some((Connection { worker: Arc::clone(self), session, identity }, registration, stream, protocol))
    }

    /// Who is at the other end: as the verifier has found during this handshake, or, where the handshake
    /// had no need of it, as it finds now.
    fn peer(
        &self,
        state: &State,
        presented: Option<Presented>,
        tls: &rustls::ServerConnection,
    ) -> Result<Arc<Peer>, PeerError> {
        if let Some(presented) = presented {
            return presented.verdict;
        }
        let (leaf, intermediates) =
            tls.peer_certificates().and_then(<[_]>::split_first).ok_or(PeerError::Missing)?;
        state.verifier.judge(leaf, intermediates, self.gateway.telemetry.clock.now())
    }

    fn refuse(
        &self,
        remote: SocketAddr,
        reason: &'static str,
        detail: &str,
        presented: Option<&Presented>,
        begun: Instant,
    ) {
        let leaf = presented.map(|presented| &presented.leaf);
        let certificate = leaf.and_then(|leaf| Certificate::from_der(leaf).ok());
        let bounded = |text: String| text.chars().take(1_024).collect();
        self.gateway.telemetry.handshake_refused(&HandshakeRefused {
            remote,
            reason,
            detail,
            subject: certificate.as_ref().map(|certificate| bounded(certificate.subject.to_string())),
            issuer: certificate.as_ref().map(|certificate| bounded(certificate.issuer.to_string())),
            serial_number: certificate.as_ref().map(|certificate| certificate.serial_number),
            fingerprint: leaf.map(|leaf| Sha256::of(leaf)),
            duration_us: micros_since(begun),
        });
    }
}

/// One of the connections that may be open; dropped, it is free again.
#[derive(Debug)]
struct Slot(Arc<Shared>);

impl Slot {
    fn take(gateway: &Arc<Shared>) -> Option<Self> {
        let taken = gateway.connections.fetch_add(1, Ordering::Relaxed);
        let slot = Self(Arc::clone(gateway));
        (taken < gateway.limits.connections).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
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

/// Errors of `accept` that belong to the connection that was waiting, not to the socket (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
    )
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
