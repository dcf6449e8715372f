//! Reasons for which a request ended without a whole response, as stable codes.

use crate::error::Code;

/// Reason for the early end of a request that was forwarded, or that was never valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestEnd {
    /// The client closed its connection or its stream before it had the whole response.
    Aborted,
    /// Bytes that are not HTTP; there is no request to answer.
    Malformed,
    /// The client did not read its response for `limits.stall_timeout`, over HTTP/2.
    Stalled,
    /// Either side of a WebSocket failed.
    TunnelBroken,
    /// No byte passed a WebSocket for `limits.tunnel_timeout`.
    TunnelIdle,
    /// One side did not switch protocols after its 101.
    TunnelNotBegun,
    /// The upstream failed within the body of its response.
    UpstreamBody,
    /// The upstream sent nothing of its body for `body_timeout`.
    UpstreamBodyTimeout,
}

impl RequestEnd {
    /// Code of the reason, with its class.
    #[must_use]
    pub const fn coded(self) -> Code {
        match self {
            Self::Aborted => Code::unavailable("downstream.aborted"),
            Self::Malformed => Code::refused("request.malformed"),
            Self::Stalled => Code::unavailable("downstream.stalled"),
            Self::TunnelBroken => Code::unavailable("tunnel.broken"),
            Self::TunnelIdle => Code::refused("tunnel.idle"),
            Self::TunnelNotBegun => Code::unavailable("tunnel.not_begun"),
            Self::UpstreamBody => Code::unavailable("upstream.body"),
            Self::UpstreamBodyTimeout => Code::unavailable("upstream.body_timeout"),
        }
    }

    /// Name of the code, for logs and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.coded().name()
    }
}
