//! Check and lock that precede every use of a home.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::directory::Home;
use super::unfinished::is_unfinished;
use crate::ca::backup::staging::{finish_interrupted, is_interrupted};
use crate::ca::error::CaError;
use crate::clock::Clock;
use crate::files::{self, DirectoryLock, FileError};

/// Time that a command waits for another one that holds the lock of the home.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// Change of a directory that becomes a home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ca) enum PreparedDirectory {
    /// It was created.
    Created,
    /// Its mode was restricted to 0700.
    Restricted {
        /// Mode before.
        from: u32,
    },
    /// It was a private directory.
    Unchanged,
}

impl Home {
    /// Check that the directory is a home that other users cannot access. Complete an interrupted
    /// restore.
    ///
    /// # Errors
    /// [`CaError::HomeMissing`] if there is no cluster, and errors of the directory.
    pub(in crate::ca) fn check(&self, clock: &dyn Clock) -> Result<(), CaError> {
        if is_interrupted(self) {
            // Taking the lock completes the restore.
            drop(self.lock(clock)?);
        }
        let database = self.database();
        match fs::metadata(&database) {
            Ok(metadata) if metadata.is_file() => {
                files::check_private_directory(self.directory())?;
                Ok(files::check_path(self.given())?)
            }
            Err(source) if !is_absent(&source) => {
                Err(FileError::Io { doing: "open", path: database, source }.into())
            }
            _ => Err(self.without_inventory()),
        }
    }

    /// The error for a directory without an inventory: the inventory of an existing root is missing, or
    /// there is no cluster.
    pub(in crate::ca) fn without_inventory(&self) -> CaError {
        let directory = self.directory().to_owned();
        let signs = files::occupied(&self.key()) || files::occupied(&self.kms());
        let was_whole = signs && files::occupied(&self.certificate()) && !is_unfinished(self);
        match was_whole {
            true => CaError::InventoryMissing { directory },
            false => CaError::HomeMissing { directory },
        }
    }

    /// Prepare the directory for `initialize`: creates it if missing, and close an empty one to other
    /// users. Refuse a non-empty directory that is accessible to others.
    pub(in crate::ca) fn prepare(&self) -> Result<PreparedDirectory, CaError> {
        let is_new = !files::occupied(self.directory());
        files::make_private_directory(self.directory())?;
        files::check_path(self.given())?;
        if files::check_private_directory(self.directory()).is_ok() {
            return Ok(if is_new { PreparedDirectory::Created } else { PreparedDirectory::Unchanged });
        }
        let failed = |doing| move |source| FileError::Io { doing, path: self.directory().to_owned(), source };
        if fs::read_dir(self.directory()).map_err(failed("list"))?.next().is_some() {
            return Err(CaError::HomeExposed { directory: self.directory().to_owned() });
        }
        let before = fs::metadata(self.directory()).map_err(failed("read the permissions of"))?.permissions();
        fs::set_permissions(self.directory(), Permissions::from_mode(0o700))
            .map_err(failed("restrict the permissions of"))?;
        files::check_private_directory(self.directory())?;
        Ok(PreparedDirectory::Restricted { from: before.mode() & 0o7777 })
    }

    /// Undo [`Home::prepare`] after a failure, unless the directory has a file by now.
    pub(in crate::ca) fn undo_preparation(&self, prepared: PreparedDirectory) {
        match prepared {
            PreparedDirectory::Created => {
                let _ = fs::remove_dir(self.directory());
            }
            PreparedDirectory::Restricted { from } => {
                let is_empty = fs::read_dir(self.directory()).is_ok_and(|mut names| names.next().is_none());
                if is_empty {
                    let _ = fs::set_permissions(self.directory(), Permissions::from_mode(from));
                }
            }
            PreparedDirectory::Unchanged => {}
        }
    }

    /// Lock this home for changes until the lock is dropped. Complete an interrupted restore first.
    pub(in crate::ca) fn lock(&self, clock: &dyn Clock) -> Result<DirectoryLock, CaError> {
        let lock = DirectoryLock::acquire(self.directory(), LOCK_TIMEOUT, clock)?;
        finish_interrupted(self, &lock)?;
        Ok(lock)
    }
}

/// True if a path does not exist. Any other error, such as a lack of access, proves nothing.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
