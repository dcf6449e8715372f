//! Upcoming expirations of certificates that were not replaced.

use rusqlite::params;
use time::OffsetDateTime;

use super::error::StoreError;
use super::inventory::Inventory;
use super::record::Record;
use super::row;

impl Inventory {
    /// Pass the certificates that expire from `from` until before `to` to `each`, in the order of expiry. Only
    /// the last one to expire of each identity counts, and no revoked one: a certificate renewed in time is left
    /// out.
    ///
    /// # Errors
    /// Database errors, or the first error of `each`, which ends the listing.
    pub fn expiring<E: From<StoreError>>(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
        each: impl FnMut(Record) -> Result<(), E>,
    ) -> Result<(), E> {
        self.stream(&expiring_sql(), params![from.unix_timestamp(), to.unix_timestamp()], row::record, each)
    }

    /// The first certificate of [`Inventory::expiring`] from `from` on.
    pub fn next_expiring(&self, from: OffsetDateTime) -> Result<Option<Record>, StoreError> {
        let sql = format!("{} LIMIT 1", expiring_sql());
        Ok(self.collect(&sql, params![from.unix_timestamp(), i64::MAX], row::record)?.pop())
    }
}

fn expiring_sql() -> String {
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
    use super::super::schema;
    use super::*;

    #[test]
    fn expirations_are_found_through_indexes() {
        let mut sql = rusqlite::Connection::open_in_memory().unwrap();
        let transaction = sql.transaction().unwrap();
        schema::migrate(&transaction).unwrap();
        let mut statement = transaction.prepare(&format!("EXPLAIN QUERY PLAN {}", expiring_sql())).unwrap();
        let rows = statement.query_map([0, 1], |row| row.get::<_, String>(3)).unwrap();
        let plan = rows.map(Result::unwrap).collect::<Vec<_>>().join("; ");
        assert!(plan.contains("INDEX certificate_by_expiry (not_after>? AND not_after<?)"), "{plan}");
        assert!(plan.contains("INDEX certificate_by_name (name=? AND role=?)"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }
}
