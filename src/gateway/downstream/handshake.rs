//! TLS handshake: turns an accepted socket into a registered session, or into a logged refusal.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use rustls::{HandshakeKind, ServerConnection};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::error::{Coded, with_causes};
use crate::gateway::downstream::refusal::Refusal;
use crate::gateway::message::hosts::AllowedHosts;
use crate::gateway::request::context::WorkerContext;
use crate::gateway::sessions::registry::Registration;
use crate::gateway::sessions::session::NewSession;
use crate::gateway::shared::Shared;
use crate::gateway::state::State;
use crate::mtls::tls::{
    self, HandshakeFailure, HandshakeObservation, PresentedCertificate, Protocol, observe,
};
use crate::mtls::{ClientCertificate, Listener, Peer, PeerError};
use crate::serving::connection_permit::{ConnectionLimit, ConnectionPermit};
use crate::serving::linger::{AlertReceipt, linger};
use crate::serving::negotiation::{HandshakeError, NegotiationError, close, negotiate};

/// Connection after a successful handshake.
pub struct Accepted {
    /// TLS stream, in a box: it is moved several times, and each move into a future would be room of its own.
    pub stream: Box<TlsStream<TcpStream>>,
    /// Session in the registry.
    pub registration: Registration,
    /// Hosts that its requests may name.
    pub hosts: AllowedHosts,
    /// True if the listener requires a client certificate. A token may stand in for it.
    pub requires_certificate: bool,
    /// Permit that counts the connection against the limits.
    pub permit: ConnectionPermit,
}

/// Run the handshake and register the session; log a refusal. `listener` is an index into the listeners.
pub async fn accept(
    worker: &WorkerContext,
    listener: usize,
    stream: TcpStream,
    remote: SocketAddr,
    mut permit: ConnectionPermit,
) -> Option<Accepted> {
    let started = worker.gateway.clock.monotonic();
    match handshake(worker, listener, stream, remote).await {
        Ok((stream, registration, hosts)) => {
            permit.address.handshake_done();
            // Listeners stay those of the first state.
            let requires_certificate = worker
                .gateway
                .state
                .load()
                .settings
                .listeners
                .get(listener)
                .is_none_or(|listener| listener.client_certificate == ClientCertificate::Required);
            Some(Accepted { stream: Box::new(stream), registration, hosts, requires_certificate, permit })
        }
        Err(mut refusal) => {
            let duration = worker.gateway.clock.monotonic().saturating_duration_since(started);
            if refusal.hello_parsed {
                permit.address.handshake_failed(worker.gateway.clock.monotonic());
            }
            // The reason of a client without a certificate depends on whether it reads the alert.
            let stream = refusal.stream.take();
            if refusal.may_be_departure()
                && let Some(stream) = stream
            {
                if linger(stream).await == AlertReceipt::Reset {
                    refusal.departed();
                }
                refusal.log(&worker.gateway, remote, duration);
            } else {
                refusal.log(&worker.gateway, remote, duration);
                if let Some(stream) = stream {
                    linger(stream).await;
                }
            }
            None
        }
    }
}

async fn handshake(
    worker: &WorkerContext,
    listener: usize,
    stream: TcpStream,
    remote: SocketAddr,
) -> Result<(TlsStream<TcpStream>, Registration, AllowedHosts), Box<Refusal>> {
    let gateway = &worker.gateway;
    let state = gateway.state.load_full();
    let Some(entry) = state.entries.get(listener) else {
        return Err(Refusal::of(&HandshakeFailure::ListenerRemoved));
    };
    // Pinned here, since the future is large.
    let negotiating = pin!(negotiate(&entry.names, &entry.tls, stream));
    let (result, observed) = observe(timeout(gateway.limits.handshake_timeout, negotiating)).await;
    let HandshakeObservation { presented, hello_parsed: begun } = observed;
    let stream = match result {
        Ok(Ok(stream)) => stream,
        Ok(Err(NegotiationError { error: HandshakeError::Io(error), .. }))
            if !begun
                && matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) =>
        {
            return Err(Refusal::of(&HandshakeFailure::NotBegun));
        }
        Ok(Err(NegotiationError { error, stream, server_name })) => {
            let refusal = match error {
                HandshakeError::Io(error) => Refusal::failed(&error, presented).with_begun(begun),
                HandshakeError::PlainHttp => Refusal::of(&HandshakeFailure::PlainHttp),
                HandshakeError::UnknownName => {
                    let name = server_name.as_deref().unwrap_or_default();
                    let detail = format!("the gateway's certificate does not have the server name `{name}`");
                    Refusal::new(HandshakeFailure::UnknownServerName.coded(), detail).with_begun(true)
                }
            };
            return Err(refusal.with_server_name(server_name).with_alert_on(stream));
        }
        Err(_) => {
            let refusal = Refusal::of(&HandshakeFailure::Timeout);
            return Err(refusal.with_certificate_of(presented).with_begun(begun));
        }
    };
    let (tcp, connection) = stream.get_ref();
    // Acknowledge the client's last flight at once. With Nagle's algorithm, its first request would wait for
    // the kernel's delayed acknowledgement.
    let _ = SockRef::from(tcp).set_tcp_quickack(true);
    let peer = match peer(&state, entry.listener, presented, connection, gateway) {
        Ok(peer) => peer,
        Err(refusal) => return Err(refusal.with_begun(begun).with_alert_on(close(stream).await)),
    };
    let reached = tcp.local_addr().ok().map(|address| address.ip());
    let server_name: Option<Arc<str>> = connection.server_name().map(Into::into);
    let hosts = AllowedHosts::new(server_name.clone(), Arc::clone(&state.credentials.own.leaf), reached);
    let opening = NewSession {
        peer,
        remote,
        tls_version: tls::version(connection),
        protocol: Protocol::of(connection),
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        server_name,
    };
    let Some(registration) = gateway.registry.register(worker.index, opening) else {
        let mut refusal = Refusal::of(&ConnectionLimit::Identity).with_begun(begun);
        refusal.leaf =
            connection.peer_certificates().and_then(<[_]>::first).map(|leaf| leaf.clone().into_owned());
        return Err(refusal.with_alert_on(close(stream).await));
    };
    gateway.telemetry.handshake_accepted(registration.session());
    gateway.settle(registration.session(), state.generation);
    Ok((stream, registration, hosts))
}

/// Verified client: from this handshake, or verified now if the handshake resumed a session. `None` if
/// the listener accepts clients without a certificate.
fn peer(
    state: &State,
    listener: Listener,
    presented: Option<PresentedCertificate>,
    tls: &ServerConnection,
    gateway: &Shared,
) -> Result<Option<Arc<Peer>>, Box<Refusal>> {
    if let Some(PresentedCertificate { result: Ok(peer), .. }) = presented {
        return Ok(Some(peer));
    }
    let Some((leaf, intermediates)) = tls.peer_certificates().and_then(<[_]>::split_first) else {
        return match listener.client_certificate {
            ClientCertificate::Optional => Ok(None),
            ClientCertificate::Required => Err(Refusal::of(&PeerError::Missing)),
        };
    };
    let now = gateway.clock.now();
    let verdict = state.verifier.verify_client(leaf, intermediates, listener.identity_form, now);
    verdict.map(Some).map_err(|error| {
        let mut refusal = Refusal::new(error.coded(), with_causes(&error));
        refusal.leaf = Some(leaf.clone().into_owned());
        refusal
    })
}
