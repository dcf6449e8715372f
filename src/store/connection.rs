//! SQLite connections and their settings.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::error::StoreError;
use crate::files::FileError;

/// Time to wait for another process before [`StoreError::Busy`].
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Resolve a path to an absolute one without symbolic links: SQLite gives some relative names a special meaning.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, StoreError> {
    fs::canonicalize(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => StoreError::Missing { path: path.to_owned() },
        _ => FileError::Io { doing: "open", path: path.to_owned(), source }.into(),
    })
}

pub(super) fn connect(target: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    let sql = Connection::open_with_flags(target, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    sql.busy_timeout(BUSY_TIMEOUT)?;
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)?;
    // One plan per statement, whatever its values: otherwise SQLite plans many of them again for each use.
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    sql.execute_batch("PRAGMA cell_size_check = ON")?;
    sql.set_prepared_statement_cache_capacity(32);
    Ok(sql)
}

/// Turns on the write-ahead log: readers see the last commit while the next one is written. The log is merged
/// into the database at 32 MiB and when the last process closes it. The cache holds the indexes of a million
/// certificates, where serial numbers and node names are random.
pub(super) fn prepare_for_writing(sql: &Connection) -> Result<(), StoreError> {
    Ok(sql.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 8192; PRAGMA cache_size = -131072;",
    )?)
}

/// Enlarge the cache for a scan with look-ups by serial number, which are random.
pub(super) fn prepare_for_scanning(sql: &Connection) -> Result<(), StoreError> {
    Ok(sql.execute_batch("PRAGMA cache_size = -65536")?)
}

/// True if the write-ahead log is missing or empty.
pub(super) fn log_is_empty(database: &Path) -> bool {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    fs::metadata(log).map_or(true, |metadata| metadata.len() == 0)
}
