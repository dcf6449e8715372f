//! Embedded echo service, to try the gateway without an upstream. It answers a request with the request as JSON,
//! and `…/events` with an endless stream of events.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use std::{io, thread};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::Interval;

/// Largest body that is echoed, in bytes.
const MAX_ECHO_BYTES: usize = 64 << 10;

/// Time between two events.
const EVENT_INTERVAL: Duration = Duration::from_millis(100);

/// Start the service on a free port of the loopback interface; it runs until the process exits.
///
/// # Errors
/// The error of the system if it has no free port or thread.
pub fn start() -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new()
        .name("demo-upstream".to_owned())
        .spawn(move || runtime.block_on(accept(listener)))?;
    Ok(address)
}

async fn accept(listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service_fn(respond));
        tokio::spawn(connection);
    }
}

async fn respond(request: Request<Incoming>) -> Result<Response<Either<Full<Bytes>, Events>>, Infallible> {
    let (content_type, body) = if request.uri().path().ends_with("/events") {
        let events = Events { interval: tokio::time::interval(EVENT_INTERVAL), count: 0 };
        ("text/event-stream", Either::Right(events))
    } else {
        ("application/json", Either::Left(echo(request).await))
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    Ok(response)
}

async fn echo(request: Request<Incoming>) -> Full<Bytes> {
    let (head, body) = request.into_parts();
    let (body, truncated) = match Limited::new(body, MAX_ECHO_BYTES).collect().await {
        Ok(body) => (String::from_utf8_lossy(&body.to_bytes()).into_owned(), false),
        Err(_) => (String::new(), true),
    };
    let seen = json!({
        "method": head.method.as_str(),
        "path": head.uri.to_string(),
        "headers": head.headers.keys().map(|name| (name.to_string(), values(&head.headers, name))).collect::<serde_json::Map<_, _>>(),
        "body": body,
        "body_too_large_to_echo": truncated,
    });
    Full::from(format!("{seen:#}\n"))
}

/// Endless server-sent events, numbered from 1.
struct Events {
    interval: Interval,
    count: u64,
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.interval.poll_tick(context));
        self.count += 1;
        Poll::Ready(Some(Ok(Frame::data(format!("data: {}\n\n", self.count).into()))))
    }
}

/// Value of a header; an array if it occurs more than once.
fn values(headers: &http::HeaderMap, name: &header::HeaderName) -> Value {
    let mut values: Vec<Value> =
        headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into()).collect();
    if values.len() == 1 { values.remove(0) } else { values.into() }
}
