//! Errors of a server while it starts and reloads.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::accounts::AccountError;
use crate::ca::{CaError, ServiceCertificateError, TlsPairError};
use crate::error::{Code, Coded};
use crate::files::FileError;
use crate::keys::KeyError;
use crate::mtls::ServerCertificateError;
use crate::mtls::crl::CrlLoadError;
use crate::mtls::tls::TlsError;
use crate::yaml::YamlProblem;

/// Error of starting or reloading a server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The accounts, or the key for tokens.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The access log cannot be opened.
    #[error("cannot use the access log {}", path.display())]
    AccessLog {
        /// Access log.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A listening socket cannot be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// Address of the socket.
        address: SocketAddr,
        /// Cause.
        source: io::Error,
    },
    /// The home cannot be used.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// The configuration has problems.
    #[error("the configuration {} has {} problem{}", path.display(), problems.len(), if problems.len() == 1 { "" } else { "s" })]
    Configuration {
        /// Configuration file.
        path: PathBuf,
        /// All problems, in the order of the file.
        problems: Vec<YamlProblem>,
    },
    /// The CRL of the home cannot be used.
    #[error(transparent)]
    Crl(#[from] CrlLoadError),
    /// The operating system refused a thread, a signal or a runtime.
    #[error("cannot run a server")]
    Environment {
        /// Cause.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key of the server certificate cannot be opened.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The server certificate is refused by the rules for peers.
    #[error(transparent)]
    OwnCertificate(#[from] ServerCertificateError),
    /// The server certificate cannot be issued, renewed or used.
    #[error(transparent)]
    ServiceCertificate(#[from] ServiceCertificateError),
    /// The certificate that was set for the server cannot be read.
    #[error(transparent)]
    TlsPair(#[from] TlsPairError),
    /// rustls refuses the configuration.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Coded for ServerError {
    fn coded(&self) -> Code {
        match self {
            Self::Account(error) => error.coded(),
            Self::AccessLog { .. } => Code::environment("server.access_log"),
            Self::Bind { .. } => Code::unavailable("server.bind"),
            Self::Ca(error) => error.coded(),
            Self::Configuration { .. } => Code::refused("server.configuration"),
            Self::Crl(error) => error.coded(),
            Self::Environment { .. } => Code::environment("server.environment"),
            Self::File(error) => error.coded(),
            Self::Key(error) => error.coded(),
            Self::OwnCertificate(error) => error.coded(),
            Self::ServiceCertificate(error) => error.coded(),
            Self::TlsPair(error) => error.coded(),
            Self::Tls(error) => error.coded(),
        }
    }
}
