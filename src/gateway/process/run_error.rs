//! Errors of the commands that load a configuration.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::error::{Code, Coded};
use crate::files::FileError;
use crate::gateway::process::error::GatewayError;
use crate::x509::X509Error;
use crate::yaml::YamlProblem;

/// Why a gateway does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The access log cannot be written, or read.
    #[error("cannot use the access log {}", path.display())]
    AccessLog {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A certificate to be judged is none.
    #[error("the certificate {} cannot be read", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: X509Error,
    },
    /// The configuration has problems.
    #[error("the configuration {} has {} problem{}", path.display(), problems.len(), if problems.len() == 1 { "" } else { "s" })]
    Configuration {
        /// The file.
        path: PathBuf,
        /// All of them, in the order of the file.
        problems: Vec<YamlProblem>,
    },
    /// The system does not give what a process needs.
    #[error("the gateway cannot run here")]
    Environment {
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It does not start.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// What is to be replayed is none.
    #[error("{} has no line of an access log", path.display())]
    NoAccessLog {
        /// The file.
        path: PathBuf,
    },
    /// The configuration has no such listener.
    #[error("the gateway does not listen on {}", address.map_or_else(|| "any address".to_owned(), |address| address.to_string()))]
    NoListener {
        /// The address.
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
