//! Destination of the access log.

use std::io;
use std::path::{Path, PathBuf};

use super::line_log::Destination;
use super::log_file::LogFile;
use crate::yaml::reader::Item;
use crate::yaml::values::{file, in_directory};

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

impl AccessLog {
    /// Open the destination; `None` if the log is off.
    ///
    /// # Errors
    /// The error of the system for a file.
    pub fn open(&self) -> io::Result<Option<Box<dyn Destination>>> {
        Ok(match self {
            Self::File(path) => Some(Box::new(LogFile::open(path.clone())?)),
            Self::Off => None,
            Self::Stdout => Some(Box::new(io::stdout())),
        })
    }
}

/// Read `stdout`, `off`, or the path of a file whose directory exists.
pub(crate) fn access_log(item: &Item<'_>, base: &Path) -> Option<AccessLog> {
    match item.text()? {
        "stdout" => Some(AccessLog::Stdout),
        "off" => Some(AccessLog::Off),
        _ => file(item, base, in_directory).map(AccessLog::File),
    }
}
