//! Socket file: created atomically with its mode, and never in place of another kind of file.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::error::{Code, Coded};
use crate::files::{self, FileError};

/// Mode of the socket file: the owner only.
const SOCKET_MODE: u32 = 0o600;

/// Length of the kernel's accept queue.
const BACKLOG: i32 = 16;

/// Listening admin socket. Its file is removed on drop.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode, to recognize the file before it is removed.
    file: (u64, u64),
}

impl AdminSocket {
    /// Create the socket at `path`. A stale socket without a listener is replaced.
    ///
    /// # Errors
    /// [`SocketError`]; an existing file stays as it is.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let failed = |source| SocketError::Io { path: path.to_owned(), source };
        Self::check_directory(path)?;
        check_existing(path)?;
        // Created under another name and renamed: the socket never appears without its mode, and replaces a
        // stale one atomically.
        let temporary = files::parent(path).join(format!(".admin-{}", std::process::id()));
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
        // On Linux, the socket file gets the mode of the socket itself.
        fchmod(&socket, Mode::from_raw_mode(SOCKET_MODE)).map_err(|error| failed(error.into()))?;
        socket.bind(&SockAddr::unix(&temporary).map_err(failed)?).map_err(failed)?;
        let renamed = listen_and_rename(&socket, &temporary, path);
        if renamed.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        let file = renamed?;
        Ok(Self { listener: socket.into(), path: path.to_owned(), file })
    }

    /// Check that [`AdminSocket::bind`] could create the socket at `path`. The socket of a running gateway is
    /// no error.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn check(path: &Path) -> Result<(), SocketError> {
        Self::check_directory(path)?;
        match check_existing(path) {
            Err(SocketError::InUse { .. }) => Ok(()),
            checked => checked,
        }
    }

    /// Refuse a world-writable directory on the path: any user could replace the socket.
    fn check_directory(path: &Path) -> Result<(), SocketError> {
        let directory = files::parent(path);
        if files::is_world_writable(directory).map_err(SocketError::File)? {
            return Err(SocketError::OpenDirectory { path: directory.to_owned() });
        }
        files::check_path(directory).map_err(|error| match error {
            FileError::WritableByAll { path } => SocketError::OpenDirectory { path },
            error => SocketError::File(error),
        })
    }

    /// Duplicate of the listening socket.
    pub(super) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

fn listen_and_rename(socket: &Socket, temporary: &Path, path: &Path) -> Result<(u64, u64), SocketError> {
    let failed = |source| SocketError::Io { path: path.to_owned(), source };
    let metadata = fs::symlink_metadata(temporary).map_err(failed)?;
    if metadata.mode() & 0o777 != SOCKET_MODE {
        return Err(SocketError::Exposed { path: path.to_owned(), mode: metadata.mode() & 0o777 });
    }
    socket.listen(BACKLOG).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    fs::rename(temporary, path).map_err(failed)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let ours = |metadata: fs::Metadata| (metadata.dev(), metadata.ino()) == self.file;
        if fs::symlink_metadata(&self.path).is_ok_and(ours) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Check that `path` is free, or holds a stale socket without a listener.
fn check_existing(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Err(SocketError::Occupied { path: path.to_owned() })
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => Err(SocketError::InUse { path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) => Err(failed(error)),
        },
    }
}

/// Error of creating the admin socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// The socket file would be accessible to other users.
    #[error("the admin socket {} would have the mode {mode:o}", path.display())]
    Exposed {
        /// Path of the socket.
        path: PathBuf,
        /// Mode that the file would have.
        mode: u32,
    },
    /// The directory cannot be examined.
    #[error(transparent)]
    File(FileError),
    /// Another process listens on the socket.
    #[error("another process listens on the admin socket {}", path.display())]
    InUse {
        /// Path of the socket.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("cannot create the admin socket {}", path.display())]
    Io {
        /// Path of the socket.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The path holds another kind of file, such as a symbolic link.
    #[error("{} exists and is not a socket: refusing to replace it", path.display())]
    Occupied {
        /// Path of the socket.
        path: PathBuf,
    },
    /// The directory is world-writable.
    #[error("the directory {} of the admin socket is writable by all users", path.display())]
    OpenDirectory {
        /// Directory.
        path: PathBuf,
    },
}

impl Coded for SocketError {
    fn coded(&self) -> Code {
        match self {
            Self::Exposed { .. } => Code::environment("admin.exposed"),
            Self::File(error) => error.coded(),
            Self::InUse { .. } => Code::environment("admin.in_use"),
            Self::Io { .. } => Code::environment("admin.io"),
            Self::Occupied { .. } => Code::environment("admin.occupied"),
            Self::OpenDirectory { .. } => Code::environment("admin.open_directory"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        (directory, path)
    }

    #[test]
    fn the_socket_has_mode_0600_and_is_removed_on_drop() {
        let (_directory, path) = directory();
        let socket = AdminSocket::bind(&path).unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(AdminSocket::bind(&path).unwrap_err().code(), "admin.in_use");
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_newer_one_is_not_removed() {
        let (_directory, path) = directory();
        drop(UnixListener::bind(&path).unwrap());
        let first = AdminSocket::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _second = AdminSocket::bind(&path).unwrap();
        drop(first);
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn files_other_than_sockets_are_not_replaced() {
        let (directory, path) = directory();
        fs::write(&path, "precious").unwrap();
        assert_eq!(AdminSocket::bind(&path).unwrap_err().code(), "admin.occupied");
        let link = directory.path().join("link.sock");
        let target = directory.path().join("target.sock");
        drop(UnixListener::bind(&target).unwrap());
        symlink(&target, &link).unwrap();
        assert_eq!(AdminSocket::bind(&link).unwrap_err().code(), "admin.occupied");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3, "nothing is left behind");
    }

    #[test]
    fn a_world_writable_directory_is_refused() {
        let (directory, path) = directory();
        let mode = |mode| fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
        mode(0o777);
        assert_eq!(AdminSocket::bind(&path).unwrap_err().code(), "admin.open_directory");
        mode(0o1777);
        AdminSocket::bind(&path).unwrap();
    }
}
