//! Checks of an upstream's response head: framing, and authentication bound to the connection.

use http::header::{CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, Response};
use hyper::body::Incoming;

use crate::gateway::upstream::error::ForwardError;

/// Whether one of the fields `name` speaks of a scheme that authenticates a connection and not a request
/// (RFC 4559, NTLM): whoever used that connection next would be taken for the one before.
pub(super) fn binds_the_connection(headers: &HeaderMap, name: HeaderName) -> bool {
    let values = headers.get_all(name).into_iter();
    values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).any(|challenge| {
        let scheme = challenge.trim_ascii_start().split(u8::is_ascii_whitespace).next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
    })
}

/// Refuses a response whose end could be read in two ways.
pub(super) fn check_framing(response: &Response<Incoming>) -> Result<(), ForwardError> {
    let lengths = response.headers().get_all(CONTENT_LENGTH).iter().count();
    let mut codings = response.headers().get_all(TRANSFER_ENCODING).iter();
    let why = match (codings.next(), codings.next()) {
        (Some(_), _) if lengths > 0 => "it has both a Transfer-Encoding and a Content-Length",
        (Some(coding), None) if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            "its Transfer-Encoding is not `chunked`"
        }
        (Some(_), Some(_)) => "it has more than one Transfer-Encoding",
        _ if lengths > 1 => "it has more than one Content-Length",
        _ => return Ok(()),
    };
    Err(ForwardError::Ambiguous { why })
}
