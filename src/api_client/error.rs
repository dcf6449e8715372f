//! Failures of calls to the server.

use std::io;

use crate::error::{Class, Code, Coded};
use crate::files::FileError;
use crate::x509::X509Error;

/// A call to the server that failed or was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiClientError {
    /// The CA certificates that the server is verified with cannot be read.
    #[error(transparent)]
    CaCertificate(#[from] X509Error),
    /// The token file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The token file is absent, and no token is in the environment.
    #[error("not logged in")]
    NotLoggedIn,
    /// The answer is not one of this server's API.
    #[error("{server} gave an answer that is not of the API")]
    Protocol {
        /// URL of the server.
        server: String,
    },
    /// The server refused the request.
    #[error("{detail}")]
    Refused {
        /// Code that the server gave.
        code: String,
        /// HTTP status.
        status: u16,
        /// Text that the server gave.
        detail: String,
    },
    /// The token file has another form.
    #[error("the token file is not one that this program writes")]
    TokenFile,
    /// The certificate of the server is not trusted.
    #[error("the certificate of {server} is refused: {why}")]
    Untrusted {
        /// URL of the server.
        server: String,
        /// Reason.
        why: String,
    },
    /// The server does not answer.
    #[error("{server} does not answer")]
    Unavailable {
        /// URL of the server.
        server: String,
        /// Error of the transport.
        source: io::Error,
    },
    /// Not a URL of a server.
    #[error("`{given}` is not the URL of a server: write https://HOST:PORT")]
    Url {
        /// Rejected text, escaped.
        given: String,
    },
}

impl ApiClientError {
    /// Code and class that the server gave with its refusal.
    #[must_use]
    pub fn refusal(&self) -> Option<(&str, Class)> {
        match self {
            Self::Refused { code, status, .. } => {
                let class =
                    if *status >= 500 || *status == 429 { Class::Unavailable } else { Class::Refused };
                Some((code, class))
            }
            _ => None,
        }
    }
}

impl Coded for ApiClientError {
    fn coded(&self) -> Code {
        match self {
            Self::CaCertificate(error) => error.coded(),
            Self::File(error) => error.coded(),
            Self::NotLoggedIn => Code::refused("api.not_logged_in"),
            Self::Protocol { .. } => Code::unavailable("api.protocol"),
            Self::Refused { .. } => Code::refused("api.refused"),
            Self::TokenFile => Code::environment("api.token_file"),
            Self::Untrusted { .. } => Code::unavailable("api.untrusted"),
            Self::Unavailable { .. } => Code::unavailable("api.unavailable"),
            Self::Url { .. } => Code::usage("input.server_url"),
        }
    }
}
