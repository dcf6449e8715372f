//! HTTP messages: framing, request paths, header fields, request bodies, request IDs, and trace contexts.

pub(in crate::gateway) mod case_fold;
pub mod field_lines;
pub mod forwarding_rules;
pub mod framing;
pub mod headers;
pub mod hosts;
pub mod interim;
pub mod json;
pub mod known_header;
pub mod path;
pub mod request_body;
pub mod reserved_headers;
mod reserved_names;
pub mod traceparent;
pub mod upgrade;
pub mod via;
