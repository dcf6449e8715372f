//! Tables and their versions.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, Transaction};

use super::error::StoreError;

/// `clca` in the file header, which identifies this program's databases.
const APPLICATION_ID: i32 = 0x636c_6361;

/// Migration step to each version; the first creates the tables.
const VERSIONS: [&str; 1] = [include_str!("schema-1.sql")];

/// True if the database has the current version; an older one needs [`migrate`].
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
    let (found, known) = (integer("user_version")?, current_version());
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    Ok(found == known)
}

/// Migrates a new or older database to the current version.
pub(super) fn migrate(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let version: usize = transaction
        .pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))
        .map(|version| usize::try_from(version).unwrap_or(usize::MAX))?;
    for step in VERSIONS.iter().skip(version) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", current_version())?;
    Ok(())
}

fn current_version() -> i32 {
    i32::try_from(VERSIONS.len()).unwrap_or(i32::MAX)
}
