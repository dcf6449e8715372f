//! One file written durably.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::durability::sync_directory;
use super::error::FileError;
use super::paths::{occupied, parent};
use super::staged::{Access, Placement, Staged};

/// Tag of the temporary file of [`write()`].
const WRITE_TAG: &str = "new";

/// Write one file durably: staged, synced, placed, its directory synced.
///
/// Only one process at a time may write the file. A temporary file that a crash left behind is removed.
///
/// # Errors
/// [`FileError`]; the old file, if any, is then unchanged.
pub fn write(path: &Path, access: Access, placement: Placement, contents: &[u8]) -> Result<(), FileError> {
    write_with(path, access, placement, |file| file.write_all(contents))
}

/// [`write()`] for contents that `fill` streams, so that they need not fit into memory.
///
/// # Errors
/// [`FileError`]; the old file, if any, is then unchanged.
pub fn write_with(
    path: &Path,
    access: Access,
    placement: Placement,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), FileError> {
    if placement == Placement::New && occupied(path) {
        return Err(FileError::Exists { path: path.to_owned() });
    }
    drop(Staged::adopt(path, WRITE_TAG));
    let staged = Staged::create_with(path, WRITE_TAG, access, fill)?;
    staged.sync()?;
    staged.place(placement)?;
    sync_directory(parent(path))
}

/// Create an empty file with mode 0600, for a library that fills files itself.
///
/// # Errors
/// [`FileError::Exists`] when the name is taken, by a dangling symbolic link too.
pub fn create_private(path: &Path) -> Result<(), FileError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(FileError::Exists { path: path.to_owned() })
        }
        Err(source) => Err(FileError::io("write", path, source)),
    }
}

/// Create a directory and its missing parents with mode 0700. Existing directories keep their mode.
///
/// # Errors
/// [`FileError`] when a directory cannot be created.
pub fn make_private_directory(path: &Path) -> Result<(), FileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| FileError::io("create the directory", path, source))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::error::Coded;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    fn names(path: &Path) -> Vec<String> {
        fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_private_file_is_private_and_a_public_one_public() {
        let dir = tempfile::tempdir().unwrap();
        let (key, crt) = (dir.path().join("a.key"), dir.path().join("a.crt"));
        write(&key, Access::Private, Placement::New, b"k").unwrap();
        write(&crt, Access::Public, Placement::New, b"c").unwrap();
        assert_eq!((mode(&key), mode(&crt)), (0o600, 0o644));
    }

    #[test]
    fn nothing_is_overwritten_unasked_not_even_a_dangling_link() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        std::os::unix::fs::symlink("/nonexistent/target", &path).unwrap();
        assert_eq!(write(&path, Access::Private, Placement::New, b"x").unwrap_err().code(), "file.exists");
        let staged = Staged::create(&path, "t", Access::Private, b"x").unwrap();
        assert_eq!(staged.place(Placement::New).unwrap_err().code(), "file.exists");
        assert_eq!(names(dir.path()), ["a.key"], "no temporary file stays");
    }

    #[test]
    fn replacing_is_one_step_and_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.crt");
        write(&path, Access::Public, Placement::New, b"old").unwrap();
        write(&path, Access::Public, Placement::Replace, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["a.crt"]);
    }
}
