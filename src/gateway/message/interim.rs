//! Interim responses (RFC 9110, section 15.2), such as 103 (Early Hints), on their way to an HTTP/1.1 client.

use http::StatusCode;
use http::header::{CONTENT_LENGTH, HeaderMap};

use crate::gateway::message::headers;
use crate::gateway::message::reserved_headers::ReservedHeaders;

/// Interim response of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interim {
    /// Status: 1xx, but not 101.
    pub status: StatusCode,
    /// Header of the upstream.
    pub headers: HeaderMap,
}

impl Interim {
    /// Message for the client, without `reserved` fields. `title_case` writes `Link` for `link`.
    #[must_use]
    pub fn to_client(&self, title_case: bool, reserved: &ReservedHeaders) -> Vec<u8> {
        let mut headers = self.headers.clone();
        headers::to_downstream(&mut headers, reserved);
        headers.remove(CONTENT_LENGTH);
        let reason = self.status.canonical_reason().unwrap_or_default();
        let mut message = format!("HTTP/1.1 {} {reason}\r\n", self.status.as_str()).into_bytes();
        for (name, value) in &headers {
            let mut starts_word = title_case;
            message.extend(name.as_str().bytes().map(|byte| {
                let byte = if starts_word { byte.to_ascii_uppercase() } else { byte };
                starts_word = title_case && byte == b'-';
                byte
            }));
            message.extend_from_slice(b": ");
            message.extend_from_slice(value.as_bytes());
            message.extend_from_slice(b"\r\n");
        }
        message.extend_from_slice(b"\r\n");
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interim_response_passes_without_restricted_fields() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("link", "</a>; rel=preload"),
            ("x-cluster-role", "forged"),
            ("connection", "close"),
            ("content-length", "5"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let hints = Interim { status: StatusCode::EARLY_HINTS, headers };
        let text =
            |title_case| String::from_utf8(hints.to_client(title_case, &ReservedHeaders::default())).unwrap();
        assert_eq!(text(false), "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n");
        assert_eq!(text(true), "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n");
    }
}
