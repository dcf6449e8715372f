//! Files written beside their destination, then renamed.
//!
//! The steps are separate, so that a caller can make many files durable at once:
//! 1. [`Staged::create`] writes a temporary file beside the destination.
//! 2. [`Staged::sync`], or one [`sync_filesystem`](super::durability::sync_filesystem) for a batch, makes it
//!    durable.
//! 3. [`Staged::place`] renames it.
//! 4. [`sync_directory`](super::durability::sync_directory) makes the name durable.
//!
//! A crash leaves nothing, a temporary file that is found again by its tag, or the complete file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};

use super::error::FileError;

/// File mode of a written file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// 0600: readable by the owner only.
    Private,
    /// 0644 whatever the umask is: the file is meant to be copied to other machines.
    Public,
}

/// True if a file may replace another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Refuse when the name is taken, by a dangling symbolic link too.
    New,
    /// Replace an existing file atomically.
    Replace,
}

/// File that is written but not yet at its destination. Dropped before it is placed, it is removed.
#[derive(Debug)]
pub struct Staged {
    temporary: PathBuf,
    destination: PathBuf,
    /// True if dropping it leaves the file system alone.
    placed: bool,
}

impl Staged {
    /// Write `contents` to [`Staged::temporary_path`] of `destination` and `tag`.
    ///
    /// # Errors
    /// [`FileError`]; nothing is left behind.
    pub fn create(destination: &Path, tag: &str, access: Access, contents: &[u8]) -> Result<Self, FileError> {
        Self::create_with(destination, tag, access, |file| file.write_all(contents))
    }

    /// [`Staged::create`] for contents that `fill` streams, so that they need not fit into memory.
    ///
    /// # Errors
    /// [`FileError`]; nothing is left behind.
    pub fn create_with(
        destination: &Path,
        tag: &str,
        access: Access,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Self, FileError> {
        let temporary = Self::temporary_path(destination, tag);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(|source| FileError::io("write", &temporary, source))?;
        // From here on, dropping `staged` removes the file.
        let staged = Self { temporary, destination: destination.to_owned(), placed: false };
        fill(&mut file)
            .and_then(|()| match access {
                Access::Private => Ok(()),
                Access::Public => file.set_permissions(fs::Permissions::from_mode(0o644)),
            })
            .map_err(|source| FileError::io("write", destination, source))?;
        Ok(staged)
    }

    /// Take over a temporary file that an earlier process left behind.
    ///
    /// The name is predictable. In a directory that other users can write to, their files and links under
    /// that name are left alone.
    #[must_use]
    pub fn adopt(destination: &Path, tag: &str) -> Option<Self> {
        let temporary = Self::temporary_path(destination, tag);
        let metadata = fs::symlink_metadata(&temporary).ok()?;
        let ours = metadata.is_file() && metadata.uid() == rustix::process::geteuid().as_raw();
        ours.then(|| Self { temporary, destination: destination.to_owned(), placed: false })
    }

    /// `DIR/.NAME.TAG.tmp` for `DIR/NAME`: the tag finds the file again after a crash.
    #[must_use]
    pub fn temporary_path(destination: &Path, tag: &str) -> PathBuf {
        let name = destination.file_name().unwrap_or_default().to_string_lossy();
        destination.with_file_name(format!(".{name}.{tag}.tmp"))
    }

    /// Make the contents durable.
    ///
    /// # Errors
    /// [`FileError`] when the disk fails.
    pub fn sync(&self) -> Result<(), FileError> {
        File::open(&self.temporary)
            .and_then(|file| file.sync_all())
            .map_err(|source| FileError::io("write", &self.destination, source))
    }

    /// Rename the file to its destination; [`sync_directory`](super::durability::sync_directory) makes that
    /// durable.
    ///
    /// # Errors
    /// [`FileError::Exists`] under [`Placement::New`], or the disk's error; the temporary file is then removed.
    pub fn place(mut self, placement: Placement) -> Result<(), FileError> {
        self.rename(placement)
    }

    fn rename(&mut self, placement: Placement) -> Result<(), FileError> {
        let renamed = match placement {
            Placement::Replace => fs::rename(&self.temporary, &self.destination),
            Placement::New => rename_new(&self.temporary, &self.destination),
        };
        match renamed {
            Ok(()) => {
                self.placed = true;
                Ok(())
            }
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {
                Err(FileError::Exists { path: self.destination.clone() })
            }
            Err(source) => Err(FileError::io("write", &self.destination, source)),
        }
    }

    /// Keep the temporary file on disk, for a later [`Staged::adopt`].
    pub fn leave(mut self) {
        self.placed = true;
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.placed {
            // Best effort: a file that stays is found by its name when the home is opened again.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Rename a complete and durable file to a name that is free.
///
/// # Errors
/// [`FileError::Exists`], or the disk's error.
pub fn place_new(from: &Path, to: &Path) -> Result<(), FileError> {
    rename_new(from, to).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists { path: to.to_owned() },
        _ => FileError::io("write", to, source),
    })
}

/// Replace two files that belong together, such as a certificate and its key.
///
/// If the second rename fails, the first is undone: the old pair is complete, and the new one stays under its
/// temporary names. A crash between the two renames leaves the first file's old contents under its temporary
/// name. Code that adopts it must check which version it is.
///
/// # Errors
/// The disk's error.
pub fn replace_both(mut first: Staged, mut second: Staged) -> Result<(), FileError> {
    let swap = |first: &Staged| {
        rustix::fs::renameat_with(CWD, &first.temporary, CWD, &first.destination, RenameFlags::EXCHANGE)
    };
    if swap(&first).is_err() {
        // The destination does not exist yet, or the file system cannot exchange names.
        first.rename(Placement::Replace)?;
        return second.place(Placement::Replace);
    }
    match second.rename(Placement::Replace) {
        // Dropping `first` removes the old contents, which now have its temporary name.
        Ok(()) => Ok(()),
        Err(error) => {
            // If this fails too, recovery repairs the pair when the home is opened again.
            let _ = swap(&first);
            first.leave();
            second.leave();
            Err(error)
        }
    }
}

fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some network file systems lack RENAME_NOREPLACE; a hard link never replaces a file.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
            fs::hard_link(from, to).and_then(|()| fs::remove_file(from))
        }
        other => other.map_err(io::Error::from),
    }
}

#[cfg(test)]
mod tests {
    use super::super::paths::occupied;
    use super::*;

    #[test]
    fn a_link_that_another_user_planted_is_not_adopted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("user-alice.key");
        let temporary = Staged::temporary_path(&path, "07");
        fs::write(dir.path().join("theirs"), "a key").unwrap();
        std::os::unix::fs::symlink("theirs", &temporary).unwrap();
        assert!(Staged::adopt(&path, "07").is_none());
        assert!(occupied(&temporary), "a foreign file is not removed");
        fs::remove_file(&temporary).unwrap();
        drop(Staged::create(&path, "07", Access::Private, b"a key").map(Staged::leave));
        assert!(Staged::adopt(&path, "07").is_some());
    }
}
