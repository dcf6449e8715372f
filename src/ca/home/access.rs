//! Checks and locks that precede every use of a home.

use std::fs;
use std::io;
use std::time::Duration;

use super::directory::Home;
use super::unfinished::is_unfinished;
use crate::ca::backup::staging::{finish_interrupted, is_interrupted};
use crate::ca::error::CaError;
use crate::clock::Clock;
use crate::files::{self, DirectoryLock, FileError};

/// How long a command waits for another one that is changing the same home.
const PATIENCE: Duration = Duration::from_secs(60);

impl Home {
    /// Checks that this is a cluster's home which nobody else can enter.
    ///
    /// # Errors
    /// [`CaError::HomeMissing`] where there is no cluster, or what is wrong with the directory.
    pub(in crate::ca) fn check(&self, clock: &dyn Clock) -> Result<(), CaError> {
        if is_interrupted(self) {
            // Taking the lock finishes it.
            drop(self.lock(clock)?);
        }
        let database = self.database();
        match fs::metadata(&database) {
            Ok(metadata) if metadata.is_file() => Ok(files::check_private_directory(self.directory())?),
            // Whether there is a cluster is not for everybody to see.
            Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                Err(FileError::Io { doing: "open", path: database, source }.into())
            }
            _ => Err(self.without_inventory()),
        }
    }

    /// What a home without its inventory is: no cluster's, unless its root and what signs with it are there.
    pub(in crate::ca) fn without_inventory(&self) -> CaError {
        let directory = self.directory().to_owned();
        let signs = files::occupied(&self.key()) || files::occupied(&self.kms());
        let was_whole = signs && files::occupied(&self.certificate()) && !is_unfinished(self);
        match was_whole {
            true => CaError::InventoryMissing { directory },
            false => CaError::HomeMissing { directory },
        }
    }

    /// Makes the directory ready for `initialize`: made if it is missing, closed to others if it is
    /// still empty, refused if it is in use for anything and open to others.
    pub(in crate::ca) fn prepare(&self) -> Result<(), CaError> {
        files::make_private_directory(self.directory())?;
        if files::check_private_directory(self.directory()).is_ok() {
            return Ok(());
        }
        let unusable = || CaError::HomeExposed { directory: self.directory().to_owned() };
        let empty = fs::read_dir(self.directory()).is_ok_and(|mut entries| entries.next().is_none());
        if !empty {
            return Err(unusable());
        }
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(self.directory(), private).map_err(|_| unusable())?;
        files::check_private_directory(self.directory())?;
        Ok(())
    }

    /// The right to change this home, for as long as the value lives. A restore that was interrupted
    /// is finished first.
    pub(in crate::ca) fn lock(&self, clock: &dyn Clock) -> Result<DirectoryLock, CaError> {
        let lock = DirectoryLock::acquire(self.directory(), PATIENCE, clock)?;
        finish_interrupted(self, &lock)?;
        Ok(lock)
    }
}
