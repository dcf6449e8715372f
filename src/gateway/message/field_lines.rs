//! Field lines of an HTTP/1.1 message (RFC 9112, section 5), written once and copied as bytes.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, TRAILER};

use crate::gateway::message::headers::{binds_connection, names_listed_in};

/// Append a line. `value` has no control characters: it is that of a `HeaderValue`, or a text of the gateway.
pub fn push_field(text: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    text.extend_from_slice(name.as_str().as_bytes());
    text.extend_from_slice(b": ");
    text.extend_from_slice(value);
    text.extend_from_slice(b"\r\n");
}

/// Lines of a request to an upstream, except those of its framing, `Connection` and `Content-Length`, and of its trace
/// context, which differs with each request.
#[derive(Clone, Debug)]
pub struct FieldLines {
    /// The lines, each with its line end.
    pub text: Vec<u8>,
    /// Properties of the header that they are made of.
    pub traits: FieldTraits,
}

/// Properties of the header of a request, on which its framing depends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldTraits {
    /// True if the client accepts trailers, so that `Connection` must list `TE`.
    pub accepts_trailers: bool,
    /// True if the header states a length, even for an empty body.
    pub has_length: bool,
    /// True if an authentication scheme binds the connection to this client.
    pub binds_connection: bool,
    /// True if the header has a trace context, which is not checked yet.
    pub has_trace_parent: bool,
    /// True if it has a state of the trace.
    pub has_trace_state: bool,
    /// Trailers that the header announces; no others are sent.
    pub announced_trailers: Option<Arc<[HeaderName]>>,
}

impl FieldLines {
    /// Lines of `headers`.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut text = Vec::with_capacity(1_024);
        let mut traits = FieldTraits::default();
        for (name, value) in headers {
            match name.as_str() {
                "connection" => continue,
                "content-length" => {
                    traits.has_length = true;
                    continue;
                }
                "traceparent" => {
                    traits.has_trace_parent = true;
                    continue;
                }
                "tracestate" => {
                    traits.has_trace_state = true;
                    continue;
                }
                "te" => traits.accepts_trailers = true,
                "authorization" => traits.binds_connection |= binds_connection(value),
                "trailer" if traits.announced_trailers.is_none() => {
                    traits.announced_trailers = Some(names_listed_in(headers, TRAILER).collect());
                }
                _ => {}
            }
            push_field(&mut text, name, value.as_bytes());
        }
        Self { text, traits }
    }
}
