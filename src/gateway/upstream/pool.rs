//! Connection pool of an upstream: HTTP/1.1 connections per worker, and the exchange of a request and its
//! response.
//!
//! A connection carries one exchange at a time. It returns to the pool after both bodies are complete, unless
//! an authentication scheme has bound it to one client, or the upstream may have left the body of a request unread.
//!
//! A request is retried only if it cannot take effect twice: it was never sent, or it is idempotent, has no
//! body, and the idle connection it was written to had been closed.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, UPGRADE, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::gateway::limits::in_flight::InFlight;
use crate::gateway::limits::keepalive::KEEPALIVE;
use crate::gateway::message::request_body::{RequestBody, Upload};
use crate::gateway::message::upgrade::is_websocket;
use crate::gateway::policy::{Grant, Methods};
use crate::gateway::upstream::error::ForwardError;
use crate::gateway::upstream::response_check::{check_framing, is_connection_bound};

/// Most idle connections per worker and upstream.
const MAX_IDLE: usize = 256;

/// Longest time that a connection stays idle; most servers close it after 60 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// Idle time up to which a connection is assumed to be open, so that no copy of the request is kept for a
/// retry.
const ASSUMED_OPEN: Duration = Duration::from_millis(500);

/// Longest time from the end of a response until its connection is ready for the next request.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// Timeouts for connecting and for the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// Time to establish a connection.
    pub connect: Duration,
    /// Time from the last byte of the request to the start of the response.
    pub response: Duration,
}

/// Upstream with its connections.
#[derive(Debug)]
pub struct UpstreamPool {
    /// Name in the configuration.
    pub name: Arc<str>,
    host: String,
    port: u16,
    timeouts: UpstreamTimeouts,
    clock: Arc<dyn Clock>,
    /// Open connections of all workers.
    connections: Arc<AtomicUsize>,
    /// Idle connections, one queue per worker, longest idle first.
    idle: Box<[Mutex<VecDeque<IdleConnection>>]>,
}

#[derive(Debug)]
struct IdleConnection {
    connection: UpstreamConnection,
    since: Instant,
}

impl UpstreamPool {
    /// Create an empty pool for the upstream at `host` and `port`, for `workers` workers.
    #[must_use]
    pub fn new(
        name: &str,
        host: &str,
        port: u16,
        timeouts: UpstreamTimeouts,
        workers: usize,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            name: name.into(),
            host: host.to_owned(),
            port,
            timeouts,
            clock,
            connections: Arc::default(),
            idle: (0..workers).map(|_| Mutex::default()).collect(),
        }
    }

    /// Compare name, address and timeouts. If they are equal, a reload keeps the pool and its connections.
    #[must_use]
    pub fn has_same_settings(&self, other: &Self) -> bool {
        let key = |upstream: &Self| {
            (Arc::clone(&upstream.name), upstream.host.clone(), upstream.port, upstream.timeouts)
        };
        key(self) == key(other)
    }

    /// Send a request that the policy permits, on one of at most `at_most` connections, and wait for the head
    /// of the response. The lease belongs to the body of the response; dropping it closes the connection.
    ///
    /// # Errors
    /// [`ForwardError`] if there is no response.
    pub async fn send(
        self: &Arc<Self>,
        worker: usize,
        at_most: usize,
        _grant: Grant,
        mut request: Request<RequestBody>,
    ) -> Result<UpstreamResponse, ForwardError> {
        // A client's own `Upgrade` never gets here: the gateway removes it and sets one for a WebSocket.
        let asks_upgrade = request.headers().contains_key(UPGRADE);
        let content_ignored = !Methods::define_content(request.method()) && !request.body().is_end_stream();
        let bound = content_ignored || is_connection_bound(request.headers(), AUTHORIZATION);
        let upload = request.body().upload();
        loop {
            let now = self.clock.monotonic();
            let (connection, idle_since) = match self.take_idle(worker, now) {
                Some(idle) => (idle.connection, Some(idle.since)),
                None => (self.connect(at_most).await?, None),
            };
            let retry = idle_since
                .filter(|since| now.saturating_duration_since(*since) > ASSUMED_OPEN)
                .and_then(|_| copy_of(&request));
            match self.exchange(connection, request, &upload).await {
                Ok((mut response, connection)) => {
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
                    let reusable = !bound && !is_connection_bound(response.headers(), WWW_AUTHENTICATE);
                    let lease =
                        ConnectionLease { upstream: Arc::clone(self), worker, connection, upload, reusable };
                    return Ok(UpstreamResponse { response, lease, upgrade });
                }
                Err(ExchangeFailure::Unsent(unsent)) if idle_since.is_some() => request = *unsent,
                Err(ExchangeFailure::Unsent(_)) => return Err(ForwardError::Closed),
                Err(ExchangeFailure::Unanswered(error)) => request = retry.ok_or(error)?,
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
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = timeout(self.timeouts.connect, connecting)
            .await
            .map_err(|_| ForwardError::ConnectTimeout)?
            .map_err(|source| ForwardError::Connect { source })?;
        let set_up =
            stream.set_nodelay(true).and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE));
        set_up.map_err(|source| ForwardError::Connect { source })?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|source| ForwardError::Unreadable { source })?;
        let driver = tokio::spawn(async move {
            // An error reaches the exchange on this connection; an idle connection may close at any time.
            let _ = driver.with_upgrades().await;
        });
        Ok(UpstreamConnection { sender, driver: driver.abort_handle(), _permit: permit })
    }

    async fn exchange(
        &self,
        mut connection: UpstreamConnection,
        request: Request<RequestBody>,
        upload: &Upload,
    ) -> Result<(Response<Incoming>, UpstreamConnection), ExchangeFailure> {
        let mut exchange = std::pin::pin!(connection.sender.try_send_request(request));
        let mut remaining = self.timeouts.response;
        loop {
            match timeout(remaining, &mut exchange).await {
                Ok(Ok(response)) => return Ok((response, connection)),
                Ok(Err(mut failed)) => {
                    return Err(match failed.take_message() {
                        Some(unsent) => ExchangeFailure::Unsent(Box::new(unsent)),
                        None => ExchangeFailure::of(failed.into_error(), upload),
                    });
                }
                // During an upload, the timeout starts again with every byte.
                Err(_) => match self.remaining(upload) {
                    Some(longer) => remaining = longer,
                    _ if upload.is_finished() => {
                        return Err(ExchangeFailure::Final(ForwardError::ResponseTimeout));
                    }
                    _ => return Err(ExchangeFailure::Final(ForwardError::UploadTimeout)),
                },
            }
        }
    }

    /// Time left of the timeout that the last byte of `upload` started; `None` if it has passed.
    fn remaining(&self, upload: &Upload) -> Option<Duration> {
        let deadline = upload.last_progress() + self.timeouts.response;
        deadline.checked_duration_since(self.clock.monotonic()).filter(|left| !left.is_zero())
    }

    fn take_idle(&self, worker: usize, now: Instant) -> Option<IdleConnection> {
        let mut idle = self.idle(worker)?;
        // The last one used is most likely open, and the others can reach the idle timeout.
        while let Some(last) = idle.pop_back() {
            let idle_for = now.saturating_duration_since(last.since);
            if last.connection.sender.is_ready() && idle_for < IDLE_TIMEOUT {
                return Some(last);
            }
        }
        None
    }

    fn put_idle(&self, worker: usize, connection: UpstreamConnection) {
        if let Some(mut idle) = self.idle(worker)
            && idle.len() < MAX_IDLE
        {
            idle.push_back(IdleConnection { connection, since: self.clock.monotonic() });
        }
    }

    /// Close the connections of `worker` that have reached the idle timeout.
    pub fn close_idle(&self, worker: usize) {
        if let Some(mut idle) = self.idle(worker) {
            let now = self.clock.monotonic();
            while idle.front().is_some_and(|oldest| {
                oldest.connection.sender.is_closed()
                    || now.saturating_duration_since(oldest.since) >= IDLE_TIMEOUT
            }) {
                idle.pop_front();
            }
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

/// Lock, even after a panic: a queue is never left in an inconsistent state.
fn lock(queue: &Mutex<VecDeque<IdleConnection>>) -> MutexGuard<'_, VecDeque<IdleConnection>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Copy of a request that is safe to retry; `None` for all others.
fn copy_of(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    if !request.method().is_idempotent() || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(request.body().empty_copy());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
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

/// Connection to an upstream, closed when dropped.
struct UpstreamConnection {
    sender: SendRequest<RequestBody>,
    driver: AbortHandle,
    _permit: InFlight,
}

impl Drop for UpstreamConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl fmt::Debug for UpstreamConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamConnection").finish_non_exhaustive()
    }
}

/// Connection in use by one exchange, closed when dropped.
#[derive(Debug)]
pub struct ConnectionLease {
    upstream: Arc<UpstreamPool>,
    worker: usize,
    connection: UpstreamConnection,
    upload: Arc<Upload>,
    /// True if other clients may use it afterwards.
    reusable: bool,
}

impl ConnectionLease {
    /// Return the connection to the pool after the end of the response.
    ///
    /// The connection is closed instead if the upstream responded before it had read the whole request,
    /// because the start of the next request would be ambiguous. It is also closed if the upstream may have
    /// authenticated it.
    pub fn release(self) {
        let Self { upstream, worker, mut connection, upload, reusable } = self;
        if !reusable || !upload.is_finished() || connection.sender.is_closed() {
            return;
        }
        if connection.sender.is_ready() {
            upstream.put_idle(worker, connection);
            return;
        }
        // There is no runtime if a response is dropped at shutdown.
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Ok(Ok(())) = timeout(READY_TIMEOUT, connection.sender.ready()).await {
                upstream.put_idle(worker, connection);
            }
        });
    }
}

/// Failure of an exchange, classified for a retry.
enum ExchangeFailure {
    /// No byte of the request was written.
    Unsent(Box<Request<RequestBody>>),
    /// The request was written, and the connection was closed without a byte of a response.
    Unanswered(ForwardError),
    /// Any other failure; no retry.
    Final(ForwardError),
}

impl ExchangeFailure {
    fn of(error: hyper::Error, upload: &Upload) -> Self {
        if upload.is_over_limit() {
            Self::Final(ForwardError::BodyTooLarge)
        } else if upload.is_broken() {
            Self::Final(ForwardError::BodyBroken { source: error })
        } else if error.is_parse() {
            Self::Final(ForwardError::Unreadable { source: error })
        } else {
            Self::Unanswered(ForwardError::Unanswered { source: error })
        }
    }
}
