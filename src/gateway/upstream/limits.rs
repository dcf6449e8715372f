//! Timeouts and limits of an upstream.

use std::time::Duration;

/// Timeouts for connecting and for the response, and the limit of its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// Time to establish a connection.
    pub connect: Duration,
    /// Time from the last byte of the request to the start of the response.
    pub response: Duration,
    /// Longest silence in the body of a response; `None` for no limit.
    pub body: Option<Duration>,
    /// Most header fields of a response.
    pub response_fields: usize,
}
