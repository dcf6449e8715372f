//! Tables and their versions.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, Transaction};

use super::error::{SchemaDefect, StoreError};
use crate::error::excerpt;

/// `clca` in the file header, which identifies this program's databases.
const APPLICATION_ID: i32 = 0x636c_6361;

/// Migration step to each version; the first creates the tables.
const VERSIONS: [&str; 5] = [
    include_str!("schema-1.sql"),
    include_str!("schema-2.sql"),
    include_str!("schema-3.sql"),
    include_str!("schema-4.sql"),
    include_str!("schema-5.sql"),
];

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
    // Before a migration too: it writes to the tables, and would start triggers of another program.
    match usize::try_from(found) {
        Ok(version @ 1..) => check_objects(sql, path, version)?,
        _ => return Err(StoreError::Foreign { path: path.to_owned() }),
    }
    Ok(found == known)
}

/// Refuse any table, index, trigger or view that this version does not have, and any that is missing or altered.
///
/// SQLite runs triggers, views, generated columns and expressions on behalf of the program that opens the file, so
/// another program could change through them what this one writes or reads.
fn check_objects(sql: &Connection, path: &Path, version: usize) -> Result<(), StoreError> {
    let mut model = Connection::open_in_memory()?;
    let transaction = model.transaction()?;
    for step in VERSIONS.iter().take(version) {
        transaction.execute_batch(step)?;
    }
    let (expected, found) = (objects(&transaction)?, objects(sql)?);
    match expected.symmetric_difference(&found).next() {
        None => Ok(()),
        Some(object) => {
            let defect = match found.contains(object) {
                true => SchemaDefect::Added,
                false => SchemaDefect::Missing,
            };
            let object = excerpt(object.name.trim_matches('\''));
            Err(StoreError::Schema { path: path.to_owned(), object, defect })
        }
    }
}

/// Row of `sqlite_schema`; each text as an SQL literal, whatever its type in the file.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct SchemaObject {
    name: String,
    kind: String,
    table: String,
    definition: String,
    /// Virtual tables, views and triggers have no pages.
    has_pages: bool,
}

fn objects(sql: &Connection) -> Result<BTreeSet<SchemaObject>, StoreError> {
    let mut statement = sql.prepare(
        "SELECT quote(name), quote(type), quote(tbl_name), quote(sql), rootpage > 0 FROM sqlite_schema",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(SchemaObject {
            name: row.get(0)?,
            kind: row.get(1)?,
            table: row.get(2)?,
            definition: row.get(3)?,
            has_pages: row.get::<_, Option<bool>>(4)?.unwrap_or_default(),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Migrate a new or older database to the current version, and return the former one; 0 for a new database.
pub(super) fn migrate(transaction: &Transaction<'_>) -> Result<u32, StoreError> {
    let version: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for step in VERSIONS.iter().skip(usize::try_from(version).unwrap_or(usize::MAX)) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", current_version())?;
    Ok(version)
}

/// The version that this program writes.
pub(super) fn current_version() -> i32 {
    i32::try_from(VERSIONS.len()).unwrap_or(i32::MAX)
}
