//! Client of the admin socket: one request, one response.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::request::{AdminRequest, DEFAULT_SOCKET};
use crate::error::{Class, Code, Coded};
use crate::files::FileError;
use crate::gateway::config::Config;
use crate::yaml::YamlProblem;

/// Time to wait for the response. A reload may need that long.
const TIMEOUT: Duration = Duration::from_secs(60);

const CONFIGURATION: Code = Code::refused("gateway.configuration");
const NO_SOCKET: Code = Code::refused("admin.no_socket");
const UNREACHABLE: Code = Code::environment("admin.unreachable");

/// Send a request to the gateway that listens on `socket`, and return its result.
///
/// # Errors
/// [`AdminClientError`] if the gateway cannot be reached or refuses.
pub fn ask(socket: &Path, request: &AdminRequest) -> Result<Value, AdminClientError> {
    let unreachable = |source| AdminClientError::Unreachable { path: socket.to_owned(), source };
    let mut answer = exchange(socket, request).map_err(unreachable)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match (answer["ok"].as_bool(), answer["result"].take()) {
        (Some(true), result) => Ok(result),
        (Some(false), _) => {
            let error = &answer["error"];
            Err(AdminClientError::Refused {
                code: text(&error["code"]),
                class: serde_json::from_value(error["class"].clone()).unwrap_or_default(),
                message: text(&error["message"]),
                causes: error["causes"].as_array().into_iter().flatten().map(text).collect(),
            })
        }
        (None, _) => Err(unreachable(io::ErrorKind::InvalidData.into())),
    }
}

fn exchange(socket: &Path, request: &AdminRequest) -> io::Result<Value> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

/// Path of the admin socket from the configuration in `config`. The rest of the file is not checked, since
/// the admin socket is used most when the configuration has errors.
///
/// # Errors
/// [`AdminClientError`] if the file cannot be read or has no `admin` socket.
pub fn socket_of(config: &Path) -> Result<PathBuf, AdminClientError> {
    let admin = Config::admin_of(config, &Config::read(config)?)
        .map_err(|problems| AdminClientError::Configuration { path: config.to_owned(), problems })?;
    admin.ok_or_else(|| AdminClientError::NoSocket { path: config.to_owned() })
}

/// Default path of the admin socket.
#[must_use]
pub fn default_socket() -> PathBuf {
    PathBuf::from(DEFAULT_SOCKET)
}

/// Failed request on the admin socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminClientError {
    /// The configuration has problems.
    #[error("the configuration {} has problems", path.display())]
    Configuration {
        /// Configuration file.
        path: PathBuf,
        /// All problems, in the order of the file.
        problems: Vec<YamlProblem>,
    },
    /// The configuration cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The configuration names no socket.
    #[error("the configuration {} has no `admin` socket", path.display())]
    NoSocket {
        /// Configuration file.
        path: PathBuf,
    },
    /// The gateway refuses the request.
    #[error("{message}")]
    Refused {
        /// Code of the error, as sent by the gateway.
        code: String,
        /// Class of the error. An older gateway sends none, which counts as [`Class::Refused`].
        class: Class,
        /// Error message.
        message: String,
        /// Causes of the error.
        causes: Vec<String>,
    },
    /// No gateway answers on the socket.
    #[error("no gateway answers on {}", path.display())]
    Unreachable {
        /// Path of the socket.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

impl AdminClientError {
    /// Code of the error; a refusal has the code sent by the gateway.
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

    /// Class of the error, which gives the exit code.
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

    /// Causes of the error, the nearest first.
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
