//! TLS handshake: a verified client, one without a certificate, or a logged refusal.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use rustls::ServerConnection;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::error::{Coded, with_causes};
use crate::mtls::tls::{
    HandshakeFailure, HandshakeObservation, PresentedCertificate, Protocol, handshake_failure, observe,
    version,
};
use crate::mtls::{Peer, PeerError};
use crate::server::api::Client;
use crate::server::shared::ServerShared;
use crate::server::state::ServerState;
use crate::serving::connection_permit::ConnectionPermit;
use crate::serving::linger::linger;
use crate::serving::negotiation::{HandshakeError, NegotiationError, close, negotiate};

/// Connection after a successful handshake.
pub(super) struct AcceptedClient {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) client: Arc<Client>,
    pub(super) protocol: Protocol,
    /// Count the connection against the limits until it ends.
    pub(super) permit: ConnectionPermit,
}

/// Refused handshake, with the connection for the alert.
struct RefusedClient {
    code: &'static str,
    detail: String,
    stream: Option<TcpStream>,
    /// True if the handshake cost signatures.
    begun: bool,
}

/// Run the handshake; logs a refusal.
pub(super) async fn accept(
    shared: &ServerShared,
    stream: TcpStream,
    remote: SocketAddr,
    mut permit: ConnectionPermit,
) -> Option<AcceptedClient> {
    let state = shared.state.load_full();
    match handshake(shared, &state, stream).await {
        Ok((stream, peer)) => {
            permit.address.handshake_done();
            shared.telemetry.handshake_accepted();
            let connection = stream.get_ref().1;
            let protocol = Protocol::of(connection);
            let client =
                Client { remote, peer, tls_version: version(connection), protocol: protocol.as_str() };
            Some(AcceptedClient { client: Arc::new(client), protocol, stream, permit })
        }
        Err(refused) => {
            let RefusedClient { code, detail, stream, begun } = *refused;
            shared.telemetry.handshake_refused(shared.clock.now(), remote, code, &detail);
            if begun {
                permit.address.handshake_failed(shared.clock.monotonic());
            }
            if let Some(stream) = stream {
                linger(stream).await;
            }
            None
        }
    }
}

async fn handshake(
    shared: &ServerShared,
    state: &ServerState,
    stream: TcpStream,
) -> Result<(TlsStream<TcpStream>, Option<Arc<Peer>>), Box<RefusedClient>> {
    let negotiating = pin!(negotiate(&state.names, &state.tls, stream));
    let (result, observed) = observe(timeout(shared.limits.handshake_timeout, negotiating)).await;
    let HandshakeObservation { presented, hello_parsed: begun } = observed;
    let refused = |code, detail, stream| Err(Box::new(RefusedClient { code, detail, stream, begun }));
    let failed = |failure: HandshakeFailure, stream| refused(failure.code(), failure.to_string(), stream);
    let stream = match result {
        Ok(Ok(stream)) => stream,
        Ok(Err(NegotiationError { error, stream, .. })) => {
            let stream = Some(stream);
            return match error {
                HandshakeError::PlainHttp => failed(HandshakeFailure::PlainHttp, stream),
                HandshakeError::UnknownName => failed(HandshakeFailure::UnknownServerName, stream),
                HandshakeError::Io(error) => match presented {
                    Some(PresentedCertificate { result: Err(error), .. }) => {
                        refused(error.code(), with_causes(&error), stream)
                    }
                    _ => {
                        let (code, detail) = handshake_failure(&error);
                        refused(code.name(), detail, stream)
                    }
                },
            };
        }
        Err(_) => return failed(HandshakeFailure::Timeout, None),
    };
    match peer(shared, state, presented, stream.get_ref().1) {
        Ok(peer) => Ok((stream, peer)),
        Err(error) => refused(error.code(), with_causes(&error), Some(close(stream).await)),
    }
}

/// Verified client: from this handshake, or verified now if the handshake resumed a session. `None` if it presented no
/// certificate.
fn peer(
    shared: &ServerShared,
    state: &ServerState,
    presented: Option<PresentedCertificate>,
    connection: &ServerConnection,
) -> Result<Option<Arc<Peer>>, PeerError> {
    if let Some(PresentedCertificate { result: Ok(peer), .. }) = presented {
        return Ok(Some(peer));
    }
    let Some((leaf, extra_certs)) = connection.peer_certificates().and_then(<[_]>::split_first) else {
        return Ok(None);
    };
    let (form, now) = (state.listener.identity_form, shared.clock.now());
    state.verifier.verify_client(leaf, extra_certs, form, now).map(Some)
}
