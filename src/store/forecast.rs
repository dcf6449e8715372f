//! What ends, and when: certificates that hold and that nothing has taken the place of.

use rusqlite::params;
use time::OffsetDateTime;

use super::{Inventory, Record, StoreError, row};

impl Inventory {
    /// Hands the certificates that end from `from` until before `to` to `each`, the first to end first:
    /// not revoked, and the last to end of their identity, so that one that was renewed in time does
    /// not count.
    ///
    /// # Errors
    /// What the database says, or the first error of `each`, which ends the listing.
    pub fn ending<E: From<StoreError>>(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
        each: impl FnMut(Record) -> Result<(), E>,
    ) -> Result<(), E> {
        self.stream(&ending_sql(), params![from.unix_timestamp(), to.unix_timestamp()], row::record, each)
    }

    /// The first certificate to end from `from` on, of those that [`Inventory::ending`] tells.
    ///
    /// # Errors
    /// What the database says.
    pub fn first_ending(&self, from: OffsetDateTime) -> Result<Option<Record>, StoreError> {
        let sql = format!("{} LIMIT 1", ending_sql());
        Ok(self.collect(&sql, params![from.unix_timestamp(), i64::MAX], row::record)?.pop())
    }
}

fn ending_sql() -> String {
    format!(
        "SELECT {} FROM certificate INDEXED BY certificate_by_expiry \
         WHERE revoked_at IS NULL AND not_after >= ?1 AND not_after < ?2 AND NOT EXISTS ( \
             SELECT 1 FROM certificate AS later INDEXED BY certificate_by_name \
             WHERE later.name = certificate.name AND later.role = certificate.role \
               AND later.revoked_at IS NULL AND later.not_after > certificate.not_after) \
         ORDER BY not_after, id",
        row::RECORD
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema;

    #[test]
    fn what_ends_is_found_through_indexes() {
        let mut sql = rusqlite::Connection::open_in_memory().unwrap();
        let transaction = sql.transaction().unwrap();
        schema::migrate(&transaction).unwrap();
        let mut statement = transaction.prepare(&format!("EXPLAIN QUERY PLAN {}", ending_sql())).unwrap();
        let rows = statement.query_map([0, 1], |row| row.get::<_, String>(3)).unwrap();
        let plan = rows.map(Result::unwrap).collect::<Vec<_>>().join("; ");
        assert!(plan.contains("INDEX certificate_by_expiry (not_after>? AND not_after<?)"), "{plan}");
        assert!(plan.contains("INDEX certificate_by_name (name=? AND role=?)"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }
}
