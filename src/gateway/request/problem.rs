//! Problem of a request: its HTTP status (RFC 9110), the side at fault, and a stable code.

use http::StatusCode;

use crate::error::{Code, Coded};
use crate::gateway::control::error::PushError;
use crate::gateway::message::framing::FramingError;
use crate::gateway::message::path::PathError;
use crate::gateway::policy::{Denial, DenyReason};
use crate::gateway::sessions::command::CutReason;
use crate::gateway::tokens::TokenLoadError;
use crate::gateway::upstream::assertion::AssertionError;
use crate::gateway::upstream::error::ForwardError;
use crate::revocation::CrlError;
use crate::tokens::{StatementError, TokenError};

/// Reason to answer a request with an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestProblem {
    /// The assertion for the upstream cannot be signed.
    #[error(transparent)]
    Assertion(#[from] AssertionError),
    /// The request body ended early.
    #[error("the body ended early")]
    BodyBroken,
    /// The body exceeds the limit of the route.
    #[error("the body is larger than {at_most} bytes")]
    BodyTooLarge {
        /// Limit, in bytes.
        at_most: u64,
    },
    /// The connection is being closed.
    #[error("the connection is being closed: {}", .0.code())]
    Cut(CutReason),
    /// The policy denies the request.
    #[error("{}", .0.reason)]
    Denied(Denial),
    /// The upstream sent no response.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The message framing is ambiguous.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// A task of the gateway panicked.
    #[error("internal error of the gateway")]
    Internal,
    /// The request has passed this gateway too often.
    #[error("the request has passed this gateway too often: two services forward to each other")]
    Loop,
    /// The gateway's own resource does not support the method.
    #[error("this resource supports only {allow}")]
    MethodNotAllowed {
        /// Value of the `Allow` header.
        allow: &'static str,
    },
    /// The host is neither that of the TLS handshake (SNI) nor one of the gateway's names.
    #[error("the request is for {host}, and {}", connected(server_name.as_deref()))]
    Misdirected {
        /// Host of the request.
        host: String,
        /// Server name of the handshake, if the client sent one.
        server_name: Option<String>,
    },
    /// The gateway has no such resource.
    #[error("the gateway has no such resource")]
    NotFound,
    /// The path is ambiguous.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A pushed CRL is refused.
    #[error(transparent)]
    Push(#[from] PushError),
    /// The request has several fields with credentials.
    #[error("the request has several Authorization fields")]
    SeveralCredentials,
    /// The access token is refused.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The caller has reached its limit of requests in flight.
    #[error("the caller has reached its limit of requests in flight")]
    TooManyRequests,
}

/// Side at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Fault of the client.
    Downstream,
    /// Fault of the gateway, logged with causes.
    Internal,
    /// Fault of the upstream: a 502 or 504.
    Upstream,
}

fn connected(server_name: Option<&str>) -> String {
    match server_name {
        Some(name) => format!("the TLS connection for {name}"),
        None => {
            "the TLS connection names no host: only those of the gateway's certificate are served".to_owned()
        }
    }
}

impl RequestProblem {
    /// Side at fault.
    #[must_use]
    pub fn side(&self) -> Side {
        match self.status() {
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Side::Upstream,
            // A client over its limit must not flood the log.
            _ if matches!(self, Self::TooManyRequests) => Side::Downstream,
            status if status.is_server_error() => Side::Internal,
            _ => Side::Downstream,
        }
    }

    /// HTTP status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BodyTooLarge { .. } | Self::Forward(ForwardError::BodyTooLarge) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Cut(CutReason::HeaderTimeout) => StatusCode::REQUEST_TIMEOUT,
            // The client's certificate is still valid.
            Self::Cut(
                CutReason::CancelledRequests | CutReason::Operator | CutReason::Shutdown | CutReason::Stalled,
            )
            | Self::Forward(ForwardError::Busy)
            | Self::TooManyRequests => StatusCode::SERVICE_UNAVAILABLE,
            Self::Cut(_) => StatusCode::UNAUTHORIZED,
            Self::Denied(denial) if denial.reason == DenyReason::CertificateMissing => {
                StatusCode::UNAUTHORIZED
            }
            Self::Denied(denial) if denial.reason == DenyReason::ContentNotAllowed => StatusCode::BAD_REQUEST,
            Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::BodyBroken | Self::Forward(ForwardError::BodyBroken { .. }) => StatusCode::BAD_REQUEST,
            Self::Forward(ForwardError::UploadTimeout) => StatusCode::REQUEST_TIMEOUT,
            Self::Forward(ForwardError::ConnectTimeout | ForwardError::ResponseTimeout) => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::Forward(_) => StatusCode::BAD_GATEWAY,
            Self::Framing(error) => error.status(),
            Self::Assertion(_) | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Misdirected { .. } => StatusCode::MISDIRECTED_REQUEST,
            Self::SeveralCredentials => StatusCode::BAD_REQUEST,
            Self::Token(_) => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Path(error) => error.status(),
            Self::Push(error) => match error {
                PushError::Crl(CrlError::Rollback { .. } | CrlError::NumberReused { .. })
                | PushError::NoStateDirectory
                | PushError::RevocationDisabled => StatusCode::CONFLICT,
                PushError::NotKept { .. } => StatusCode::INTERNAL_SERVER_ERROR,
                PushError::Busy => StatusCode::TOO_MANY_REQUESTS,
                PushError::Statement(TokenLoadError::Statement(
                    StatementError::Rollback { .. } | StatementError::NumberReused { .. },
                ))
                | PushError::TokensDisabled => StatusCode::CONFLICT,
                PushError::Statement(_) => StatusCode::UNPROCESSABLE_ENTITY,
                PushError::TooMany { .. } | PushError::Unreadable { .. } => StatusCode::BAD_REQUEST,
                PushError::Crl(_) | PushError::Stale { .. } | PushError::State(_) => {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
            },
        }
    }
}

impl Coded for RequestProblem {
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
            Self::Loop => Code::refused("request.loop"),
            Self::MethodNotAllowed { .. } => Code::refused("request.method_not_allowed"),
            Self::Misdirected { .. } => Code::refused("request.misdirected"),
            Self::NotFound => Code::refused("request.not_found"),
            Self::Path(error) => error.coded(),
            Self::Push(error) => error.coded(),
            Self::SeveralCredentials => Code::refused("request.several_credentials"),
            Self::Token(error) => error.coded(),
            Self::TooManyRequests => Code::refused("request.identity_limit"),
        }
    }
}
