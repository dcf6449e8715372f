//! Errors of reading an upstream's response.

use std::io;

/// Response that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// The end of the body depends on the reader.
    #[error("{reason}")]
    Ambiguous {
        /// Ambiguity of the head.
        reason: &'static str,
    },
    /// The connection was closed before the end.
    #[error("the connection was closed in the middle of a message")]
    Incomplete,
    /// The connection failed.
    #[error("the connection failed")]
    Io {
        /// System error.
        #[from]
        source: io::Error,
    },
    /// The bytes are not HTTP/1.1.
    #[error("{reason}")]
    Malformed {
        /// Rule that they break.
        reason: &'static str,
    },
    /// The head has too many fields, or is too long.
    #[error("the head has too many fields, or is too long")]
    TooLarge,
}

impl From<httparse::Error> for ResponseError {
    fn from(error: httparse::Error) -> Self {
        let reason = match error {
            httparse::Error::TooManyHeaders => return Self::TooLarge,
            httparse::Error::HeaderName => "a field has an invalid name",
            httparse::Error::HeaderValue => "a field has an invalid value",
            httparse::Error::NewLine => "a line does not end with CR and LF",
            httparse::Error::Status => "the status line is invalid",
            httparse::Error::Token => "a token is invalid",
            httparse::Error::Version => "the version is not HTTP/1.0 or HTTP/1.1",
        };
        Self::Malformed { reason }
    }
}
