//! Owner and mode checks.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::FileError;

/// Refuse a path that is not a directory.
///
/// # Errors
/// [`FileError`]: missing, or not a directory.
pub fn check_directory(path: &Path) -> Result<(), FileError> {
    directory(path).map(drop)
}

/// Refuse a directory that other users may enter or write to.
///
/// # Errors
/// [`FileError`]: missing, not a directory, exposed, or owned by another user.
pub fn check_private_directory(path: &Path) -> Result<(), FileError> {
    check_owner_only(path, &directory(path)?)
}

/// Refuse a directory in which a user other than this one and root could create, replace or remove a file.
pub(super) fn check_unshared(path: &Path) -> Result<(), FileError> {
    let metadata = directory(path)?;
    match metadata.mode() & 0o022 {
        0 => check_owner(path, &metadata),
        _ => Err(FileError::Exposed { path: path.to_owned(), mode: metadata.mode() & 0o7777, wanted: 0o700 }),
    }
}

pub(super) fn directory(path: &Path) -> Result<fs::Metadata, FileError> {
    let metadata = fs::metadata(path).map_err(|source| FileError::io("open", path, source))?;
    if metadata.is_dir() { Ok(metadata) } else { Err(FileError::NotADirectory { path: path.to_owned() }) }
}

pub(super) fn check_owner_only(path: &Path, metadata: &fs::Metadata) -> Result<(), FileError> {
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed {
            path: path.to_owned(),
            mode,
            wanted: if metadata.is_dir() { 0o700 } else { 0o600 },
        });
    }
    check_owner(path, metadata)
}

/// Refuse a secret that users other than its owner can read, or the group of a file of root.
pub(super) fn check_secret(path: &Path, metadata: &fs::Metadata) -> Result<(), FileError> {
    let mode = metadata.mode() & 0o7777;
    let wanted = secret_mode(metadata.uid(), rustix::process::geteuid().as_raw());
    if mode & 0o077 & !wanted != 0 {
        return Err(FileError::Exposed { path: path.to_owned(), mode, wanted });
    }
    check_owner(path, metadata)
}

/// Widest mode of a secret of `owner` for a process of `user`.
const fn secret_mode(owner: u32, user: u32) -> u32 {
    // Root reads its own files whatever their mode is, so that it needs no group.
    if owner == 0 && user != 0 { 0o640 } else { 0o600 }
}

fn check_owner(path: &Path, metadata: &fs::Metadata) -> Result<(), FileError> {
    if owned_by_user_or_root(metadata) {
        Ok(())
    } else {
        Err(FileError::ForeignOwner { path: path.to_owned(), owner: metadata.uid() })
    }
}

/// True if the owner is this process's effective user, or root, who can change any file anyway.
#[must_use]
pub fn owned_by_user_or_root(metadata: &fs::Metadata) -> bool {
    let owner = metadata.uid();
    owner == 0 || owner == rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_of_root_may_be_readable_by_the_group() {
        assert_eq!(secret_mode(0, 1000), 0o640, "a mounted secret");
        assert_eq!(secret_mode(1000, 1000), 0o600);
        assert_eq!(secret_mode(0, 0), 0o600);
        assert_eq!(secret_mode(1001, 1000), 0o600, "and its owner is refused");
    }
}
