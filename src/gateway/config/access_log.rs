//! Destination of the access log.

use std::path::{Path, PathBuf};

use super::reader::Item;
use super::values::{file, in_directory};

/// Destination of the line that each request is logged with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessLog {
    /// Appended to a file.
    File(PathBuf),
    /// Not logged.
    Off,
    /// Written to standard output.
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
