//! HTTP connection of a client: HTTP/1.1 or HTTP/2, as negotiated by ALPN.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::{MissedTickBehavior, interval};

use super::handshake::AcceptedClient;
use super::requests::Api;
use crate::mtls::tls::Protocol;
use crate::server::api::Client;
use crate::server::config::ServerLimits;
use crate::server::shared::ServerShared;

/// Interval between two looks for an idle connection.
const IDLE_CHECK: Duration = Duration::from_secs(1);

/// Most header fields of a request.
const MAX_HEADER_FIELDS: usize = 64;

/// Most requests in flight on one HTTP/2 connection.
const MAX_STREAMS: u32 = 32;

/// HTTP settings towards clients.
#[derive(Debug)]
pub(super) struct HttpSettings {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl HttpSettings {
    /// Settings for these limits.
    pub(super) fn new(limits: &ServerLimits) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(limits.idle_timeout)
            .max_header_size(limits.header_bytes)
            .max_headers(MAX_HEADER_FIELDS)
            .max_buf_size(limits.header_bytes.max(64 << 10));
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(256)
            .keep_alive_interval(limits.idle_timeout)
            .keep_alive_timeout(Duration::from_secs(10));
        Self { http1, http2 }
    }
}

/// Serve a connection until it ends, is idle for too long, or the server drains.
pub(super) async fn serve(
    shared: &Arc<ServerShared>,
    http: &HttpSettings,
    api: Api,
    accepted: AcceptedClient,
) {
    let AcceptedClient { stream, client, protocol, permit: _permit } = accepted;
    let activity = Arc::new(Activity::new(shared.clock.monotonic()));
    let service = Requests { shared: Arc::clone(shared), api, client, activity: Arc::clone(&activity) };
    let io = TokioIo::new(stream);
    match protocol {
        Protocol::Http1 => {
            let connection = pin!(http.http1.serve_connection(io, service));
            drive(shared, connection, &activity, |connection| connection.graceful_shutdown()).await;
        }
        Protocol::Http2 => {
            let connection = pin!(http.http2.serve_connection(io, service));
            drive(shared, connection, &activity, |connection| connection.graceful_shutdown()).await;
        }
    }
}

/// Run a connection. One that is idle for `limits.idle_timeout` is drained, and closed after that time again.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    shared: &ServerShared,
    mut connection: Pin<&mut C>,
    activity: &Activity,
    shut_down: impl Fn(Pin<&mut C>),
) {
    let mut tick = interval(IDLE_CHECK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let idle_timeout = shared.limits.idle_timeout;
    let mut is_shut_down = false;
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection failed");
                }
                return;
            }
            () = shared.drained(), if !is_shut_down => {
                shut_down(connection.as_mut());
                is_shut_down = true;
            }
            _ = tick.tick() => {
                let idle = activity.idle_for(shared.clock.monotonic());
                if idle >= idle_timeout * 2 {
                    return;
                }
                if idle >= idle_timeout && !is_shut_down {
                    shut_down(connection.as_mut());
                    is_shut_down = true;
                }
            }
        }
    }
}

/// Requests in flight, and the end of the last one.
#[derive(Debug)]
struct Activity {
    in_flight: AtomicUsize,
    last: Mutex<Instant>,
}

impl Activity {
    fn new(now: Instant) -> Self {
        Self { in_flight: AtomicUsize::new(0), last: Mutex::new(now) }
    }

    fn idle_for(&self, now: Instant) -> Duration {
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        now.saturating_duration_since(*self.last.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One request in flight, until it is dropped.
struct Busy(Requests);

impl Busy {
    fn begin(requests: &Requests) -> Self {
        requests.activity.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(requests.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Requests { shared, activity, .. } = &self.0;
        *activity.last.lock().unwrap_or_else(PoisonError::into_inner) = shared.clock.monotonic();
        activity.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Service that hyper calls for each request of one connection.
#[derive(Clone)]
struct Requests {
    shared: Arc<ServerShared>,
    api: Api,
    client: Arc<Client>,
    activity: Arc<Activity>,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let busy = Busy::begin(self);
        Box::pin(async move {
            let Requests { shared, api, client, .. } = &busy.0;
            Ok(api.respond(shared, client, request).await)
        })
    }
}
