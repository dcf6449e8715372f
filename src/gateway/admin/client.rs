//! The other end of the admin socket: one question, one answer.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::request::{DEFAULT_SOCKET, Request};
use crate::error::{Class, Code, Coded};
use crate::files::FileError;
use crate::gateway::config::Config;
use crate::yaml::YamlProblem;

/// How long an answer may take: as long as loading everything again.
const PATIENCE: Duration = Duration::from_secs(60);

const CONFIGURATION: Code = Code::refused("gateway.configuration");
const NO_SOCKET: Code = Code::refused("admin.no_socket");
const UNREACHABLE: Code = Code::environment("admin.unreachable");

/// Asks the gateway that listens on `socket`; gives the result.
///
/// # Errors
/// [`ClientError`] when it cannot be asked, or refuses.
pub fn ask(socket: &Path, request: &Request) -> Result<Value, ClientError> {
    let unreachable = |source| ClientError::Unreachable { path: socket.to_owned(), source };
    let mut answer = exchange(socket, request).map_err(unreachable)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match (answer["ok"].as_bool(), answer["result"].take()) {
        (Some(true), result) => Ok(result),
        (Some(false), _) => {
            let error = &answer["error"];
            Err(ClientError::Refused {
                code: text(&error["code"]),
                class: serde_json::from_value(error["class"].clone()).unwrap_or_default(),
                message: text(&error["message"]),
                causes: error["causes"].as_array().into_iter().flatten().map(text).collect(),
            })
        }
        (None, _) => Err(unreachable(io::ErrorKind::InvalidData.into())),
    }
}

fn exchange(socket: &Path, request: &Request) -> io::Result<Value> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

/// The socket that the configuration in `config` names. Nothing else of it is read: a gateway is asked above
/// all when something is wrong with its files.
///
/// # Errors
/// [`ClientError`] when it names none, or cannot be read.
pub fn socket_of(config: &Path) -> Result<PathBuf, ClientError> {
    let admin = Config::admin_of(config, &Config::read(config)?)
        .map_err(|problems| ClientError::Configuration { path: config.to_owned(), problems })?;
    admin.ok_or_else(|| ClientError::NoSocket { path: config.to_owned() })
}

/// The socket of a gateway about which nothing is said.
#[must_use]
pub fn default_socket() -> PathBuf {
    PathBuf::from(DEFAULT_SOCKET)
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The configuration has problems.
    #[error("the configuration {} has problems", path.display())]
    Configuration {
        /// The file.
        path: PathBuf,
        /// All of them, in the order of the file.
        problems: Vec<YamlProblem>,
    },
    /// The configuration cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The configuration names no socket.
    #[error("the configuration {} has no `admin` socket", path.display())]
    NoSocket {
        /// The file.
        path: PathBuf,
    },
    /// The gateway refuses.
    #[error("{message}")]
    Refused {
        /// The code of its error, which the gateway alone knows.
        code: String,
        /// The class of its error; [`Class::Refused`] where an older gateway does not say.
        class: Class,
        /// What it says.
        message: String,
        /// Why.
        causes: Vec<String>,
    },
    /// No gateway answers there.
    #[error("no gateway answers on {}", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl ClientError {
    /// The code, which a gateway may have given.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Configuration { .. } => CONFIGURATION.name(),
            Self::File(error) => error.code(),
            Self::NoSocket { .. } => NO_SOCKET.name(),
            Self::Refused { code, .. } => code,
            Self::Unreachable { .. } => UNREACHABLE.name(),
        }
    }

    /// The class, which decides on the exit code.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Configuration { .. } => CONFIGURATION.class(),
            Self::File(error) => error.class(),
            Self::NoSocket { .. } => NO_SOCKET.class(),
            Self::Refused { class, .. } => *class,
            Self::Unreachable { .. } => UNREACHABLE.class(),
        }
    }

    /// What led to it, the nearest first.
    #[must_use]
    pub fn causes(&self) -> Vec<String> {
        match self {
            Self::Configuration { problems, .. } => problems.iter().map(ToString::to_string).collect(),
            Self::File(error) => error.source().map(ToString::to_string).into_iter().collect(),
            Self::NoSocket { .. } => Vec::new(),
            Self::Refused { causes, .. } => causes.clone(),
            Self::Unreachable { source, .. } => vec![source.to_string()],
        }
    }
}
