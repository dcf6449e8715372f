//! A request that the gateway answers itself: its status (RFC 9110), the side at fault, and a stable code.

use http::StatusCode;

use crate::error::{Code, Coded};
use crate::gateway::control::error::PushError;
use crate::gateway::message::framing::FramingError;
use crate::gateway::message::path::PathError;
use crate::gateway::policy::{Denial, DenyReason};
use crate::gateway::sessions::command::CutReason;
use crate::gateway::upstream::assertion::AssertionError;
use crate::gateway::upstream::error::ForwardError;
use crate::revocation::CrlError;

/// Why a request is not answered with what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// What the service behind is told about the caller cannot be signed.
    #[error(transparent)]
    Assertion(#[from] AssertionError),
    /// The caller's body failed on the way.
    #[error("the body ended early")]
    BodyBroken,
    /// The body is larger than the route takes.
    #[error("the body is larger than {at_most} bytes")]
    BodyTooLarge {
        /// How many bytes it takes.
        at_most: u64,
    },
    /// The connection is being cut.
    #[error("the connection is being closed: {}", .0.code())]
    Cut(CutReason),
    /// The policy refuses the call.
    #[error("{}", .0.reason)]
    Denied(Denial),
    /// There is no response from the upstream.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The message could be read in more than one way.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// A task of ours panicked.
    #[error("the gateway failed")]
    Internal,
    /// One of the gateway's own resources is not asked for so.
    #[error("this resource takes {allow} only")]
    MethodNotAllowed {
        /// What it takes.
        allow: &'static str,
    },
    /// The request is for another host than the one that the caller named in its handshake; or it named none,
    /// and the host is none of ours.
    #[error("the request is for another host than the TLS connection")]
    Misdirected,
    /// The gateway has no such resource.
    #[error("the gateway has no such resource")]
    NotFound,
    /// The path could be read in more than one way.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A pushed CRL is not taken.
    #[error(transparent)]
    Push(#[from] PushError),
    /// The caller has as many requests under way as it may have.
    #[error("the caller has as many requests under way as it may have")]
    TooManyRequests,
}

/// Whose fault a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The caller's.
    Downstream,
    /// The gateway's own.
    Internal,
    /// The service's behind.
    Upstream,
}

impl Problem {
    /// Whose fault it is.
    #[must_use]
    pub fn side(&self) -> Side {
        match self.status() {
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Side::Upstream,
            // The caller does too much, and a line for each would do as much to our own log.
            _ if matches!(self, Self::TooManyRequests) => Side::Downstream,
            status if status.is_server_error() => Side::Internal,
            _ => Side::Downstream,
        }
    }

    /// The status that the caller gets.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BodyTooLarge { .. } | Self::Forward(ForwardError::BodyTooLarge) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Cut(CutReason::HeaderTimeout) => StatusCode::REQUEST_TIMEOUT,
            // These say nothing against the caller's certificate.
            Self::Cut(
                CutReason::CancelledRequests | CutReason::Operator | CutReason::Shutdown | CutReason::Stalled,
            )
            | Self::Forward(ForwardError::Busy)
            | Self::TooManyRequests => StatusCode::SERVICE_UNAVAILABLE,
            Self::Cut(_) => StatusCode::UNAUTHORIZED,
            Self::Denied(denial) if denial.reason == DenyReason::CertificateMissing => {
                StatusCode::UNAUTHORIZED
            }
            Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::BodyBroken | Self::Forward(ForwardError::BodyBroken { .. }) => StatusCode::BAD_REQUEST,
            Self::Forward(ForwardError::UploadTimeout) => StatusCode::REQUEST_TIMEOUT,
            Self::Forward(ForwardError::ConnectTimeout | ForwardError::ResponseTimeout) => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::Forward(_) => StatusCode::BAD_GATEWAY,
            Self::Framing(error) => error.status(),
            Self::Assertion(_) | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Path(error) => error.status(),
            Self::Push(error) => match error {
                PushError::Crl(CrlError::Rollback { .. } | CrlError::NumberReused { .. })
                | PushError::NoStateDirectory
                | PushError::RevocationDisabled => StatusCode::CONFLICT,
                PushError::NotKept { .. } => StatusCode::INTERNAL_SERVER_ERROR,
                PushError::Busy => StatusCode::TOO_MANY_REQUESTS,
                PushError::TooMany { .. } | PushError::Unreadable { .. } => StatusCode::BAD_REQUEST,
                PushError::Crl(_) | PushError::Stale { .. } | PushError::State(_) => {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
            },
        }
    }
}

impl Coded for Problem {
    fn coded(&self) -> Code {
        match self {
            Self::Assertion(error) => error.coded(),
            Self::BodyBroken => Code::refused("request.body_broken"),
            Self::BodyTooLarge { .. } => Code::refused("request.body_too_large"),
            Self::Cut(reason) => reason.coded(),
            Self::Denied(denial) => denial.reason.coded(),
            Self::Forward(error) => error.coded(),
            Self::Framing(error) => error.coded(),
            Self::Internal => Code::environment("gateway.internal"),
            Self::MethodNotAllowed { .. } => Code::refused("request.method_not_allowed"),
            Self::Misdirected => Code::refused("request.misdirected"),
            Self::NotFound => Code::refused("request.not_found"),
            Self::Path(error) => error.coded(),
            Self::Push(error) => error.coded(),
            Self::TooManyRequests => Code::refused("request.identity_limit"),
        }
    }
}
