//! Where metrics are fetched: plain HTTP on an address of its own, GET only, and nothing there says who
//! calls or lets anybody do anything. The service behind fetches the keys of assertions here, for which
//! it needs no certificate.

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

/// How many may ask at once.
const CONNECTIONS: usize = 64;

/// How long a connection may take to ask.
const HEADER: Duration = Duration::from_secs(5);

/// How long a connection may last, so that a reader that stops reading does not keep its place.
const LONGEST: Duration = Duration::from_secs(60);

/// How long accepting pauses when the system has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers until the gateway stops.
pub async fn run(control: Arc<Control>, listener: std::net::TcpListener) {
    let mut phase = control.shared.phase.subscribe();
    tokio::select! {
        () = Phase::reached(Phase::Stopped, &mut phase) => {}
        Err(error) = accept(&control, listener) => tracing::error!(%error, "metrics cannot be served"),
    }
}

async fn accept(control: &Arc<Control>, listener: std::net::TcpListener) -> io::Result<Infallible> {
    let listener = TcpListener::from_std(listener)?;
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = Arc::clone(&connections).acquire_owned().await.ok();
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let control = Arc::clone(control);
        let answer = service_fn(move |request| {
            let response = answer(&control, &request);
            async { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER)
            .serve_connection(TokioIo::new(stream), answer);
        tokio::spawn(async move {
            // Whoever goes away in the middle has seen enough.
            let _ = timeout(LONGEST, connection).await;
            drop(permit);
        });
    }
}

fn answer(control: &Control, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    if request.method() != Method::GET {
        return response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is answered here\n");
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
                response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the JWK Set cannot be written\n")
            }
            None => response(StatusCode::NOT_FOUND, TEXT, "no assertions are made\n"),
        },
        _ => response(
            StatusCode::NOT_FOUND,
            TEXT,
            "/metrics, /healthz and, where assertions are made, /.well-known/cluster/jwks are here\n",
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
