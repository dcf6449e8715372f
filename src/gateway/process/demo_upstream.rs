//! Embedded echo service, to try the gateway without an upstream. It answers every request with the request as
//! JSON.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::{io, thread};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Largest body that is echoed, in bytes.
const MAX_ECHO_BYTES: usize = 64 << 10;

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
            .serve_connection(TokioIo::new(stream), service_fn(echo));
        tokio::spawn(connection);
    }
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
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
    let mut response = Response::new(Full::from(format!("{seen:#}\n")));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Value of a header; an array if it occurs more than once.
fn values(headers: &http::HeaderMap, name: &header::HeaderName) -> Value {
    let mut values: Vec<Value> =
        headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into()).collect();
    if values.len() == 1 { values.remove(0) } else { values.into() }
}
