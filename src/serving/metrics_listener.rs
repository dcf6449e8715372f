//! Metrics listener: plain HTTP on its own address, GET only. It serves no identities and changes nothing.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// Content type of plain answers.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// Content type of metrics in the text format of Prometheus.
pub(crate) const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Response of the listener.
pub(crate) type PlainResponse = Response<Full<Bytes>>;

/// Maximum number of open connections.
const MAX_CONNECTIONS: usize = 64;

/// Time to receive a request header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum age of a connection, so that a stalled reader does not keep its place.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Pause of the accept loop after an error such as too many open files.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Answer each GET at `listener` by its path.
///
/// # Errors
/// The error of the system if the listener cannot be used.
pub(crate) async fn serve(
    listener: std::net::TcpListener,
    answer: impl Fn(&str) -> PlainResponse + Send + Sync + 'static,
) -> io::Result<Infallible> {
    let answer = Arc::new(answer);
    let listener = TcpListener::from_std(listener)?;
    let mut connections = OpenConnections::default();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection on the metrics listener failed");
                sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        let answer = Arc::clone(&answer);
        let service = service_fn(move |request: Request<Incoming>| {
            let response = match *request.method() {
                Method::GET => answer(request.uri().path()),
                _ => response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is supported\n"),
            };
            async { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        connections.make_room();
        let connection = tokio::spawn(async move {
            if let Ok(Err(error)) = timeout(CONNECTION_TIMEOUT, connection).await {
                tracing::debug!(%error, "a connection to the metrics listener failed");
            }
        });
        connections.0.push_back(connection.abort_handle());
    }
}

/// Connections in the order of their arrival.
///
/// At the limit the oldest one ends, so that silent clients never keep a scrape waiting. A scrape takes
/// milliseconds, and a collector that loses an idle connection opens another.
#[derive(Default)]
struct OpenConnections(VecDeque<AbortHandle>);

impl OpenConnections {
    fn make_room(&mut self) {
        self.0.retain(|connection| !connection.is_finished());
        while self.0.len() >= MAX_CONNECTIONS {
            if let Some(oldest) = self.0.pop_front() {
                oldest.abort();
            }
        }
    }
}

/// Response that no cache keeps.
pub(crate) fn response(
    status: StatusCode,
    content_type: &'static str,
    text: impl Into<Bytes>,
) -> PlainResponse {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
