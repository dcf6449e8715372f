//! Functions of the server that `cluster-ca serve` calls. No face imports another: the binary hands them over.

use std::fmt;
use std::path::PathBuf;

use crate::ca::{Context, Home};
use crate::file_schema::FileSchema;
use crate::profile::ProfileSet;
use crate::terminal::report::{CommandResult, Failure};

/// Entry points of the server, and its configuration file.
#[derive(Clone, Copy)]
pub struct ServerFunctions {
    /// Serve until a signal.
    pub(crate) serve: fn(ServeRequest) -> Result<(), Failure>,
    /// Check the configuration and the home.
    pub(crate) check: fn(ServeRequest) -> CommandResult,
    /// Keys of the configuration file.
    pub(crate) file: &'static FileSchema,
}

/// Home and configuration of a server.
#[derive(Debug)]
pub(crate) struct ServeRequest {
    pub(crate) config: PathBuf,
    pub(crate) home: Home,
    pub(crate) context: Context,
    pub(crate) profiles: ProfileSet,
    /// True to log more.
    pub(crate) verbose: bool,
}

impl fmt::Debug for ServerFunctions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerFunctions").finish_non_exhaustive()
    }
}
