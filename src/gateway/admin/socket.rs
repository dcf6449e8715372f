//! The socket as a file: there whole and with its mode or not at all, never in the place of anything
//! else.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::error::{Code, Coded};
use crate::files::{self, FileError};

/// What its owner alone may use.
const PRIVATE: u32 = 0o600;

/// How many may wait to be heard.
const BACKLOG: i32 = 16;

/// A socket that is listened on; dropped, its file is removed.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and number of the file, to tell it from another one of that name.
    file: (u64, u64),
}

impl AdminSocket {
    /// Makes the socket at `path`, in the place of one that nobody listens on any more.
    ///
    /// # Errors
    /// [`SocketError`]; then what was there still is.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let failed = |source| SocketError::Io { path: path.to_owned(), source };
        Self::check_directory(path)?;
        check_place(path)?;
        // Made under another name and moved: it is never there without its mode, and what it replaces is
        // replaced in one step.
        let temporary = files::parent(path).join(format!(".admin-{}", std::process::id()));
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
        // On Linux, the file of a socket is made with the socket's own mode.
        fchmod(&socket, Mode::from_raw_mode(PRIVATE)).map_err(|error| failed(error.into()))?;
        socket.bind(&SockAddr::unix(&temporary).map_err(failed)?).map_err(failed)?;
        let placed = place(&socket, &temporary, path);
        if placed.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        let file = placed?;
        Ok(Self { listener: socket.into(), path: path.to_owned(), file })
    }

    /// Whether [`AdminSocket::bind`] could put the socket at `path`; one that a running gateway has there
    /// is as it should be.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn check(path: &Path) -> Result<(), SocketError> {
        Self::check_directory(path)?;
        match check_place(path) {
            Err(SocketError::InUse { .. }) => Ok(()),
            checked => checked,
        }
    }

    /// Refuses a directory where anybody may rename anything: anybody could put a socket of their own there.
    fn check_directory(path: &Path) -> Result<(), SocketError> {
        match files::is_world_writable(files::parent(path)).map_err(SocketError::File)? {
            true => Err(SocketError::OpenDirectory { path: files::parent(path).to_owned() }),
            false => Ok(()),
        }
    }

    /// The socket itself.
    pub(super) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

fn place(socket: &Socket, temporary: &Path, path: &Path) -> Result<(u64, u64), SocketError> {
    let failed = |source| SocketError::Io { path: path.to_owned(), source };
    let metadata = fs::symlink_metadata(temporary).map_err(failed)?;
    if metadata.mode() & 0o777 != PRIVATE {
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

/// Whether the socket may be put at `path`: nothing is there, or a socket that nobody listens on.
fn check_place(path: &Path) -> Result<(), SocketError> {
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

/// Why there is no admin socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// The system would make it for more than its owner.
    #[error("the admin socket {} would have the mode {mode:o}", path.display())]
    Exposed {
        /// Where.
        path: PathBuf,
        /// The mode.
        mode: u32,
    },
    /// Its directory is not there.
    #[error(transparent)]
    File(FileError),
    /// Somebody listens there.
    #[error("another process listens on the admin socket {}", path.display())]
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// The system does not make it.
    #[error("cannot make the admin socket {}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Something else is there; a symbolic link is.
    #[error("{} is not a socket, and is not replaced by one", path.display())]
    Occupied {
        /// Where.
        path: PathBuf,
    },
    /// Anybody may replace what is in the directory.
    #[error("anybody may replace the admin socket in the directory {}", path.display())]
    OpenDirectory {
        /// Which.
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
    fn it_is_its_owners_alone_and_goes_with_its_process() {
        let (_directory, path) = directory();
        let socket = AdminSocket::bind(&path).unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(AdminSocket::bind(&path).unwrap_err().code(), "admin.in_use");
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_the_successors_is_left_alone() {
        let (_directory, path) = directory();
        drop(UnixListener::bind(&path).unwrap());
        let first = AdminSocket::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _second = AdminSocket::bind(&path).unwrap();
        drop(first);
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn nothing_else_is_replaced() {
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
    fn a_directory_that_is_everybodys_is_refused() {
        let (directory, path) = directory();
        let mode = |mode| fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
        mode(0o777);
        assert_eq!(AdminSocket::bind(&path).unwrap_err().code(), "admin.open_directory");
        mode(0o1777);
        AdminSocket::bind(&path).unwrap();
    }
}
