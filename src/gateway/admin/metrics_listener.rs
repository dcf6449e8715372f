//! Metrics listener: plain HTTP on its own address, GET only. It serves no identities and changes nothing.
//! Upstreams fetch the JWK Set of assertions here, without a certificate.

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
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::gateway::control::published_keys;
use crate::gateway::control::reload::Control;
use crate::gateway::shared::Phase;
use crate::gateway::telemetry::metrics::Metrics;

/// Maximum number of open connections.
const MAX_CONNECTIONS: usize = 64;

/// Time to receive a request header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum age of a connection, so that a stalled reader does not keep its place.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Pause of the accept loop after an error such as too many open files.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Serve the metrics listener until the gateway stops.
pub async fn run(control: Arc<Control>, listener: std::net::TcpListener) {
    let mut phase = control.shared.phase.subscribe();
    tokio::select! {
        () = Phase::reached(Phase::Stopped, &mut phase) => {}
        Err(error) = accept(&control, listener) => tracing::error!(%error, "metrics cannot be served"),
    }
}

async fn accept(control: &Arc<Control>, listener: std::net::TcpListener) -> io::Result<Infallible> {
    let listener = TcpListener::from_std(listener)?;
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = Arc::clone(&connections).acquire_owned().await.ok();
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection on the metrics listener failed");
                sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        let control = Arc::clone(control);
        let answer = service_fn(move |request| {
            let response = answer(&control, &request);
            async { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(stream), answer);
        tokio::spawn(async move {
            if let Ok(Err(error)) = timeout(CONNECTION_TIMEOUT, connection).await {
                tracing::debug!(%error, "a connection to the metrics listener failed");
            }
            drop(permit);
        });
    }
}

fn answer(control: &Control, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    if request.method() != Method::GET {
        return response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is supported\n");
    }
    match request.uri().path() {
        "/healthz" => match *control.shared.phase.borrow() {
            Phase::Serving => response(StatusCode::OK, TEXT, "serving\n"),
            _ => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, "draining\n"),
        },
        "/metrics" => {
            response(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", Metrics::scrape(control))
        }
        published_keys::JWKS => match published_keys::jwks(&control.shared) {
            Some(Ok(keys)) => response(StatusCode::OK, "application/json", keys),
            Some(Err(error)) => {
                tracing::error!(%error, "JWK Set cannot be serialized");
                response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the JWK Set cannot be serialized\n")
            }
            None => response(StatusCode::NOT_FOUND, TEXT, "assertions are not configured\n"),
        },
        _ => response(
            StatusCode::NOT_FOUND,
            TEXT,
            "not found: /metrics, /healthz and, with assertions, /.well-known/cluster/jwks are served\n",
        ),
    }
}

fn response(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
