//! Bounded reads that never block on a FIFO.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::error::FileError;
use super::permissions::check_secret;
use crate::secret::Secret;

/// Size limit in bytes of configuration, certificate and key files; a trust bundle of a thousand roots is
/// smaller.
pub const SMALL_FILE: u64 = 4 << 20;

/// Size limit in bytes of a CRL file: room for some ten million entries.
pub const CRL_FILE: u64 = 1 << 30;

/// Read a regular file of at most `limit` bytes; symbolic links are followed.
///
/// # Errors
/// [`FileError`]: missing, not readable, not a regular file, or larger than `limit`.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let mut file = open_regular(path)?;
    read_all(&mut file, path, limit)
}

/// Refuse what [`read`] could not open: missing, not readable, or not a regular file.
///
/// # Errors
/// [`FileError`].
pub fn check_readable(path: &Path) -> Result<(), FileError> {
    open_regular(path).map(drop)
}

/// Read a file that holds a secret: [`read`], but refused when other users could read it, or when it belongs
/// to a user other than this one and root.
///
/// The group may read a file of root (0640), as in PostgreSQL: Kubernetes (`fsGroup`) and systemd
/// (`LoadCredential`) provide secrets so.
///
/// The check applies to the opened file, not to its name, so the file cannot be swapped between the check and
/// the read.
///
/// # Errors
/// [`FileError`], above all [`FileError::Exposed`] and [`FileError::ForeignOwner`].
pub fn read_private(path: &Path) -> Result<Secret, FileError> {
    let mut file = open_regular(path)?;
    let metadata = file.metadata().map_err(|source| FileError::io("read", path, source))?;
    check_secret(path, &metadata)?;
    read_all(&mut file, path, SMALL_FILE).map(Secret::new)
}

pub(super) fn open_regular(path: &Path) -> Result<File, FileError> {
    // Without O_NONBLOCK, opening a FIFO would block until it has a writer.
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)
        .map_err(|source| FileError::io("read", path, source))?;
    let metadata = file.metadata().map_err(|source| FileError::io("read", path, source))?;
    if !metadata.is_file() {
        return Err(FileError::NotAFile { path: path.to_owned() });
    }
    Ok(file)
}

fn read_all(file: &mut File, path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let length = file.metadata().map_err(|source| FileError::io("read", path, source))?.len();
    if length > limit {
        return Err(FileError::TooLarge { path: path.to_owned(), limit });
    }
    // One allocation of the right size: a growing buffer would leave copies of a secret behind.
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default().saturating_add(1));
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|source| FileError::io("read", path, source))?;
    if bytes.len() > usize::try_from(limit).unwrap_or(usize::MAX) {
        return Err(FileError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use rustix::fs::CWD;

    use super::*;
    use crate::error::Coded;

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        fs::write(&path, b"k").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_private(&path).unwrap().expose(), b"k");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(read_private(&path).unwrap_err().code(), "file.exposed");
    }

    #[test]
    fn reading_is_bounded_and_never_waits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        fs::write(&path, [0; 11]).unwrap();
        assert_eq!(read(&path, 10).unwrap_err().code(), "file.too_large");
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        assert_eq!(read(&fifo, 10).unwrap_err().code(), "file.not_a_file");
        assert_eq!(read(dir.path(), 10).unwrap_err().code(), "file.not_a_file");
        assert!(read(&dir.path().join("none"), 10).unwrap_err().is_missing());
        assert_eq!(read(Path::new("/dev/zero"), 10).unwrap_err().code(), "file.not_a_file");
    }
}
