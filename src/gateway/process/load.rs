//! Configuration, state and access log for the commands of the gateway.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::clock::Clock;
use crate::gateway::config::{AccessLog, Config};
use crate::gateway::process::error::GatewayError;
use crate::gateway::process::run_error::RunError;
use crate::gateway::state::{Loader, State};
use crate::gateway::telemetry::line_log::Destination;
use crate::gateway::telemetry::log_file::LogFile;
use crate::mtls::keys::KeyOpener;

/// Reads the configuration in `path`.
pub(crate) fn load(path: &Path) -> Result<Config, RunError> {
    let bytes = Config::read_guarded(path)?;
    Config::of_file(path, &bytes)
        .map_err(|problems| RunError::Configuration { path: path.to_owned(), problems })
}

/// Reads the configuration in `path` for whoever only asks what it would decide.
pub(crate) fn load_to_ask(path: &Path) -> Result<Config, RunError> {
    let bytes = Config::read(path)?;
    Config::of_file_offline(path, &bytes)
        .map_err(|problems| RunError::Configuration { path: path.to_owned(), problems })
}

/// Loads everything that `config` names but the keys, as a gateway that starts now would.
pub(crate) fn load_state(config: &Config, clock: &Arc<dyn Clock>) -> Result<State, RunError> {
    Ok(loader(clock).without_keys(config).map_err(GatewayError::from)?)
}

pub(in crate::gateway) fn loader(clock: &Arc<dyn Clock>) -> Loader {
    Loader::new(Arc::clone(clock), None, 1, KeyOpener::new(Arc::clone(clock)))
}

pub(in crate::gateway) fn open(access_log: &AccessLog) -> Result<Box<dyn Destination>, RunError> {
    Ok(match access_log {
        AccessLog::File(path) => {
            let failed = |source| RunError::AccessLog { path: path.clone(), source };
            Box::new(LogFile::open(path.clone()).map_err(failed)?)
        }
        AccessLog::Off => Box::new(io::sink()),
        AccessLog::Stdout => Box::new(io::stdout()),
    })
}
