//! Errors of the commands that load a configuration.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::error::{Code, Coded};
use crate::files::FileError;
use crate::gateway::process::error::GatewayError;
use crate::x509::X509Error;
use crate::yaml::YamlProblem;

/// Error of a command that loads a configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The access log cannot be opened or read.
    #[error("cannot use the access log {}", path.display())]
    AccessLog {
        /// Access log.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The certificate to evaluate cannot be read.
    #[error("the certificate {} cannot be read", path.display())]
    Certificate {
        /// Certificate file.
        path: PathBuf,
        /// Cause.
        source: X509Error,
    },
    /// The configuration has problems.
    #[error("the configuration {} has {} problem{}", path.display(), problems.len(), if problems.len() == 1 { "" } else { "s" })]
    Configuration {
        /// Configuration file.
        path: PathBuf,
        /// All problems, in the order of the file.
        problems: Vec<YamlProblem>,
    },
    /// The system denies a resource that the process needs.
    #[error("the gateway cannot run on this system")]
    Environment {
        /// Cause.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The gateway cannot start.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The file to replay has no line of an access log.
    #[error("{} has no line of an access log", path.display())]
    NoAccessLog {
        /// File to replay.
        path: PathBuf,
    },
    /// The configuration has no such listener.
    #[error("the gateway does not listen on {}", address.map_or_else(|| "any address".to_owned(), |address| address.to_string()))]
    NoListener {
        /// Address asked for; `None` if the configuration has no listener at all.
        address: Option<SocketAddr>,
    },
}

impl Coded for RunError {
    fn coded(&self) -> Code {
        match self {
            Self::AccessLog { .. } => Code::environment("gateway.access_log"),
            Self::Certificate { source, .. } => source.coded(),
            Self::Configuration { .. } => Code::refused("gateway.configuration"),
            Self::Environment { .. } => Code::environment("gateway.environment"),
            Self::File(error) => error.coded(),
            Self::Gateway(error) => error.coded(),
            Self::NoAccessLog { .. } => Code::environment("gateway.no_access_log"),
            Self::NoListener { .. } => Code::usage("gateway.no_listener"),
        }
    }
}
