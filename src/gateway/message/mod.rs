//! Pure functions over HTTP messages: framing, request path, header fields, request numbers.

pub mod framing;
pub mod headers;
pub mod hosts;
pub mod json;
pub mod path;
pub mod request_body;
pub mod request_id;
pub mod traceparent;
pub mod upgrade;
