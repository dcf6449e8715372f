//! Loading of the configuration, state and access log of a command.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::Clock;
use crate::gateway::config::Config;
use crate::gateway::process::error::GatewayError;
use crate::gateway::process::run_error::RunError;
use crate::gateway::state::{Loader, State};
use crate::mtls::keys::KeyOpener;
use crate::serving::access_log::AccessLog;
use crate::serving::line_log::Destination;

/// Read the configuration at `path`, which only its owner may be able to write.
pub(crate) fn load(path: &Path) -> Result<Config, RunError> {
    let bytes = Config::read_guarded(path)?;
    Config::of_file(path, &bytes)
        .map_err(|problems| RunError::Configuration { path: path.to_owned(), problems })
}

/// Read the configuration at `path` without the checks of owner and mode, to evaluate decisions only.
pub(crate) fn load_unguarded(path: &Path) -> Result<Config, RunError> {
    let bytes = Config::read(path)?;
    Config::of_file_offline(path, &bytes)
        .map_err(|problems| RunError::Configuration { path: path.to_owned(), problems })
}

/// Load all files of `config` except the private keys, as a starting gateway would.
pub(crate) fn load_state(config: &Config, clock: &Arc<dyn Clock>) -> Result<State, RunError> {
    Ok(loader(clock).without_keys(config).map_err(GatewayError::from)?)
}

pub(in crate::gateway) fn loader(clock: &Arc<dyn Clock>) -> Loader {
    Loader::new(Arc::clone(clock), None, 1, KeyOpener::new(Arc::clone(clock)))
}

/// Open the access log; `None` if it is off.
pub(in crate::gateway) fn open_access_log(
    access_log: &AccessLog,
) -> Result<Option<Box<dyn Destination>>, RunError> {
    access_log.open().map_err(|source| RunError::AccessLog {
        path: match access_log {
            AccessLog::File(path) => path.clone(),
            AccessLog::Off | AccessLog::Stdout => PathBuf::new(),
        },
        source,
    })
}
