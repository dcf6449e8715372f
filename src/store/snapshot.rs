//! The inventory as one file, as of one moment, while others write.

use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{OpenFlags, ffi};

use super::{Inventory, StoreError, connect, resolve};
use crate::files;

impl Inventory {
    /// Copies the inventory, as it is after the last commit, to a new file that its owner alone may read.
    /// Nobody who writes is waited for or kept waiting.
    ///
    /// # Errors
    /// [`StoreError`], above all when something has the name already.
    pub fn snapshot(&self, path: &Path) -> Result<(), StoreError> {
        // SQLite would make it as open as the umask says.
        files::create_private(path)?;
        let mut copy = connect(&resolve(path)?, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // All pages in one step: between steps, a commit of somebody else would begin it anew.
        match Backup::new(&self.sql, &mut copy)?.step(-1)? {
            StepResult::Done => Ok(()),
            _ => Err(StoreError::Busy {
                source: rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None),
            }),
        }
    }
}
