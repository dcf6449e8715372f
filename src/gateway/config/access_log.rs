//! Destination of the access log.

use std::path::{Path, PathBuf};

use crate::gateway::config::reader::Item;
use crate::gateway::config::values::{file, in_directory};

/// Where a line for each request goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessLog {
    /// To a file, at its end.
    File(PathBuf),
    /// Nowhere.
    Off,
    /// To standard output.
    #[default]
    Stdout,
}

pub(super) fn access_log(item: &Item<'_>, base: &Path) -> Option<AccessLog> {
    match item.text()? {
        "stdout" => Some(AccessLog::Stdout),
        "off" => Some(AccessLog::Off),
        _ => file(item, base, in_directory).map(AccessLog::File),
    }
}
