//! Accept loop: limits first, then the handshake and the connection on a task of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::connection::{HttpSettings, serve};
use super::handshake::accept;
use super::requests::Api;
use crate::server::shared::ServerShared;
use crate::serving::connection_permit::ConnectionPermit;

/// Pause of the accept loop after an error such as too many open files.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Accept and serve connections until the server drains, then wait for requests in flight.
pub(in crate::server) async fn run(shared: Arc<ServerShared>, listener: TcpListener) {
    let (api, http) = (Api::new(&shared), Arc::new(HttpSettings::new(&shared.limits)));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shared.drained() => break,
            // Removes the connections that have ended.
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "internal error: a connection was ended");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, remote)) => {
                    let (shared, api, http) = (Arc::clone(&shared), api.clone(), Arc::clone(&http));
                    connections.spawn(connection(shared, api, http, stream, remote));
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    sleep(RETRY_DELAY).await;
                }
            }
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(shared.limits.drain_timeout, ended).await.is_err() {
        tracing::warn!("requests in flight were ended: they took longer than `limits.drain_timeout`");
    }
}

async fn connection(
    shared: Arc<ServerShared>,
    api: Api,
    http: Arc<HttpSettings>,
    stream: TcpStream,
    remote: SocketAddr,
) {
    let now = shared.clock.monotonic();
    let (max, address) = (shared.limits.connections, remote.ip());
    let permit = ConnectionPermit::take(&shared.connections, max, &shared.addresses, address, now);
    let permit = match permit {
        Ok(permit) => permit,
        Err(limit) => {
            tracing::debug!(%remote, "connection refused: {limit}");
            return shared.telemetry.connection_refused();
        }
    };
    if let Some(accepted) = accept(&shared, stream, remote, permit).await {
        serve(&shared, &http, api, accepted).await;
    }
}
