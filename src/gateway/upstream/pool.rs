//! Connection pool of an upstream: HTTP/1.1 connections per worker, and the exchange of a request and its
//! response.
//!
//! A connection carries one exchange at a time. It returns to the pool after both bodies are complete, unless
//! an authentication scheme has bound it to one client, or the upstream may have left the body of a request unread.
//!
//! An idle connection may be closed at any time, however lately it was used. So a request on one is retried if it
//! is idempotent, has no body, and not a byte of a response came (RFC 9110, section 9.2.2). Such a retry is made once, on
//! a new connection.

use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, StatusCode, Version};
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::gateway::config::UpstreamLimits;
use crate::gateway::message::request_body::RequestBody;
use crate::gateway::message::upgrade::is_websocket;
use crate::gateway::policy::Grant;
use crate::gateway::upstream::body::{ConnectionHome, UpstreamBody};
use crate::gateway::upstream::body_decoder::BodyDecoder;
use crate::gateway::upstream::connect::connect;
use crate::gateway::upstream::connection::{ExchangeFailure, ExchangeStart, PassInterim, UpstreamConnection};
use crate::gateway::upstream::error::ForwardError;
use crate::gateway::upstream::idle::IdleConnections;
use crate::gateway::upstream::request_writer::{RequestFraming, UpstreamRequest};
use crate::gateway::upstream::upgraded::UpgradedStream;
use crate::serving::in_flight::InFlight;

/// Longest time that a connection stays idle; most servers close it after 60 s, and some announce less.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// Upstream with its connections.
#[derive(Debug)]
pub struct UpstreamPool {
    /// Name in the configuration.
    pub name: Arc<str>,
    host: String,
    port: u16,
    limits: UpstreamLimits,
    clock: Arc<dyn Clock>,
    /// Address that accepted the last connection, to try first.
    preferred: Mutex<Option<SocketAddr>>,
    /// Open connections of all workers.
    connections: Arc<AtomicUsize>,
    idle: Arc<IdleConnections>,
}

impl UpstreamPool {
    /// Create an empty pool for the upstream at `host` and `port`, for `workers` workers.
    #[must_use]
    pub fn new(
        name: &str,
        host: &str,
        port: u16,
        limits: UpstreamLimits,
        workers: usize,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            name: name.into(),
            host: host.to_owned(),
            port,
            limits,
            preferred: Mutex::default(),
            connections: Arc::default(),
            idle: Arc::new(IdleConnections::new(workers, Arc::clone(&clock))),
            clock,
        }
    }

    /// Compare name, address and limits. If they are equal, a reload keeps the pool and its connections.
    #[must_use]
    pub fn has_same_settings(&self, other: &Self) -> bool {
        let key = |upstream: &Self| {
            (Arc::clone(&upstream.name), upstream.host.clone(), upstream.port, upstream.limits)
        };
        key(self) == key(other)
    }

    /// Send a request that the policy permits, on one of at most `at_most` connections, and wait for the head
    /// of the response. The connection belongs to the body of the response; dropping it closes the connection. Interim
    /// responses are given to `pass`.
    ///
    /// # Errors
    /// [`ForwardError`] if there is no response.
    pub async fn send(
        &self,
        worker: usize,
        at_most: usize,
        _grant: Grant,
        mut request: UpstreamRequest,
        pass: &PassInterim<'_>,
    ) -> Result<UpstreamResponse, ForwardError> {
        let upload = request.body.upload();
        let UpstreamRequest { is_head, asks_upgrade, is_repeatable, binds_connection, .. } = request;
        let mut retried = false;
        loop {
            let idle = if retried { None } else { self.idle.take(worker) };
            let was_idle = idle.is_some();
            let mut connection = match idle {
                Some(connection) => connection,
                // Boxed as it is rare, so that it takes no room in the future of each request.
                None => Box::pin(self.connect(at_most)).await?,
            };
            let exchange = connection.exchange(request, &upload, &self.limits, &*self.clock, pass);
            let ExchangeStart { head, is_sent } = match exchange.await {
                Ok(start) => start,
                Err(ExchangeFailure::Unanswered { head, .. }) if was_idle && is_repeatable => {
                    retried = true;
                    request = UpstreamRequest {
                        head,
                        framing: RequestFraming::Empty,
                        body: RequestBody::empty(Arc::clone(&upload), Version::HTTP_11),
                        is_head,
                        asks_upgrade,
                        is_repeatable,
                        binds_connection,
                    };
                    continue;
                }
                Err(ExchangeFailure::Unanswered { error, .. }) => {
                    return Err(ForwardError::Unanswered { source: error });
                }
                Err(ExchangeFailure::Final(error)) => return Err(error),
            };
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                let upgrade = match asks_upgrade && is_sent && is_websocket(&head.headers) {
                    true => connection.into_stream(),
                    false => None,
                };
                let Some(stream) = upgrade else {
                    return Err(ForwardError::Ambiguous { reason: "it switches protocols unasked" });
                };
                return Ok(UpstreamResponse::Upgraded { headers: head.headers, stream });
            }
            let idle_timeout = match head.keeps_alive && !binds_connection && !head.binds_connection {
                true => head.idle_lifetime.unwrap_or(IDLE_TIMEOUT).min(IDLE_TIMEOUT),
                false => Duration::ZERO,
            };
            let home = ConnectionHome { idle: Arc::clone(&self.idle), worker, idle_timeout };
            let decoder = BodyDecoder::new(head.framing);
            let body = UpstreamBody::new(connection, decoder, is_sent, upload, home, self.limits.body);
            return Ok(UpstreamResponse::Final { status: head.status, headers: head.headers, body });
        }
    }

    async fn connect(&self, at_most: usize) -> Result<Box<UpstreamConnection>, ForwardError> {
        let permit = InFlight::begin(&self.connections, at_most).or_else(|| {
            // Make room at the cost of an idle connection, possibly of another worker.
            self.idle.close_oldest();
            InFlight::begin(&self.connections, at_most)
        });
        let permit = permit.ok_or(ForwardError::Busy)?;
        let connecting = async {
            let addresses: Vec<_> = lookup_host((self.host.as_str(), self.port)).await?.collect();
            let preferred = *lock(&self.preferred);
            let stream = connect(&addresses, preferred).await?;
            if addresses.len() > 1 {
                *lock(&self.preferred) = stream.peer_addr().ok();
            }
            Ok(stream)
        };
        let stream = timeout(self.limits.connect, connecting)
            .await
            .map_err(|_| ForwardError::ConnectTimeout)?
            .map_err(|source| ForwardError::Connect { source })?;
        UpstreamConnection::over(stream, &self.limits, permit)
    }

    /// Close the connections of `worker` that have been idle for too long.
    pub fn close_idle(&self, worker: usize) {
        self.idle.close_old(worker);
    }
}

/// Lock, even after a panic: an address is never left in an inconsistent state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Result of an exchange whose response is valid.
#[derive(Debug)]
pub enum UpstreamResponse {
    /// Final response, with its body.
    Final {
        /// Status code, not interim.
        status: StatusCode,
        /// Fields for the client.
        headers: HeaderMap,
        /// Body on its connection.
        body: UpstreamBody,
    },
    /// 101 to a request for a WebSocket.
    Upgraded {
        /// Fields of the upstream.
        headers: HeaderMap,
        /// Upgraded connection.
        stream: UpgradedStream,
    },
}
