//! Atomic placement of a restored home.
//!
//! All files are staged beside their destinations and synced. Then a journal with their names is
//! written, which commits the restore: the next process that opens the home completes the renames.
//! Without the journal, the old home is in effect.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::error::BackupError;
use super::part::Part;
use crate::ca::context::Context;
use crate::ca::home::directory::Home;
use crate::files::{self, Access, DirectoryLock, FileError, Placement, Staged};

/// Tag in the names of temporary files.
pub(super) const TAG: &str = "restore";

/// Name of the journal in the home.
const JOURNAL: &str = ".restore";

/// A private directory beside a file. Dropping it removes it with its contents; the next process removes that of a
/// killed one.
pub(super) struct Scratch {
    directory: PathBuf,
    /// Locked while the process lives.
    _handle: File,
}

impl Scratch {
    /// Create `.NAME.RANDOM.tmp` beside `file`.
    pub(super) fn beside(file: &Path, context: &Context) -> Result<Self, BackupError> {
        let mut random = [0; 8];
        context.entropy.fill(&mut random)?;
        let path = Staged::temporary_path(file, &crate::x509::hex(&random));
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(|source| FileError::Io {
            doing: "create the directory",
            path: path.clone(),
            source,
        })?;
        let lock = || File::open(&path).and_then(|handle| Ok((handle.lock()?, handle)));
        match lock() {
            Ok(((), handle)) => Ok(Self { directory: path, _handle: handle }),
            Err(source) => {
                let _ = fs::remove_dir(&path);
                Err(FileError::Io { doing: "lock", path, source }.into())
            }
        }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Remove temporary files and directories beside `file` that killed processes left. They are best effort: the next
/// process tries again.
pub(super) fn sweep(file: &Path) {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let prefix = format!(".{name}.");
    for path in files::list(files::parent(file)).unwrap_or_default() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let tag = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(".tmp"));
        let is_random = tag.is_some_and(|tag| tag.len() == 16 && tag.bytes().all(|b| b.is_ascii_hexdigit()));
        if !is_random || is_in_use(&path) {
            continue;
        }
        let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    }
}

/// True if a running process holds the lock on a temporary file or directory.
pub(in crate::ca) fn is_in_use(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Errors are ignored: what remains is private and named as temporary.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// True if the renames of a restore were not completed.
pub(in crate::ca) fn is_interrupted(home: &Home) -> bool {
    files::occupied(&home.directory().join(JOURNAL))
}

/// Replace the home's files by the staged parts. After a crash, all or none of them are replaced.
pub(super) fn commit(home: &Home, parts: &[Part], lock: &DirectoryLock) -> Result<(), FileError> {
    for part in parts {
        if let Some(staged) = Staged::adopt(&part.path(home), TAG) {
            staged.sync()?;
            staged.leave();
        }
    }
    if home.issued().is_dir() {
        files::sync_directory(&home.issued())?;
    }
    files::sync_directory(home.directory())?;
    let names: String = parts.iter().map(|part| part.name() + "\n").collect();
    files::write(&home.directory().join(JOURNAL), Access::Private, Placement::Replace, names.as_bytes())?;
    finish_interrupted(home, lock)
}

/// Complete the renames of an interrupted restore, if there is one. The lock excludes other processes.
pub(in crate::ca) fn finish_interrupted(home: &Home, _lock: &DirectoryLock) -> Result<(), FileError> {
    let journal = home.directory().join(JOURNAL);
    if !files::occupied(&journal) {
        return Ok(());
    }
    let names = files::read(&journal, files::CRL_FILE)?;
    for name in String::from_utf8_lossy(&names).lines() {
        // Skipping a part would leave a mixture of two homes.
        let part = Part::of_name(name).ok_or_else(|| FileError::Io {
            doing: "complete the restore listed in",
            path: journal.clone(),
            source: io::ErrorKind::InvalidData.into(),
        })?;
        let Some(staged) = Staged::adopt(&part.path(home), TAG) else { continue };
        if part == Part::Database {
            remove_log(&home.database())?;
        }
        staged.place(Placement::Replace)?;
    }
    if home.issued().is_dir() {
        files::sync_directory(&home.issued())?;
    }
    files::sync_directory(home.directory())?;
    remove(&journal)?;
    files::sync_directory(home.directory())
}

/// Remove files of an earlier restore that was not committed. They were never in use.
pub(super) fn remove_leftover(home: &Home) -> Result<(), FileError> {
    let (ending, scratch) = (format!(".{TAG}.tmp"), format!(".{TAG}."));
    for directory in [home.directory().to_owned(), home.issued()] {
        for path in files::list(&directory)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(&scratch) && name.ends_with(".tmp") && path.is_dir() {
                fs::remove_dir_all(&path).map_err(|source| FileError::Io {
                    doing: "remove",
                    path,
                    source,
                })?;
            } else if name.starts_with('.') && name.ends_with(&ending) {
                remove(&path)?;
            }
        }
    }
    Ok(())
}

/// Remove the write-ahead log of a replaced inventory, which SQLite would apply to the new one.
fn remove_log(database: &Path) -> Result<(), FileError> {
    for suffix in ["-wal", "-shm", "-journal"] {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        remove(Path::new(&name))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|source| FileError::Io { doing: "remove", path: path.to_owned(), source }),
    }
}
