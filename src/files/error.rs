//! Errors of file operations.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Code, Coded};

/// A file or directory that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The name is taken, and the operation does not overwrite.
    #[error("{} already exists", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The mode grants access to other users.
    #[error("{} is accessible to other users (mode {mode:04o})", path.display())]
    Exposed {
        /// The file or directory.
        path: PathBuf,
        /// Permission bits, without the type of the file.
        mode: u32,
        /// The mode it should have.
        wanted: u32,
    },
    /// The owner is another user, who could change the content at any time.
    #[error("{} belongs to another user (uid {owner})", path.display())]
    ForeignOwner {
        /// The file or directory.
        path: PathBuf,
        /// The owner's user ID.
        owner: u32,
    },
    /// A system call failed.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// The operation, as a verb.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Another process holds the directory's lock.
    #[error("another process holds the lock on {}", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// File, or another object, where a directory belongs.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// Path as it was given.
        path: PathBuf,
    },
    /// Not a regular file.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// Path as it was given.
        path: PathBuf,
    },
    /// Larger than the limit for files of its kind.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// Any user may write to a file that access decisions depend on, or replace it.
    #[error("{} is writable by all users", path.display())]
    WritableByAll {
        /// The file or directory.
        path: PathBuf,
    },
}

impl FileError {
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }

    /// The shell command that corrects the file's mode, for errors about a mode.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        match self {
            // Only a secret of root's may be readable by a group, which is how secrets are mounted.
            Self::Exposed { path, wanted: 0o640, .. } => Some(format!(
                "chmod 0640 {}, or mount it so: `defaultMode: 0400` with `fsGroup` in Kubernetes, `LoadCredential` in systemd",
                path.display()
            )),
            Self::Exposed { path, wanted, .. } => Some(format!("chmod {wanted:04o} {}", path.display())),
            Self::WritableByAll { path } => Some(format!("chmod o-w {}", path.display())),
            _ => None,
        }
    }

    /// True if the file does not exist.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.code() == "file.missing"
    }
}

impl Coded for FileError {
    fn coded(&self) -> Code {
        match self {
            Self::Exists { .. } => Code::refused("file.exists"),
            Self::Exposed { .. } => Code::refused("file.exposed"),
            Self::ForeignOwner { .. } => Code::refused("file.foreign_owner"),
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => Code::environment("file.missing"),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Code::environment("file.disk_full")
                }
                io::ErrorKind::PermissionDenied => Code::environment("file.permission"),
                io::ErrorKind::ReadOnlyFilesystem => Code::environment("file.read_only"),
                _ => Code::environment("file.io"),
            },
            Self::Locked { .. } => Code::environment("file.locked"),
            Self::NotADirectory { .. } => Code::environment("file.not_a_directory"),
            Self::NotAFile { .. } => Code::environment("file.not_a_file"),
            Self::TooLarge { .. } => Code::environment("file.too_large"),
            Self::WritableByAll { .. } => Code::refused("file.writable_by_all"),
        }
    }
}
