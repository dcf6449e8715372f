//! Pure functions over HTTP messages: framing, request path, header fields, request numbers.

pub mod framing;
pub mod headers;
pub mod path;
pub mod request_id;
pub mod traceparent;
