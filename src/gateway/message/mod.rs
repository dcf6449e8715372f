//! HTTP messages: framing, request paths, header fields, request bodies, request IDs, and trace contexts.
//!
//! | file | contents |
//! |---|---|
//! | `case_fold` | Case folding of texts and request paths, at least as coarse as full case folding |
//! | `field_lines` | Field lines of an HTTP/1.1 message (RFC 9112, section 5), written once and copied as bytes |
//! | `forwarding_rules` | Rules of the configuration for the header fields of forwarded messages |
//! | `framing` | Checks of a request head: method, message length and host must be unambiguous |
//! | `headers` | Filter of header fields and trailers, and the headers that describe the client to the upstream |
//! | `hosts` | Hosts that the requests of a connection may name (RFC 9110, section 7.4), derived from its handshake |
//! | `interim` | Interim responses (RFC 9110, section 15.2) to HTTP/1.1 clients |
//! | `json` | JSON bodies of the gateway's own responses |
//! | `known_header` | Header of the last request of a connection, with the lines that the upstream got for it |
//! | `path` | Path of a request: the policy evaluates exactly the bytes that are sent to the upstream |
//! | `request_body` | Request bodies, streamed to the upstream: byte count, size limit, and progress |
//! | `reserved_headers` | Reserved header fields: compiled names, with those that the configuration adds |
//! | `reserved_names` | Names of header fields that no client may send, and no upstream return |
//! | `traceparent` | Trace context of a request (W3C Trace Context) |
//! | `upgrade` | WebSocket upgrades (RFC 6455, section 4) |
//! | `via` | `Via` of forwarded messages (RFC 9110, section 7.6.3) |

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
