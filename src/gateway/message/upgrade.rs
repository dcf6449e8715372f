//! WebSocket upgrades (RFC 6455, section 4).

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use hyper::body::{Body, Incoming};

/// Only supported upgrade. Others, especially `h2c`, would carry requests past the policy.
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// Check for a request that asks for an upgrade to WebSocket (RFC 6455, section 4.1).
#[must_use]
pub fn is_requested(request: &Request<Incoming>) -> bool {
    request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && request.body().is_end_stream()
        && is_websocket(request.headers())
}

/// Check that `Connection` lists `upgrade`, and `Upgrade` is `websocket` alone.
#[must_use]
pub fn is_websocket(headers: &HeaderMap) -> bool {
    let options =
        headers.get_all(CONNECTION).into_iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let mut protocols = headers.get_all(UPGRADE).into_iter();
    options.into_iter().any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        && protocols.next().is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && protocols.next().is_none()
}

/// Set the headers of a WebSocket upgrade, after hop-by-hop fields were removed.
pub fn set_headers(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
}
