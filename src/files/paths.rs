//! Path helpers and directory listings.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::FileError;

/// True if the name is taken, by a dangling symbolic link too.
#[must_use]
pub fn occupied(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Make a path absolute, with its symbolic links resolved as far as it exists.
///
/// # Errors
/// [`FileError`] when it cannot be resolved.
pub fn absolute(path: &Path) -> Result<PathBuf, FileError> {
    match (fs::canonicalize(path), path.file_name()) {
        (Err(error), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
            Ok(absolute(parent(path))?.join(name))
        }
        (resolved, _) => resolved.map_err(|source| FileError::io("open", path, source)),
    }
}

/// List the entries of a directory, sorted by name. A missing directory has none.
///
/// # Errors
/// [`FileError`] when it cannot be read.
pub fn list(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    list_if(path, |_| true)
}

/// [`list`] for the entries whose names satisfy `is_wanted`.
///
/// # Errors
/// [`FileError`] when it cannot be read.
pub fn list_if(path: &Path, is_wanted: impl Fn(&OsStr) -> bool) -> Result<Vec<PathBuf>, FileError> {
    let unreadable = |source| FileError::io("read", path, source);
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(unreadable)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        if is_wanted(&entry.file_name()) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// The directory that contains `path`; `.` for a bare file name.
#[must_use]
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
