//! The database's format: whose it is, its version, and how an older one becomes the present one.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, Transaction};

use super::StoreError;

/// `clca`, in the file's header: tells this program's databases from all others.
const APPLICATION_ID: i32 = 0x636c_6361;

/// What each version adds to the one before it; the first makes the tables.
const VERSIONS: [&str; 1] = [include_str!("schema-1.sql")];

/// Whether the database has the present version; an older one needs [`migrate`].
///
/// # Errors
/// [`StoreError`] unless it is an inventory of this version or an older one.
pub(super) fn is_current(sql: &Connection, path: &Path) -> Result<bool, StoreError> {
    let integer = |pragma| sql.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let application = match integer("application_id") {
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            return Err(StoreError::Foreign { path: path.to_owned() });
        }
        other => other?,
    };
    let empty: bool =
        sql.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))?;
    if empty {
        return Err(StoreError::Incomplete { path: path.to_owned() });
    }
    if application != APPLICATION_ID {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    let (found, known) = (integer("user_version")?, present_version());
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    Ok(found == known)
}

/// Brings the database to the present version, from nothing or from an older version.
pub(super) fn migrate(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let version: usize = transaction
        .pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))
        .map(|version| usize::try_from(version).unwrap_or(usize::MAX))?;
    for step in VERSIONS.iter().skip(version) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", present_version())?;
    Ok(())
}

fn present_version() -> i32 {
    i32::try_from(VERSIONS.len()).unwrap_or(i32::MAX)
}
