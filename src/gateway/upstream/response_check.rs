//! Checks of an upstream's response: unambiguous framing, and authentication schemes bound to a connection.

use http::header::{CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
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
    let mut codings = response.headers().get_all(TRANSFER_ENCODING).iter();
    let reason = match (codings.next(), codings.next()) {
        (Some(_), _) if lengths > 0 => "it has both a Transfer-Encoding and a Content-Length",
        (Some(coding), None) if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            "its Transfer-Encoding is not `chunked`"
        }
        (Some(_), Some(_)) => "it has more than one Transfer-Encoding",
        _ if lengths > 1 => "it has more than one Content-Length",
        _ => return Ok(()),
    };
    Err(ForwardError::Ambiguous { reason })
}
