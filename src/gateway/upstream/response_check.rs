//! Checks of an upstream's response: unambiguous framing, authentication schemes bound to a connection, and the
//! time for which the connection may be used again.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Response};
use hyper::body::Incoming;

use crate::gateway::upstream::error::ForwardError;

/// Detect a scheme in fields `name` that authenticates the connection instead of the request (RFC 4559,
/// NTLM). The upstream would attribute later requests on that connection to the same user.
pub(super) fn is_connection_bound(headers: &HeaderMap, name: HeaderName) -> bool {
    let values = headers.get_all(name).into_iter();
    values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).any(|challenge| {
        let scheme = challenge.trim_ascii_start().split(u8::is_ascii_whitespace).next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
    })
}

/// Refuse a response of ambiguous length.
pub(super) fn check_framing(response: &Response<Incoming>) -> Result<(), ForwardError> {
    let lengths = response.headers().get_all(CONTENT_LENGTH).iter().count();
    let is_number = |length: &HeaderValue| length.as_bytes().iter().all(u8::is_ascii_digit);
    let mut codings = response.headers().get_all(TRANSFER_ENCODING).iter();
    let reason = match (codings.next(), codings.next()) {
        (Some(_), _) if lengths > 0 => "it has both a Transfer-Encoding and a Content-Length",
        (Some(coding), None) if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            "its Transfer-Encoding is not `chunked`"
        }
        (Some(_), Some(_)) => "it has more than one Transfer-Encoding",
        _ if lengths > 1 => "it has more than one Content-Length",
        // hyper accepts a list of equal numbers, and clients differ in it.
        _ if !response.headers().get(CONTENT_LENGTH).is_none_or(is_number) => {
            "its Content-Length is not a number"
        }
        _ => return Ok(()),
    };
    Err(ForwardError::Ambiguous { reason })
}

/// Field that announces when an idle connection is closed (RFC 2068, section 19.7.1.1; still sent by many servers).
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Longest time of an announced one that is left unused, for a request on its way while the upstream closes.
const CLOSING_MARGIN: Duration = Duration::from_secs(1);

/// Time for which the upstream keeps an idle connection, from `Keep-Alive: timeout=SECONDS`, less a margin.
pub(super) fn idle_lifetime(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(KEEP_ALIVE).into_iter().filter_map(|value| value.to_str().ok());
    let announced = values.flat_map(|value| value.split(',')).find_map(|parameter| {
        let (name, seconds) = parameter.split_once('=')?;
        let seconds = seconds.trim().trim_matches('"').parse().ok()?;
        name.trim().eq_ignore_ascii_case("timeout").then_some(Duration::from_secs(seconds))
    })?;
    Some(announced - CLOSING_MARGIN.min(announced / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announced_lifetime_is_used_but_for_a_margin() {
        for (value, millis) in [
            ("timeout=5", Some(4_000)),
            ("timeout=5, max=100", Some(4_000)),
            ("max=100, Timeout = \"2\"", Some(1_000)),
            ("timeout=1", Some(500)),
            ("timeout=0", Some(0)),
            ("max=5", None),
            ("timeout=soon", None),
            ("timeout=-1", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(KEEP_ALIVE, value.parse().unwrap())]);
            assert_eq!(idle_lifetime(&headers), millis.map(Duration::from_millis), "{value:?}");
        }
        assert_eq!(idle_lifetime(&HeaderMap::new()), None);
    }
}
