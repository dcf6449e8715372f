//! Online copy of the inventory.

use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{OpenFlags, ffi};

use super::connection::{connect, resolve};
use super::error::StoreError;
use super::inventory::Inventory;
use crate::files;

impl Inventory {
    /// Copy the inventory, as of the last commit, to a new file with mode 0600. Writers are not blocked and do
    /// not block.
    ///
    /// # Errors
    /// [`StoreError`], above all when the name is taken.
    pub fn snapshot(&self, path: &Path) -> Result<(), StoreError> {
        // SQLite would create it with a mode from the umask.
        files::create_private(path)?;
        let mut copy = connect(&resolve(path)?, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // All pages in one step: between steps, a commit of another process would restart the copy.
        match Backup::new(&self.sql, &mut copy)?.step(-1)? {
            StepResult::Done => Ok(()),
            _ => Err(StoreError::Busy {
                source: rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None),
            }),
        }
    }
}
