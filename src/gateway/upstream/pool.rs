//! The way to the service behind: a pool of HTTP/1.1 connections per upstream and worker, and one
//! exchange on one of them.
//!
//! A connection carries one exchange at a time and goes back to the pool only when both bodies came to
//! their end, and nothing on it has made it one caller's own. A request is sent again only where that cannot do anything twice: it never left, or it is
//! idempotent, has no body, and the idle connection it was written to turned out to be dead.

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
use tokio::time::{timeout, timeout_at};

use crate::gateway::limits::in_flight::InFlight;
use crate::gateway::limits::keepalive::KEEPALIVE;
use crate::gateway::message::request_body::{RequestBody, Upload};
use crate::gateway::message::upgrade::is_websocket;
use crate::gateway::policy::Terms;
use crate::gateway::upstream::error::ForwardError;
use crate::gateway::upstream::response_check::{binds_the_connection, check_framing};

/// How many idle connections a worker keeps to an upstream.
const MOST_IDLE: usize = 256;

/// How long an unused connection is kept: less than the 60 s after which most servers close theirs.
const IDLE: Duration = Duration::from_secs(45);

/// A connection that was used within this time is taken to be alive.
const FRESH: Duration = Duration::from_millis(500);

/// How long a connection may take to become idle after its response has ended.
const SETTLE: Duration = Duration::from_secs(1);

/// How long to wait for an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For the connection to stand.
    pub connect: Duration,
    /// For the response to begin, from the last byte of the request.
    pub response: Duration,
}

/// A service behind the gateway.
#[derive(Debug)]
pub struct Upstream {
    /// Its name in the configuration.
    pub name: Arc<str>,
    host: String,
    port: u16,
    deadlines: Deadlines,
    /// How many connections to it there are.
    connections: Arc<AtomicUsize>,
    /// Idle connections, the longest unused in front; one queue a worker.
    idle: Box<[Mutex<VecDeque<Idle>>]>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Upstream {
    /// The service at `host` and `port`, as `workers` workers see it.
    #[must_use]
    pub fn new(name: &str, host: &str, port: u16, deadlines: Deadlines, workers: usize) -> Self {
        Self {
            name: name.into(),
            host: host.to_owned(),
            port,
            deadlines,
            connections: Arc::default(),
            idle: (0..workers).map(|_| Mutex::default()).collect(),
        }
    }

    /// Whether it is the same service, waited for as long.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let key = |upstream: &Self| {
            (Arc::clone(&upstream.name), upstream.host.clone(), upstream.port, upstream.deadlines)
        };
        key(self) == key(other)
    }

    /// Sends a request that the policy permits and waits for the head of the response, on one of `at_most`
    /// connections. The lease goes with the body of the response; dropped, it closes the connection.
    ///
    /// # Errors
    /// [`ForwardError`] when there is no response.
    pub async fn send(
        self: &Arc<Self>,
        worker: usize,
        at_most: usize,
        _permission: Terms,
        mut request: Request<RequestBody>,
    ) -> Result<Sent, ForwardError> {
        // Nobody but us sets it.
        let tunnel = request.headers().contains_key(UPGRADE);
        let bound = binds_the_connection(request.headers(), AUTHORIZATION);
        let upload = request.body().upload();
        loop {
            let (connection, idle_since) = match self.take_idle(worker) {
                Some(idle) => (idle.connection, Some(idle.since)),
                None => (self.connect(at_most).await?, None),
            };
            let spare = idle_since.filter(|since| since.elapsed() > FRESH).and_then(|_| copy_of(&request));
            match self.exchange(connection, request, &upload).await {
                Ok((mut response, connection)) => {
                    let upgrade = match response.status() == StatusCode::SWITCHING_PROTOCOLS {
                        true if !tunnel || !is_websocket(response.headers()) => {
                            return Err(ForwardError::Ambiguous { why: "it switches protocols unasked" });
                        }
                        true => Some(hyper::upgrade::on(&mut response)),
                        false => None,
                    };
                    check_framing(&response)?;
                    *response.version_mut() = Version::HTTP_11;
                    response.extensions_mut().clear();
                    let shared = !bound && !binds_the_connection(response.headers(), WWW_AUTHENTICATE);
                    let lease = Lease { upstream: Arc::clone(self), worker, connection, upload, shared };
                    return Ok(Sent { response, lease, upgrade });
                }
                Err(Failure::Unsent(unsent)) if idle_since.is_some() => request = *unsent,
                Err(Failure::Unsent(_)) => return Err(ForwardError::Closed),
                Err(Failure::Unanswered(error)) => request = spare.ok_or(error)?,
                Err(Failure::Final(error)) => return Err(error),
            }
        }
    }

    async fn connect(&self, at_most: usize) -> Result<Connection, ForwardError> {
        let one = InFlight::begin(&self.connections, at_most).or_else(|| {
            // What another worker does not use makes room.
            self.close_oldest_idle();
            InFlight::begin(&self.connections, at_most)
        });
        let one = one.ok_or(ForwardError::Busy)?;
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = timeout(self.deadlines.connect, connecting)
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
            // The exchange that it breaks tells why; an idle connection that ends is no news.
            let _ = driver.with_upgrades().await;
        });
        Ok(Connection { sender, driver: driver.abort_handle(), _one: one })
    }

    async fn exchange(
        &self,
        mut connection: Connection,
        request: Request<RequestBody>,
        upload: &Upload,
    ) -> Result<(Response<Incoming>, Connection), Failure> {
        let mut exchange = std::pin::pin!(connection.sender.try_send_request(request));
        let mut deadline = Instant::now() + self.deadlines.response;
        loop {
            match timeout_at(deadline.into(), &mut exchange).await {
                Ok(Ok(response)) => return Ok((response, connection)),
                Ok(Err(mut failed)) => {
                    return Err(match failed.take_message() {
                        Some(unsent) => Failure::Unsent(Box::new(unsent)),
                        None => Failure::of(failed.into_error(), upload),
                    });
                }
                // A long upload is no silence: what counts is the time since its last byte.
                Err(_) => match upload.last_progress() + self.deadlines.response {
                    later if later > Instant::now() => deadline = later,
                    _ if upload.is_finished() => return Err(Failure::Final(ForwardError::ResponseTimeout)),
                    _ => return Err(Failure::Final(ForwardError::UploadTimeout)),
                },
            }
        }
    }

    fn take_idle(&self, worker: usize) -> Option<Idle> {
        let mut idle = self.idle(worker)?;
        // The one used last is the likeliest to be alive, and lets the others grow old enough to close.
        while let Some(last) = idle.pop_back() {
            if last.connection.sender.is_ready() && last.since.elapsed() < IDLE {
                return Some(last);
            }
        }
        None
    }

    fn put_idle(&self, worker: usize, connection: Connection) {
        if let Some(mut idle) = self.idle(worker)
            && idle.len() < MOST_IDLE
        {
            idle.push_back(Idle { connection, since: Instant::now() });
        }
    }

    /// Closes the connections of `worker` that have been idle for too long.
    pub fn close_idle(&self, worker: usize) {
        if let Some(mut idle) = self.idle(worker) {
            while idle
                .front()
                .is_some_and(|oldest| oldest.connection.sender.is_closed() || oldest.since.elapsed() >= IDLE)
            {
                idle.pop_front();
            }
        }
    }

    /// Closes the connection that has been idle longest, whosever it is.
    fn close_oldest_idle(&self) {
        let since = |queue: &Mutex<VecDeque<Idle>>| lock(queue).front().map(|oldest| oldest.since);
        let queues = self.idle.iter().filter_map(|queue| Some((since(queue)?, queue)));
        if let Some((_, queue)) = queues.min_by_key(|(since, _)| *since) {
            lock(queue).pop_front();
        }
    }

    fn idle(&self, worker: usize) -> Option<MutexGuard<'_, VecDeque<Idle>>> {
        Some(lock(self.idle.get(worker)?))
    }
}

/// A panic elsewhere leaves nothing half done in a queue.
fn lock(queue: &Mutex<VecDeque<Idle>>) -> MutexGuard<'_, VecDeque<Idle>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A second copy of a request that may be sent twice; `None` for all others.
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

/// What came of a request.
#[derive(Debug)]
pub struct Sent {
    /// The response.
    pub response: Response<Incoming>,
    /// The connection that its body comes on.
    pub lease: Lease,
    /// With a 101 that was asked for: that connection, once it is a tunnel.
    pub upgrade: Option<OnUpgrade>,
}

/// One connection to an upstream; dropped, it is closed.
struct Connection {
    sender: SendRequest<RequestBody>,
    driver: AbortHandle,
    _one: InFlight,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// A connection that is in use by one exchange; dropped, it is closed.
#[derive(Debug)]
pub struct Lease {
    upstream: Arc<Upstream>,
    worker: usize,
    connection: Connection,
    upload: Arc<Upload>,
    /// Whether others may use it afterwards.
    shared: bool,
}

impl Lease {
    /// Gives the connection back to the pool: the response has come to its end.
    ///
    /// An upstream that answered before it had read the whole request is not used again, since nobody
    /// can say where on that connection the next request begins. Neither is one that may take the
    /// connection for the caller's.
    pub fn give_back(self) {
        let Self { upstream, worker, mut connection, upload, shared } = self;
        if !shared || !upload.is_finished() || connection.sender.is_closed() {
            return;
        }
        if connection.sender.is_ready() {
            upstream.put_idle(worker, connection);
            return;
        }
        // A response may be dropped because the runtime ends.
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Ok(Ok(())) = timeout(SETTLE, connection.sender.ready()).await {
                upstream.put_idle(worker, connection);
            }
        });
    }
}

/// How an exchange failed, as far as trying again goes.
enum Failure {
    /// Not a byte of it was written.
    Unsent(Box<Request<RequestBody>>),
    /// It was written, and the connection ended without a byte of a response.
    Unanswered(ForwardError),
    /// Anything else.
    Final(ForwardError),
}

impl Failure {
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
