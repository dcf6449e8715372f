//! Errors of forwarding a request to an upstream.

use std::io;

use crate::error::{Code, Coded};
use crate::gateway::message::request_body::RequestBodyError;
use crate::gateway::upstream::response_error::ResponseError;

/// Request without a response from the upstream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// The response is ambiguous.
    #[error("the upstream's response is refused: {reason}")]
    Ambiguous {
        /// Ambiguity of the response head.
        reason: &'static str,
    },
    /// The request body from the client ended early.
    #[error("the request body from the client ended early")]
    BodyBroken {
        /// Cause.
        source: RequestBodyError,
    },
    /// The request body exceeds the limit of the route.
    #[error("the request body exceeds the limit of this route")]
    BodyTooLarge,
    /// All connections that the limit allows are in use.
    #[error("all connections to the upstream that its limit allows are in use")]
    Busy,
    /// The connection could not be established.
    #[error("cannot connect to the upstream")]
    Connect {
        /// System error.
        source: io::Error,
    },
    /// The connection was not established within the timeout.
    #[error("the upstream did not accept a connection within `connect_timeout`")]
    ConnectTimeout,
    /// The header of the response is too large.
    #[error(
        "the header of the upstream's response has more than `response_fields` ({at_most}) fields, or is too long"
    )]
    HeaderTooLarge {
        /// Most fields.
        at_most: usize,
    },
    /// The response did not start within the timeout.
    #[error("the upstream did not respond within `response_timeout`")]
    ResponseTimeout,
    /// The connection was closed before the response.
    #[error("the upstream closed the connection without a response")]
    Unanswered {
        /// Cause.
        source: ResponseError,
    },
    /// The response is not valid HTTP.
    #[error("the upstream's response is not valid HTTP")]
    Unreadable {
        /// Cause.
        source: ResponseError,
    },
    /// The client stopped sending its request body.
    #[error("the client stopped sending its request body")]
    UploadTimeout,
}

impl Coded for ForwardError {
    fn coded(&self) -> Code {
        match self {
            Self::Ambiguous { .. } => Code::refused("upstream.ambiguous"),
            Self::BodyBroken { .. } => Code::refused("request.body_broken"),
            Self::BodyTooLarge => Code::refused("request.body_too_large"),
            Self::Busy => Code::refused("upstream.connection_limit"),
            Self::Connect { .. } => Code::refused("upstream.connect"),
            Self::ConnectTimeout => Code::refused("upstream.connect_timeout"),
            Self::HeaderTooLarge { .. } => Code::refused("upstream.header_too_large"),
            Self::ResponseTimeout => Code::refused("upstream.response_timeout"),
            Self::Unanswered { .. } => Code::refused("upstream.unanswered"),
            Self::Unreadable { .. } => Code::refused("upstream.unreadable"),
            Self::UploadTimeout => Code::refused("request.body_timeout"),
        }
    }
}
