//! HTTP connection of an authenticated client: HTTP/1.1 or HTTP/2, as negotiated by ALPN.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;

use crate::gateway::downstream::handshake::Accepted;
use crate::gateway::request::context::{ConnectionContext, WorkerContext};
use crate::gateway::request::h2_executor::{H2Executor, run_http1};
use crate::gateway::request::last_token::LastToken;
use crate::gateway::request::service;
use crate::gateway::request::stall_watch::StallWatch;
use crate::gateway::sessions::command::Command;
use crate::gateway::sessions::session::{Session, Signal};
use crate::gateway::sessions::watched_stream::{HasSocket, WatchedStream};
use crate::gateway::shared::Shared;
use crate::mtls::tls::Protocol;

/// Time that a cut connection gets to announce its end (GOAWAY, `Connection: close`).
const CLOSE_TIMEOUT: Duration = Duration::from_millis(50);

/// Time in which a draining connection may still send its first request, or the rest of one.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// HTTP settings towards clients, shared by all connections of a worker.
#[derive(Debug)]
pub struct HttpServer {
    http1: http1::Builder,
    http2: http2::Builder<H2Executor>,
}

impl HttpServer {
    /// Settings of `gateway`. The worker enforces the timeouts of clients, which saves a timer of hyper for
    /// each request.
    #[must_use]
    pub fn new(gateway: &Shared) -> Self {
        let Shared { limits, clock, .. } = gateway;
        let mut http1 = http1::Builder::new();
        // At most 100 header fields, the default of hyper: with another number, it puts the fields of each request on
        // the heap.
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            // The stream notices a client that is gone; one that only ends its side waits for its response.
            .half_close(true)
            .title_case_headers(gateway.options.http1_title_case)
            .max_header_size(limits.header_bytes)
            .max_buf_size(limits.header_bytes.max(64 << 10));
        let mut http2 = http2::Builder::new(H2Executor::new(limits.stall_timeout, Arc::clone(clock)));
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.http2.streams)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .initial_stream_window_size(limits.http2.stream)
            .initial_connection_window_size(limits.http2.connection)
            .max_send_buf_size(128 << 10)
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(256)
            .keep_alive_interval(limits.idle_timeout)
            .keep_alive_timeout(Duration::from_secs(10));
        Self { http1, http2 }
    }
}

/// Serve a connection until it ends.
pub async fn serve(http: Arc<HttpServer>, worker: Arc<WorkerContext>, accepted: Accepted) {
    let Accepted { stream, registration, hosts, requires_certificate, permit } = accepted;
    let session = Arc::clone(registration.session());
    let gateway = Arc::clone(&worker.gateway);
    let context = ConnectionContext {
        worker,
        session: Arc::clone(&session),
        hosts,
        requires_certificate,
        last_token: LastToken::default(),
        registration,
        permit,
    };
    let io = TokioIo::new(WatchedStream::new(stream, Arc::clone(&session)));
    let service = Requests(Arc::new(context));
    let ended = match session.protocol {
        Protocol::Http1 => {
            let served = serve_http1(&http.http1, io, service, &session);
            run_http1(served, Arc::clone(&gateway.clock)).await.unwrap_or(Ok(()))
        }
        Protocol::Http2 => {
            // A box, so that the task of an HTTP/1.1 connection has no room for it.
            let mut connection = Box::pin(http.http2.serve_connection(io, service));
            match drive(connection.as_mut(), &session).await {
                Driven::Ended(ended) => ended,
                Driven::Idle => Ok(()),
            }
        }
    };
    if let Err(error) = ended
        && error.is_parse()
    {
        gateway.telemetry.request_malformed(&session, &error.to_string());
    }
}

/// Serve an HTTP/1.1 connection until it ends. While it is idle, hyper's buffers, 16 KiB, are given back: the stream
/// waits for the next byte alone.
async fn serve_http1(
    http1: &http1::Builder,
    mut io: Io,
    mut service: Requests,
    session: &Session,
) -> hyper::Result<()> {
    loop {
        // A box, freed while the connection is idle.
        let mut connection = Box::pin(http1.serve_connection(io, service).with_upgrades());
        if let Driven::Ended(ended) = drive(connection.as_mut(), session).await {
            return ended;
        }
        let Some(parts) = (*Pin::into_inner(connection)).into_parts() else { return Ok(()) };
        (io, service) = (parts.io, parts.service);
        io.inner_mut().put_back(parts.read_buf);
        session.parked();
        let next_byte = poll_fn(|cx| io.inner_mut().poll_next_byte(cx));
        let arrived = tokio::select! {
            biased;
            _ = session.stronger_command(Command::Serve) => Ok(()),
            arrived = next_byte => arrived,
        };
        session.unpark();
        if arrived.is_err() {
            return Ok(());
        }
    }
}

/// Outcome of driving a connection.
enum Driven {
    /// The connection has ended.
    Ended(hyper::Result<()>),
    /// The connection is idle, and asked to give back its buffers.
    Idle,
}

/// Run a connection, pinned by the caller since it is large, and apply commands as they arrive.
async fn drive(mut connection: Pin<&mut impl Drainable>, session: &Session) -> Driven {
    let mut last_command = Command::Serve;
    loop {
        let signal = tokio::select! {
            biased;
            ended = connection.as_mut() => return Driven::Ended(ended),
            signal = session.next_signal(last_command) => signal,
        };
        match signal {
            Signal::Command(command) => last_command = command,
            Signal::Park if session.may_park() => return Driven::Idle,
            Signal::Park => {
                session.unpark();
                continue;
            }
        }
        if last_command == Command::Drain
            && let Some(ended) = await_request(connection.as_mut(), session).await
        {
            return Driven::Ended(ended);
        }
        connection.as_mut().drain();
        if matches!(last_command, Command::Cut(_)) {
            break;
        }
    }
    // Requests still in flight end here: dropping the connection resets it.
    Driven::Ended(timeout(CLOSE_TIMEOUT, connection).await.unwrap_or(Ok(())))
}

/// Run a connection until a request that may be on its way has come: one that was made just now has sent none
/// yet, and the client of a POST cannot send it again. On HTTP/2, GOAWAY tells the client which requests count
/// (RFC 9113, section 6.8).
async fn await_request(
    mut connection: Pin<&mut impl Drainable>,
    session: &Session,
) -> Option<hyper::Result<()>> {
    let request = poll_fn(|cx| match connection.as_mut().poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Some(ended)),
        Poll::Pending if session.protocol == Protocol::Http1 && session.activity.awaits_request() => {
            Poll::Pending
        }
        Poll::Pending => Poll::Ready(None),
    });
    tokio::select! {
        biased;
        ended = request => ended,
        _ = session.stronger_command(Command::Drain) => None,
        () = sleep(FIRST_REQUEST_TIMEOUT) => None,
    }
}

/// Connection that can stop accepting requests.
trait Drainable: Future<Output = hyper::Result<()>> {
    fn drain(self: Pin<&mut Self>);
}

impl HasSocket for Box<TlsStream<TcpStream>> {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self.get_ref().0)
    }

    fn poll_read_socket(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().as_mut().get_mut().0).poll_read(cx, buffer)
    }
}

type Io = TokioIo<WatchedStream<Box<TlsStream<TcpStream>>>>;

impl Drainable for http1::UpgradeableConnection<Io, Requests> {
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl Drainable for http2::Connection<Io, Requests, H2Executor> {
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Service that hyper calls for each request of one connection.
struct Requests(Arc<ConnectionContext>);

impl Service<Request<Incoming>> for Requests {
    type Response = Response<StallWatch>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let connection = Arc::clone(&self.0);
        Box::pin(async move {
            let cancel_guard = CancelGuard::new(&connection.session);
            let response = service::respond(&connection, request).await;
            cancel_guard.disarm();
            Ok(response.map(|body| StallWatch::new(body, &connection)))
        })
    }
}

/// Guard that records a request as cancelled by the client, unless it is disarmed.
struct CancelGuard<'a>(Option<&'a Session>);

impl<'a> CancelGuard<'a> {
    const fn new(session: &'a Session) -> Self {
        Self(Some(session))
    }

    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelGuard<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.0 {
            session.request_cancelled();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::request::h2_executor::Watch;

    fn size_of_connection<F: Future>(
        _: impl Fn(Arc<HttpServer>, Arc<WorkerContext>, Accepted) -> F,
    ) -> usize {
        size_of::<F>()
    }

    fn size_of_request<'a, F: Future>(
        _: impl Fn(&'a Arc<ConnectionContext>, Request<Incoming>) -> F,
    ) -> usize {
        size_of::<F>()
    }

    /// A future is moved when it is boxed or spawned, and kept for as long as it runs.
    #[test]
    fn the_futures_of_connections_and_requests_stay_small() {
        let sizes = [
            ("connection", size_of_connection(serve), 6_000),
            ("request", size_of_request(service::respond), 4_400),
            ("response body", size_of::<StallWatch>(), 80),
            ("response", size_of::<Response<StallWatch>>(), 200),
            ("task of a stream", size_of::<Watch<()>>(), 64),
        ];
        let too_large: Vec<_> = sizes.iter().filter(|(_, size, at_most)| size > at_most).collect();
        assert!(too_large.is_empty(), "{sizes:?}");
    }
}
