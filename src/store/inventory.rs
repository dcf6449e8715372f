//! Opening and creating the inventory.

use std::ffi::OsString;
use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::cluster::ClusterRecord;
use super::connection::{connect, log_is_empty, prepare_for_writing, resolve};
use super::error::StoreError;
use super::transaction::Transaction;
use super::{lookup, schema};
use crate::audit::{Head, Provenance};
use crate::files;
use crate::x509::Certificate;

/// The CA's inventory, opened for reading or for writing.
///
/// Its methods fail with database errors; where the documentation names no others, there are none.
#[derive(Debug)]
pub struct Inventory {
    pub(super) sql: Connection,
    /// Head of the audit chain before the migration that opening it made.
    pub(super) before_migration: Option<Head>,
    /// File and flags of further connections, for reading.
    pub(super) reopen: (PathBuf, OpenFlags),
}

impl Inventory {
    /// Create the inventory of a new cluster with its first issuer and the first audit entry.
    ///
    /// # Errors
    /// [`StoreError`], above all when the name is taken; nothing is left behind.
    pub fn create(
        path: &Path,
        cluster: &ClusterRecord,
        root: &Certificate,
        provenance: &Provenance,
    ) -> Result<Self, StoreError> {
        // SQLite would create it with a mode from the umask; its other files copy the mode of this one.
        files::create_private(path)?;
        Self::fill(path, cluster, root, provenance).inspect_err(|_| {
            // Best effort: a file that stays is empty, and reported as an incomplete inventory.
            let _ = fs::remove_file(path);
        })
    }

    fn fill(
        path: &Path,
        cluster: &ClusterRecord,
        root: &Certificate,
        provenance: &Provenance,
    ) -> Result<Self, StoreError> {
        let resolved = resolve(path)?;
        let mut sql = connect(&resolved, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let transaction = sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
        schema::migrate(&transaction)?;
        Transaction::new(transaction, provenance)?.initialize(cluster, root)?.commit()?;
        prepare_for_writing(&sql)?;
        Ok(Self { sql, before_migration: None, reopen: (resolved, OpenFlags::SQLITE_OPEN_READ_ONLY) })
    }

    /// Open the inventory for writing and migrate an older version, with an audit entry that carries `provenance`.
    ///
    /// # Errors
    /// [`StoreError`]: missing, of another program, of a newer version, damaged or read-only.
    pub fn open_writer(path: &Path, provenance: &Provenance) -> Result<Self, StoreError> {
        let resolved = resolve(path)?;
        let mut sql = connect(&resolved, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let mut before_migration = None;
        if !schema::is_current(&sql, path)? {
            before_migration = migrate(&mut sql, provenance)?;
            schema::is_current(&sql, path)?;
        }
        prepare_for_writing(&sql)?;
        Ok(Self { sql, before_migration, reopen: (resolved, OpenFlags::SQLITE_OPEN_READ_ONLY) })
    }

    /// Open the inventory for reading. Readers and writers never wait for each other, and a read-only file
    /// system is enough.
    ///
    /// # Errors
    /// [`StoreError`]: missing, of another program, of another version or damaged.
    pub fn open_reader(path: &Path) -> Result<Self, StoreError> {
        let resolved = resolve(path)?;
        match Self::read(&resolved, OpenFlags::SQLITE_OPEN_READ_ONLY, path) {
            // Readers too need the index file of the write-ahead log, and create it if it is missing.
            Err(StoreError::ReadOnly { .. }) if log_is_empty(&resolved) => {
                Self::read_immutable(&resolved, path)
            }
            other => other,
        }
    }

    /// Open a database on a read-only file system, which cannot change, without its side files.
    pub(super) fn read_immutable(resolved: &Path, path: &Path) -> Result<Self, StoreError> {
        let mut uri = b"file:".to_vec();
        for byte in resolved.as_os_str().as_bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' => uri.push(*byte),
                other => uri.extend(format!("%{other:02x}").into_bytes()),
            }
        }
        uri.extend(b"?immutable=1");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        Self::read(Path::new(&OsString::from_vec(uri)), flags, path)
    }

    fn read(target: &Path, flags: OpenFlags, path: &Path) -> Result<Self, StoreError> {
        let sql = connect(target, flags)?;
        if schema::is_current(&sql, path)? {
            Ok(Self { sql, before_migration: None, reopen: (target.to_owned(), flags) })
        } else {
            Err(StoreError::Older { path: path.to_owned() })
        }
    }

    /// Head of the audit chain before the migration that opening this inventory made; `None` without a migration.
    #[must_use]
    pub fn head_before_migration(&self) -> Option<Head> {
        self.before_migration
    }

    /// Begin a transaction; its audit entries carry `provenance`. Dropped without a commit, it changes nothing.
    ///
    /// # Errors
    /// [`StoreError`], above all when the inventory was opened for reading.
    pub fn begin(&mut self, provenance: &Provenance) -> Result<Transaction<'_>, StoreError> {
        self.sql.pragma_update(None, "synchronous", "FULL")?;
        Transaction::new(self.sql.transaction_with_behavior(TransactionBehavior::Immediate)?, provenance)
    }

    /// Records that the files of the certificates that these audit entries issued are written.
    ///
    /// The change is not durable at once and has no audit entry: if it is lost, recovery writes the files again.
    pub fn mark_placed(&mut self, entries: RangeInclusive<u64>) -> Result<(), StoreError> {
        self.sql.pragma_update(None, "synchronous", "NORMAL")?;
        let transaction = self.sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
        lookup::mark_placed(&transaction, entries)?;
        Ok(transaction.commit()?)
    }
}

/// Migrate an older version, and return the head of the audit chain before the migration. Another process may have
/// migrated it first.
fn migrate(sql: &mut Connection, provenance: &Provenance) -> Result<Option<Head>, StoreError> {
    let transaction = sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (from, to) = (schema::migrate(&transaction)?, schema::current_version().unsigned_abs());
    if from >= to {
        return Ok(None);
    }
    let transaction = Transaction::new(transaction, provenance)?;
    let before = transaction.head();
    transaction.record_migration(from, to)?.commit()?;
    Ok(Some(before))
}
