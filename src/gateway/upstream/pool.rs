//! Connection pool of an upstream: HTTP/1.1 connections per worker, and the exchange of a request and its
//! response.
//!
//! A connection carries one exchange at a time. It returns to the pool after both bodies are complete, unless
//! an authentication scheme has bound it to one client, or the upstream may have left the body of a request unread.
//!
//! An idle connection may be closed at any time, however lately it was used. So a request on one is retried if it
//! cannot take effect twice: it was never sent, or it is idempotent, has no body, and not a byte of a response
//! came (RFC 9110, section 9.2.2). Such a retry is made once, on a new connection.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, UPGRADE, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use tokio::net::lookup_host;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::clock::{Clock, turn_time};
use crate::gateway::message::forwarding_rules::ForwardingRules;
use crate::gateway::message::request_body::{RequestBody, Upload};
use crate::gateway::message::upgrade::is_websocket;
use crate::gateway::policy::{Grant, Methods};
use crate::gateway::upstream::connect::connect;
use crate::gateway::upstream::connection::{ExchangeFailure, PassInterim, UpstreamConnection};
use crate::gateway::upstream::error::ForwardError;
use crate::gateway::upstream::limits::UpstreamLimits;
use crate::gateway::upstream::response_check::{check_framing, idle_lifetime, is_connection_bound};
use crate::serving::in_flight::InFlight;

/// Most idle connections per worker and upstream.
const MAX_IDLE: usize = 256;

/// Longest time that a connection stays idle; most servers close it after 60 s, and some announce less.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// Longest time from the end of a response until its connection is ready for the next request.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

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
    /// Idle connections, one queue per worker, longest idle first.
    idle: Box<[Mutex<VecDeque<IdleConnection>>]>,
}

#[derive(Debug)]
struct IdleConnection {
    connection: UpstreamConnection,
    since: Instant,
    /// Time at which the upstream may close it.
    until: Instant,
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
            clock,
            preferred: Mutex::default(),
            connections: Arc::default(),
            idle: (0..workers).map(|_| Mutex::default()).collect(),
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
    /// of the response. The lease belongs to the body of the response; dropping it closes the connection. Interim
    /// responses are given to `pass`. A request without a body is made once more by `again` if it is retried, so that
    /// no copy is kept of those that are not.
    ///
    /// # Errors
    /// [`ForwardError`] if there is no response.
    pub async fn send(
        self: &Arc<Self>,
        worker: usize,
        at_most: usize,
        _grant: Grant,
        mut request: Request<RequestBody>,
        again: &(dyn Fn() -> Request<RequestBody> + Send + Sync),
        pass: &PassInterim<'_>,
    ) -> Result<UpstreamResponse, ForwardError> {
        // A client's own `Upgrade` never gets here: the gateway removes it and sets one for a WebSocket.
        let asks_upgrade = request.headers().contains_key(UPGRADE);
        let content_ignored = !Methods::define_content(request.method()) && !request.body().is_end_stream();
        let bound = content_ignored || is_connection_bound(request.headers(), AUTHORIZATION);
        let is_repeatable = request.method().is_idempotent() && request.body().is_end_stream();
        let upload = request.body().upload();
        let mut retried = false;
        loop {
            let idle = if retried { None } else { self.take_idle(worker) };
            let was_idle = idle.is_some();
            let mut connection = match idle {
                Some(connection) => connection,
                // Boxed as it is rare, so that it takes no room in the future of each request.
                None => Box::pin(self.connect(at_most)).await?,
            };
            match connection.exchange(request, &upload, &self.limits, &*self.clock, pass).await {
                Ok(mut response) => {
                    let upgrade = match response.status() == StatusCode::SWITCHING_PROTOCOLS {
                        true if !asks_upgrade || !is_websocket(response.headers()) => {
                            return Err(ForwardError::Ambiguous { reason: "it switches protocols unasked" });
                        }
                        true => Some(hyper::upgrade::on(&mut response)),
                        false => None,
                    };
                    check_framing(&response)?;
                    *response.version_mut() = Version::HTTP_11;
                    response.extensions_mut().clear();
                    let bound = bound || is_connection_bound(response.headers(), WWW_AUTHENTICATE);
                    let lifetime =
                        idle_lifetime(response.headers()).unwrap_or(IDLE_TIMEOUT).min(IDLE_TIMEOUT);
                    let lease = ConnectionLease {
                        upstream: Arc::clone(self),
                        worker,
                        connection,
                        upload,
                        idle_timeout: if bound { Duration::ZERO } else { lifetime },
                    };
                    return Ok(UpstreamResponse { response, lease, upgrade });
                }
                Err(ExchangeFailure::Unsent(unsent)) if was_idle => request = *unsent,
                Err(ExchangeFailure::Unsent(_)) => return Err(ForwardError::Closed),
                Err(ExchangeFailure::Unanswered(_)) if was_idle && is_repeatable => {
                    request = again();
                    retried = true;
                }
                Err(ExchangeFailure::Unanswered(error)) => return Err(error),
                Err(ExchangeFailure::Final(error)) => return Err(error),
            }
        }
    }

    async fn connect(&self, at_most: usize) -> Result<UpstreamConnection, ForwardError> {
        let permit = InFlight::begin(&self.connections, at_most).or_else(|| {
            // Make room at the cost of an idle connection, possibly of another worker.
            self.close_oldest_idle();
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
        UpstreamConnection::over(stream, &self.limits, permit).await
    }

    fn take_idle(&self, worker: usize) -> Option<UpstreamConnection> {
        let mut idle = self.idle(worker)?;
        let now = turn_time(&*self.clock);
        // The last one used is most likely open, and the others can reach the idle timeout.
        while let Some(last) = idle.pop_back() {
            if last.connection.is_ready() && now < last.until {
                return Some(last.connection);
            }
        }
        None
    }

    fn put_idle(&self, worker: usize, connection: UpstreamConnection, idle_timeout: Duration) {
        if let Some(mut idle) = self.idle(worker)
            && idle.len() < MAX_IDLE
        {
            let since = turn_time(&*self.clock);
            idle.push_back(IdleConnection { connection, since, until: since + idle_timeout });
        }
    }

    /// Close the connections of `worker` that have been idle for too long.
    pub fn close_idle(&self, worker: usize) {
        if let Some(mut idle) = self.idle(worker) {
            let now = self.clock.monotonic();
            idle.retain(|one| !one.connection.is_closed() && now < one.until);
        }
    }

    /// Close the connection of any worker that has been idle longest.
    fn close_oldest_idle(&self) {
        let since = |queue: &Mutex<VecDeque<IdleConnection>>| lock(queue).front().map(|oldest| oldest.since);
        let queues = self.idle.iter().filter_map(|queue| Some((since(queue)?, queue)));
        if let Some((_, queue)) = queues.min_by_key(|(since, _)| *since) {
            lock(queue).pop_front();
        }
    }

    fn idle(&self, worker: usize) -> Option<MutexGuard<'_, VecDeque<IdleConnection>>> {
        Some(lock(self.idle.get(worker)?))
    }
}

/// Lock, even after a panic: neither a queue nor an address is ever left in an inconsistent state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Response of an upstream, with its connection.
#[derive(Debug)]
pub struct UpstreamResponse {
    /// Response with its body.
    pub response: Response<Incoming>,
    /// Connection that carries the body.
    pub lease: ConnectionLease,
    /// After a 101 that was requested: the upgraded connection.
    pub upgrade: Option<OnUpgrade>,
}

/// Connection in use by one exchange, closed when dropped.
#[derive(Debug)]
pub struct ConnectionLease {
    upstream: Arc<UpstreamPool>,
    worker: usize,
    connection: UpstreamConnection,
    upload: Arc<Upload>,
    /// Longest time for which it may wait for another request; zero if it may carry none.
    idle_timeout: Duration,
}

impl ConnectionLease {
    /// Rules for the header fields of the messages of this exchange.
    #[must_use]
    pub fn rules(&self) -> &ForwardingRules {
        self.upload.rules()
    }

    /// True once the whole request was sent.
    #[must_use]
    pub fn is_upload_finished(&self) -> bool {
        self.upload.is_finished()
    }

    /// Longest silence in the body of the response; `None` for no limit.
    #[must_use]
    pub fn body_timeout(&self) -> Option<Duration> {
        self.upstream.limits.body
    }

    /// Return the connection to the pool after the end of the response.
    ///
    /// The connection is closed instead if the upstream responded before it had read the whole request,
    /// because the start of the next request would be ambiguous. It is also closed if the upstream may have
    /// authenticated it.
    pub fn release(self) {
        let Self { upstream, worker, mut connection, upload, idle_timeout } = self;
        if idle_timeout.is_zero() || !upload.is_finished() || connection.is_closed() {
            return;
        }
        if connection.is_ready() {
            upstream.put_idle(worker, connection, idle_timeout);
            return;
        }
        // There is no runtime if a response is dropped at shutdown.
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Ok(true) = timeout(READY_TIMEOUT, connection.ready()).await {
                upstream.put_idle(worker, connection, idle_timeout);
            }
        });
    }
}
