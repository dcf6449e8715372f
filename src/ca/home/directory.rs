//! The CA's home: one private directory, and the names of the files in it.
//!
//! Nothing else in the program knows these names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::Clock;
use crate::files::{self, DirectoryLock, FileError};

use crate::ca::{CaError, backup, initialize};

/// How long a command waits for another one that is changing the same home.
const PATIENCE: Duration = Duration::from_secs(60);

/// The directory that holds a cluster's CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    directory: PathBuf,
}

impl Home {
    /// The home at `directory`, which need not exist yet.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        // An empty path means the current directory, as it does to every other tool.
        Self { directory: if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory } }
    }

    /// The directory itself.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The trust bundle, public: copied to every machine.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.directory.join("cluster.crt")
    }

    /// The root's private key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.directory.join("cluster.key")
    }

    /// The current revocation list.
    #[must_use]
    pub fn crl(&self) -> PathBuf {
        self.directory.join("cluster.crl")
    }

    /// The inventory.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.directory.join("ca.db")
    }

    /// Which key management services are used, and what logs in to them.
    #[must_use]
    pub fn kms(&self) -> PathBuf {
        self.directory.join("kms.json")
    }

    /// Where issued pairs go unless told otherwise.
    #[must_use]
    pub fn issued(&self) -> PathBuf {
        self.directory.join("issued")
    }

    /// Checks that this is a cluster's home which nobody else can enter.
    ///
    /// # Errors
    /// [`CaError::HomeMissing`] where there is no cluster, or what is wrong with the directory.
    pub(in crate::ca) fn check(&self, clock: &dyn Clock) -> Result<(), CaError> {
        if backup::is_interrupted(self) {
            // Taking the lock finishes it.
            drop(self.lock(clock)?);
        }
        let database = self.database();
        match fs::metadata(&database) {
            Ok(metadata) if metadata.is_file() => Ok(files::check_private_directory(&self.directory)?),
            // Whether there is a cluster is not for everybody to see.
            Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                Err(FileError::Io { doing: "open", path: database, source }.into())
            }
            _ => Err(self.without_inventory()),
        }
    }

    /// What a home without its inventory is: no cluster's, unless its root and what signs with it are there.
    pub(in crate::ca) fn without_inventory(&self) -> CaError {
        let directory = self.directory.clone();
        let signs = files::occupied(&self.key()) || files::occupied(&self.kms());
        let was_whole = signs && files::occupied(&self.certificate()) && !initialize::is_unfinished(self);
        match was_whole {
            true => CaError::InventoryMissing { directory },
            false => CaError::HomeMissing { directory },
        }
    }

    /// Makes the directory ready for `initialize`: made if it is missing, closed to others if it is
    /// still empty, refused if it is in use for anything and open to others.
    pub(in crate::ca) fn prepare(&self) -> Result<(), CaError> {
        files::make_private_directory(&self.directory)?;
        if files::check_private_directory(&self.directory).is_ok() {
            return Ok(());
        }
        let unusable = || CaError::HomeExposed { directory: self.directory.clone() };
        let empty = fs::read_dir(&self.directory).is_ok_and(|mut entries| entries.next().is_none());
        if !empty {
            return Err(unusable());
        }
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(&self.directory, private).map_err(|_| unusable())?;
        files::check_private_directory(&self.directory)?;
        Ok(())
    }

    /// The right to change this home, for as long as the value lives. A restore that was interrupted
    /// is finished first.
    pub(in crate::ca) fn lock(&self, clock: &dyn Clock) -> Result<DirectoryLock, CaError> {
        let lock = DirectoryLock::acquire(&self.directory, PATIENCE, clock)?;
        backup::finish_interrupted(self, &lock)?;
        Ok(lock)
    }
}
