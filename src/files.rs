//! Files that appear whole or not at all, are private from their first byte, and are read with care.
//!
//! Writing is in steps, so that a caller can make many files durable at once: [`Staged::create`]
//! writes a temporary file beside its final place, [`Staged::sync`] (or one [`sync_filesystem`] for
//! a batch) makes it durable, [`Staged::place`] renames it, [`sync_directory`] makes the name
//! durable. A crash leaves either nothing, a temporary file whose name says whose it is, or the
//! whole file.

mod guarded;

pub use guarded::{check_guarded, is_open_to_all};

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, OFlags, RenameFlags};
use serde::Serializer;

use crate::clock::Clock;
use crate::secret::Secret;

/// The most a configuration, certificate or key file may hold; a trust bundle of a thousand roots
/// is smaller.
pub const SMALL_FILE: u64 = 4 << 20;

/// The most a CRL file may hold: room for some ten million entries.
pub const CRL_FILE: u64 = 1 << 30;

/// For `serialize_with`: a path as text. What is not UTF-8 in it is replaced: what was done was done, and
/// has to be told.
///
/// # Errors
/// What the serializer says.
pub fn as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// The same where there may be none.
///
/// # Errors
/// What the serializer says.
pub fn as_optional_text<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => as_text(path, serializer),
        None => serializer.serialize_none(),
    }
}

/// Reads a regular file of at most `limit` bytes; symbolic links are followed.
///
/// # Errors
/// [`FileError`]: missing, not readable, not a regular file, or larger than `limit`.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let mut file = open_regular(path)?;
    read_all(&mut file, path, limit)
}

/// Refuses what [`read`] could not open: missing, not readable, or not a regular file.
///
/// # Errors
/// [`FileError`].
pub fn check_readable(path: &Path) -> Result<(), FileError> {
    open_regular(path).map(drop)
}

/// Reads a file that holds a secret: like [`read`], but refused when anybody but its owner could
/// read it, or when it belongs to somebody other than this user or root.
///
/// What is checked is the file that was opened, not its name, so that it can't be swapped between
/// the check and the read.
///
/// # Errors
/// [`FileError`], above all [`FileError::Exposed`] and [`FileError::ForeignOwner`].
pub fn read_private(path: &Path) -> Result<Secret, FileError> {
    let mut file = open_regular(path)?;
    let metadata = file.metadata().map_err(|source| FileError::io("read", path, source))?;
    check_owner_only(path, &metadata)?;
    read_all(&mut file, path, SMALL_FILE).map(Secret::new)
}

/// Refuses what is not a directory.
///
/// # Errors
/// [`FileError`]: missing, or something else.
pub fn check_directory(path: &Path) -> Result<(), FileError> {
    directory(path).map(drop)
}

/// Refuses a directory that anybody but its owner may enter or write to.
///
/// # Errors
/// [`FileError`]: missing, not a directory, exposed, or someone else's.
pub fn check_private_directory(path: &Path) -> Result<(), FileError> {
    check_owner_only(path, &directory(path)?)
}

/// Refuses a directory in which anybody but this user or root could put, replace or remove a file.
///
/// # Errors
/// [`FileError`]: missing, not a directory, open to others' writing, or someone else's.
pub fn check_unshared_directory(path: &Path) -> Result<(), FileError> {
    let metadata = directory(path)?;
    match metadata.mode() & 0o022 {
        0 => check_owner(path, &metadata),
        _ => Err(FileError::Exposed { path: path.to_owned(), mode: metadata.mode() & 0o7777, wanted: 0o700 }),
    }
}

fn directory(path: &Path) -> Result<fs::Metadata, FileError> {
    let metadata = fs::metadata(path).map_err(|source| FileError::io("open", path, source))?;
    if metadata.is_dir() { Ok(metadata) } else { Err(FileError::NotADirectory { path: path.to_owned() }) }
}

fn check_owner_only(path: &Path, metadata: &fs::Metadata) -> Result<(), FileError> {
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

fn check_owner(path: &Path, metadata: &fs::Metadata) -> Result<(), FileError> {
    if owned_by_user_or_root(metadata) {
        Ok(())
    } else {
        Err(FileError::ForeignOwner { path: path.to_owned(), owner: metadata.uid() })
    }
}

/// Whether a file belongs to whoever runs this process, or to root, who could change it anyway.
#[must_use]
pub fn owned_by_user_or_root(metadata: &fs::Metadata) -> bool {
    let owner = metadata.uid();
    owner == 0 || owner == rustix::process::geteuid().as_raw()
}

fn open_regular(path: &Path) -> Result<File, FileError> {
    // Without O_NONBLOCK, opening a FIFO that someone put there would wait for ever.
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
    let length = file.metadata().map(|m| m.len()).unwrap_or_default();
    if length > limit {
        return Err(FileError::TooLarge { path: path.to_owned(), limit });
    }
    // One allocation of the right size: a secret must not leave copies behind in a growing buffer.
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default().saturating_add(1));
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|source| FileError::io("read", path, source))?;
    if bytes.len() > usize::try_from(limit).unwrap_or(usize::MAX) {
        return Err(FileError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// Makes `path` and what is missing above it, each directory 0700; one that is there is left as it is.
///
/// # Errors
/// [`FileError`] when it cannot be made.
pub fn make_private_directory(path: &Path) -> Result<(), FileError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| FileError::io("make the directory", path, source))
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The owner alone: 0600.
    Private,
    /// Everybody: 0644, whatever the umask, because it is meant to be copied around.
    Public,
}

/// Whether a file may take another's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Refused when anything, a dangling link included, is there.
    New,
    /// Replaces what is there in one step.
    Replace,
}

/// A file that is written but not yet in its place; dropped unplaced, it is removed.
#[derive(Debug)]
pub struct Staged {
    temporary: PathBuf,
    destination: PathBuf,
    /// Whether dropping it leaves the file system alone.
    placed: bool,
}

impl Staged {
    /// Writes `contents` to [`Staged::temporary_path`] of `destination` and `tag`.
    ///
    /// # Errors
    /// [`FileError`]; nothing is left behind.
    pub fn create(destination: &Path, tag: &str, access: Access, contents: &[u8]) -> Result<Self, FileError> {
        Self::create_with(destination, tag, access, |file| file.write_all(contents))
    }

    /// [`Staged::create`] for contents that `fill` writes, so that they need not be in memory as a whole.
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

    /// Takes up a temporary file that an earlier process left, if it is there.
    ///
    /// Its name can be guessed: in a directory that others write to, a link or a file of theirs is left
    /// alone.
    #[must_use]
    pub fn adopt(destination: &Path, tag: &str) -> Option<Self> {
        let temporary = Self::temporary_path(destination, tag);
        let metadata = fs::symlink_metadata(&temporary).ok()?;
        let ours = metadata.is_file() && metadata.uid() == rustix::process::geteuid().as_raw();
        ours.then(|| Self { temporary, destination: destination.to_owned(), placed: false })
    }

    /// `DIR/.NAME.TAG.tmp` for `DIR/NAME`: found again after a crash by whoever knows the tag.
    #[must_use]
    pub fn temporary_path(destination: &Path, tag: &str) -> PathBuf {
        let name = destination.file_name().unwrap_or_default().to_string_lossy();
        destination.with_file_name(format!(".{name}.{tag}.tmp"))
    }

    /// Makes the contents durable.
    ///
    /// # Errors
    /// [`FileError`] when the disk refuses.
    pub fn sync(&self) -> Result<(), FileError> {
        File::open(&self.temporary)
            .and_then(|file| file.sync_all())
            .map_err(|source| FileError::io("write", &self.destination, source))
    }

    /// Renames the file into its place; [`sync_directory`] makes that durable.
    ///
    /// # Errors
    /// [`FileError::Exists`] under [`Placement::New`], or what the disk says; the file is then removed.
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
}

impl Staged {
    /// Leaves the temporary file where it is, for somebody to look after later.
    pub fn leave(mut self) {
        self.placed = true;
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.placed {
            // Best effort: what stays is found by its name when the home is opened again.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Renames a file that is whole and durable to a name that nothing has yet.
///
/// # Errors
/// [`FileError::Exists`], or what the disk says.
pub fn place_new(from: &Path, to: &Path) -> Result<(), FileError> {
    rename_new(from, to).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists { path: to.to_owned() },
        _ => FileError::io("write", to, source),
    })
}

/// Replaces two files that belong together. The second follows the first at once; if it cannot, the
/// first is taken back, both stay under their temporary names, and the old two are whole.
///
/// A crash between the two renames leaves the first one's former contents under its temporary name:
/// whoever adopts it must look at what it is.
///
/// # Errors
/// What the disk says.
pub fn replace_both(mut first: Staged, mut second: Staged) -> Result<(), FileError> {
    let swap = |first: &Staged| {
        rustix::fs::renameat_with(CWD, &first.temporary, CWD, &first.destination, RenameFlags::EXCHANGE)
    };
    if swap(&first).is_err() {
        // Nothing is there to be taken back, or the file system cannot exchange names.
        first.rename(Placement::Replace)?;
        return second.place(Placement::Replace);
    }
    match second.rename(Placement::Replace) {
        // Dropping the first removes what it has taken the place of.
        Ok(()) => Ok(()),
        Err(error) => {
            // Should this fail as well, the files are put right when they are looked after next.
            let _ = swap(&first);
            first.leave();
            second.leave();
            Err(error)
        }
    }
}

fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some network file systems know no RENAME_NOREPLACE; a hard link refuses to replace everywhere.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
            fs::hard_link(from, to).and_then(|()| fs::remove_file(from))
        }
        other => other.map_err(io::Error::from),
    }
}

/// Makes an empty file that is its owner's alone, for a program that fills files in its own way.
///
/// # Errors
/// [`FileError::Exists`] when anything, a dangling link included, has the name.
pub fn create_private(path: &Path) -> Result<(), FileError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(FileError::Exists { path: path.to_owned() })
        }
        Err(source) => Err(FileError::io("write", path, source)),
    }
}

/// What marks the temporary file of [`write()`].
const WRITE_TAG: &str = "new";

/// Writes one file durably: staged, synced, placed, its directory synced.
///
/// For a file that one process at a time writes: the next write removes what a crash has left.
///
/// # Errors
/// [`FileError`]; the old file, if any, is then still there whole.
pub fn write(path: &Path, access: Access, placement: Placement, contents: &[u8]) -> Result<(), FileError> {
    write_with(path, access, placement, |file| file.write_all(contents))
}

/// [`write()`] for contents that `fill` writes, so that they need not be in memory as a whole.
///
/// # Errors
/// [`FileError`]; the old file, if any, is then still there whole.
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

/// Whether anything has this name, a dangling symbolic link included.
#[must_use]
pub fn occupied(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// A path as an absolute one, right wherever it is used from later, and without links as far as it exists.
///
/// # Errors
/// [`FileError`] when it cannot be followed.
pub fn absolute(path: &Path) -> Result<PathBuf, FileError> {
    match (fs::canonicalize(path), path.file_name()) {
        (Err(error), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
            Ok(absolute(parent(path))?.join(name))
        }
        (resolved, _) => resolved.map_err(|source| FileError::io("open", path, source)),
    }
}

/// What is in a directory, in the order of the names; nothing when there is no such directory.
///
/// # Errors
/// [`FileError`] when it cannot be read.
pub fn list(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    let unreadable = |source| FileError::io("read", path, source);
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(unreadable)?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<Result<_, _>>().map_err(unreadable)?;
    paths.sort();
    Ok(paths)
}

/// The directory that holds `path`.
#[must_use]
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Makes the names in a directory durable.
///
/// # Errors
/// [`FileError`] when the disk refuses.
pub fn sync_directory(path: &Path) -> Result<(), FileError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| FileError::io("write to", path, source))
}

/// Makes everything durable that was written to the file system of `path`: one call for a batch.
///
/// # Errors
/// [`FileError`] when the disk refuses.
pub fn sync_filesystem(path: &Path) -> Result<(), FileError> {
    File::open(path)
        .and_then(|directory| rustix::fs::syncfs(&directory).map_err(io::Error::from))
        .map_err(|source| FileError::io("write to", path, source))
}

/// The right to change what is in a directory, held by one process at a time.
///
/// It is a `flock` on the directory itself: no file of its own that could be left behind, and a
/// crash releases it.
#[derive(Debug)]
pub struct DirectoryLock {
    _directory: File,
}

impl DirectoryLock {
    /// Takes the lock, waiting up to `timeout` for another process to release it.
    ///
    /// # Errors
    /// [`FileError::Locked`] after the timeout.
    pub fn acquire(path: &Path, timeout: Duration, clock: &dyn Clock) -> Result<Self, FileError> {
        let directory = File::open(path).map_err(|source| FileError::io("open", path, source))?;
        let deadline = clock.monotonic() + timeout;
        loop {
            match directory.try_lock() {
                Ok(()) => return Ok(Self { _directory: directory }),
                Err(fs::TryLockError::WouldBlock) if clock.monotonic() < deadline => {
                    clock.sleep(Duration::from_millis(5));
                }
                Err(fs::TryLockError::WouldBlock) => return Err(FileError::Locked { path: path.to_owned() }),
                Err(fs::TryLockError::Error(source)) => return Err(FileError::io("lock", path, source)),
            }
        }
    }
}

/// What can be wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Something has the name already, and nothing is overwritten without being asked.
    #[error("{} exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// More people than the owner may read or enter it.
    #[error("{} is open to others than its owner (mode {mode:04o})", path.display())]
    Exposed {
        /// The file or directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode it should have.
        wanted: u32,
    },
    /// It belongs to somebody else, who could change it at will.
    #[error("{} belongs to another user (uid {owner})", path.display())]
    ForeignOwner {
        /// The file or directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// The operating system said no.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process is changing what is in the directory.
    #[error("another process is working in {}", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// A directory was expected.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// What is there instead.
        path: PathBuf,
    },
    /// A regular file was expected.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What is there instead.
        path: PathBuf,
    },
    /// Larger than such a file can sensibly be.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most it may hold.
        limit: u64,
    },
    /// What it says decides who is let in, and anybody may change it.
    #[error("anybody may write to {}", path.display())]
    WritableByAll {
        /// The file or directory.
        path: PathBuf,
    },
}

impl FileError {
    fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }

    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Exists { .. } => "file.exists",
            Self::Exposed { .. } => "file.exposed",
            Self::ForeignOwner { .. } => "file.foreign_owner",
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => "file.missing",
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "file.disk_full",
                io::ErrorKind::PermissionDenied => "file.permission",
                io::ErrorKind::ReadOnlyFilesystem => "file.read_only",
                _ => "file.io",
            },
            Self::Locked { .. } => "file.locked",
            Self::NotADirectory { .. } => "file.not_a_directory",
            Self::NotAFile { .. } => "file.not_a_file",
            Self::TooLarge { .. } => "file.too_large",
            Self::WritableByAll { .. } => "file.writable_by_all",
        }
    }

    /// The command that would mend it, where one is known to.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Exposed { path, wanted, .. } => Some(format!("chmod {wanted:04o} {}", path.display())),
            Self::WritableByAll { path } => Some(format!("chmod o-w {}", path.display())),
            _ => None,
        }
    }

    /// Whether the file was simply not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.code() == "file.missing"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

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
        assert_eq!(read(&path, 10).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["a.crt"]);
    }

    #[test]
    fn a_link_that_someone_planted_is_not_taken_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("user-alice.key");
        let temporary = Staged::temporary_path(&path, "07");
        fs::write(dir.path().join("theirs"), "a key").unwrap();
        std::os::unix::fs::symlink("theirs", &temporary).unwrap();
        assert!(Staged::adopt(&path, "07").is_none());
        assert!(occupied(&temporary), "it was not ours to remove");
        fs::remove_file(&temporary).unwrap();
        drop(Staged::create(&path, "07", Access::Private, b"a key").map(Staged::leave));
        assert!(Staged::adopt(&path, "07").is_some());
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        write(&path, Access::Private, Placement::New, b"k").unwrap();
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

    #[test]
    fn one_holder_of_the_lock_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(time::OffsetDateTime::UNIX_EPOCH);
        let start = clock.monotonic();
        let acquire = |timeout| DirectoryLock::acquire(dir.path(), timeout, &clock);
        let first = acquire(Duration::ZERO).unwrap();
        assert_eq!(acquire(Duration::ZERO).unwrap_err().code(), "file.locked");
        assert_eq!(clock.monotonic(), start, "no timeout, no wait");
        // An hour on the clock, not in the test.
        assert_eq!(acquire(Duration::from_secs(3_600)).unwrap_err().code(), "file.locked");
        assert_eq!(clock.monotonic() - start, Duration::from_secs(3_600));
        drop(first);
        assert!(acquire(Duration::ZERO).is_ok());
    }
}
