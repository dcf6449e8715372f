//! Directory and file system sync.

use std::fs::File;
use std::io;
use std::path::Path;

use super::error::FileError;

/// Make the names in a directory durable (`fsync`).
///
/// # Errors
/// [`FileError`] when the disk fails.
pub fn sync_directory(path: &Path) -> Result<(), FileError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| FileError::io("write to", path, source))
}

/// Make everything on the file system of `path` durable (`syncfs`): one call for a batch of files.
///
/// # Errors
/// [`FileError`] when the disk fails.
pub fn sync_filesystem(path: &Path) -> Result<(), FileError> {
    File::open(path)
        .and_then(|directory| rustix::fs::syncfs(&directory).map_err(io::Error::from))
        .map_err(|source| FileError::io("write to", path, source))
}
