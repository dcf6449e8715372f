//! Errors of forwarding a request.

use std::io;

use crate::error::{Code, Coded};

/// Why there is no response from an upstream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// The response could be read in more than one way.
    #[error("the upstream's answer is refused: {why}")]
    Ambiguous {
        /// What is wrong with it.
        why: &'static str,
    },
    /// The caller's body failed on the way.
    #[error("the caller's body ended early")]
    BodyBroken {
        /// What hyper says.
        source: hyper::Error,
    },
    /// The body turned out larger than the route takes.
    #[error("the body is larger than this route takes")]
    BodyTooLarge,
    /// As many connections to the upstream are open as there may be.
    #[error("as many connections to the upstream are in use as there may be")]
    Busy,
    /// A connection just made was gone before it could be used.
    #[error("the upstream closed the connection at once")]
    Closed,
    /// No connection could be made.
    #[error("the upstream cannot be reached")]
    Connect {
        /// What the system says.
        source: io::Error,
    },
    /// No connection could be made in time.
    #[error("the upstream did not accept a connection in time")]
    ConnectTimeout,
    /// The response did not begin in time.
    #[error("the upstream did not answer in time")]
    ResponseTimeout,
    /// The connection ended before the response began.
    #[error("the upstream closed the connection without an answer")]
    Unanswered {
        /// What hyper says.
        source: hyper::Error,
    },
    /// What came is no HTTP response.
    #[error("the upstream's answer is not HTTP")]
    Unreadable {
        /// What hyper says.
        source: hyper::Error,
    },
    /// The caller stopped sending in the middle of its body.
    #[error("the caller's body stopped in the middle")]
    UploadTimeout,
}

impl Coded for ForwardError {
    fn coded(&self) -> Code {
        match self {
            Self::Ambiguous { .. } => Code::refused("upstream.ambiguous"),
            Self::BodyBroken { .. } => Code::refused("request.body_broken"),
            Self::BodyTooLarge => Code::refused("request.body_too_large"),
            Self::Busy => Code::refused("upstream.connection_limit"),
            Self::Closed => Code::refused("upstream.closed"),
            Self::Connect { .. } => Code::refused("upstream.connect"),
            Self::ConnectTimeout => Code::refused("upstream.connect_timeout"),
            Self::ResponseTimeout => Code::refused("upstream.response_timeout"),
            Self::Unanswered { .. } => Code::refused("upstream.unanswered"),
            Self::Unreadable { .. } => Code::refused("upstream.unreadable"),
            Self::UploadTimeout => Code::refused("request.body_timeout"),
        }
    }
}
