//! Queries, each answered through an index; long results are streamed.

use std::ops::RangeInclusive;

use rusqlite::{OptionalExtension, Params, Row, params, params_from_iter};
use time::OffsetDateTime;

use super::cluster::ClusterRecord;
use super::error::StoreError;
use super::filter::{Filter, list_sql};
use super::inventory::Inventory;
use super::issuer::{IssuerRecord, IssuerState};
use super::record::{CertificateId, Record, RevokedCertificate};
use super::scan::{OTHER_FINGERPRINT, corrupt_der};
use super::status::RecordCounts;
use super::{lookup, row};
use crate::audit::{Action, AuditEntry, Head};
use crate::identity::{MachineLabel, Name, Role};
use crate::x509::{Certificate, KeyIdentifier, SerialNumber, Sha256};

impl Inventory {
    /// The identity of the cluster.
    pub fn cluster(&self) -> Result<ClusterRecord, StoreError> {
        self.sql.query_row_and_then(&format!("SELECT {} FROM cluster", row::CLUSTER), [], row::cluster)
    }

    /// The issuer that signs new certificates.
    ///
    /// # Errors
    /// [`StoreError::NoActiveIssuer`], or a database error.
    pub fn active_issuer(&self) -> Result<IssuerRecord, StoreError> {
        let active = |issuer: &IssuerRecord| issuer.state == IssuerState::Active;
        self.issuers()?.into_iter().find(active).ok_or(StoreError::NoActiveIssuer)
    }

    /// All issuers, oldest first.
    pub fn issuers(&self) -> Result<Vec<IssuerRecord>, StoreError> {
        self.collect(&format!("SELECT {} FROM issuer ORDER BY id", row::ISSUER), [], row::issuer)
    }

    /// The certificates with this serial number, of any issuer.
    pub fn find(&self, serial_number: SerialNumber) -> Result<Vec<Record>, StoreError> {
        self.collect(&find_sql(), [serial_number.to_octets()], row::record)
    }

    /// The certificates of one identity, newest first.
    pub fn find_identity(&self, role: Role, name: &Name) -> Result<Vec<Record>, StoreError> {
        self.collect(&find_identity_sql(), [name.as_str(), role.as_str()], row::record)
    }

    /// The certificates with this label, newest first.
    pub fn find_label(&self, label: &MachineLabel) -> Result<Vec<Record>, StoreError> {
        self.collect(&find_label_sql(), [label.as_str()], row::record)
    }

    /// The certificates of one key, of any issuer. `public_key` is the SHA-256 of its SubjectPublicKeyInfo.
    pub fn find_public_key(&self, public_key: &Sha256) -> Result<Vec<Record>, StoreError> {
        self.collect(&find_public_key_sql(), [&public_key.0], row::record)
    }

    /// The renewal history of a certificate, itself included, oldest first.
    pub fn lineage(&self, id: &CertificateId) -> Result<Vec<Record>, StoreError> {
        let values = params![id.issuer.0, id.serial_number.to_octets()];
        self.collect(&lineage_sql(), values, row::record)
    }

    /// The reserved serial numbers without a recorded certificate that are not settled: their process is still
    /// running, or crashed.
    pub fn reserved(&self) -> Result<Vec<Record>, StoreError> {
        self.collect(&pending_sql("issue_entry IS NULL"), [], row::record)
    }

    /// The issued certificates whose files may not be written yet.
    pub fn unplaced(&self) -> Result<Vec<Record>, StoreError> {
        self.collect(&pending_sql("issue_entry IS NOT NULL"), [], row::record)
    }

    /// Pass the certificates that match `filter` to `each`. The order is by name for a pattern with a literal
    /// prefix, by expiry for a condition on expiry, and oldest first otherwise.
    ///
    /// # Errors
    /// Database errors, or the first error of `each`, which ends the listing.
    pub fn list<E: From<StoreError>>(
        &self,
        filter: &Filter,
        now: OffsetDateTime,
        each: impl FnMut(Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let (sql, values) = list_sql(filter, None, now);
        self.stream(&sql, params_from_iter(values), row::record, each)
    }

    /// Pass the certificates that match `filter` and follow `after` to `each`, in the default order of
    /// [`Inventory::list`].
    ///
    /// # Errors
    /// [`StoreError::UnknownSerial`] for an unknown `after`, and the errors of [`Inventory::list`].
    pub fn list_after<E: From<StoreError>>(
        &self,
        filter: &Filter,
        after: Option<&CertificateId>,
        now: OffsetDateTime,
        each: impl FnMut(Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(after) = after else { return self.list(filter, now, each) };
        let after = lookup::row_id(&self.sql, after)?;
        let (sql, values) = list_sql(&Filter { order: None, ..filter.clone() }, Some(after), now);
        self.stream(&sql, params_from_iter(values), row::record, each)
    }

    /// Pass the entries of the issuer's CRL to `each`, in the order of serial numbers. Certificates that were
    /// both revoked and expired before `keep_since` are left out.
    ///
    /// # Errors
    /// Database errors, or the first error of `each`, which ends the listing.
    pub fn revoked<E: From<StoreError>>(
        &self,
        issuer: &KeyIdentifier,
        keep_since: OffsetDateTime,
        each: impl FnMut(RevokedCertificate) -> Result<(), E>,
    ) -> Result<(), E> {
        self.stream(&revoked_sql(), params![issuer.0, keep_since.unix_timestamp()], row::revoked, each)?;
        // Frees the pages of up to a million entries, which are not needed again.
        Ok(self.sql.release_memory().map_err(StoreError::from)?)
    }

    /// Pass the serial numbers of the issuer's revoked certificates, expired or not, to `each`, in their order.
    ///
    /// # Errors
    /// Database errors, or the first error of `each`, which ends the listing.
    pub fn revoked_serial_numbers<E: From<StoreError>>(
        &self,
        issuer: &KeyIdentifier,
        each: impl FnMut(SerialNumber) -> Result<(), E>,
    ) -> Result<(), E> {
        self.stream(REVOKED_SERIAL_NUMBERS, [&issuer.0], row::serial_number, each)
    }

    /// The number of revoked certificates of the issuer, expired or not.
    pub fn count_revoked(&self, issuer: &KeyIdentifier) -> Result<u64, StoreError> {
        let count =
            self.sql.prepare_cached(COUNT_REVOKED)?.query_row([&issuer.0], |row| row.get::<_, i64>(0))?;
        Ok(count.unsigned_abs())
    }

    /// An issued certificate, checked against its recorded fingerprint.
    ///
    /// # Errors
    /// [`StoreError::UnknownSerial`] when none was issued under this number, or a database error.
    pub fn certificate(
        &self,
        issuer: &KeyIdentifier,
        serial_number: SerialNumber,
    ) -> Result<Certificate, StoreError> {
        let (id, der, fingerprint) = self
            .sql
            .prepare_cached(
                "SELECT id, der, fingerprint FROM certificate JOIN certificate_der USING (id) \
                 WHERE issuer = (SELECT id FROM issuer WHERE key_id = ?1) AND serial = ?2",
            )?
            .query_row(params![issuer.0, serial_number.to_octets()], |row| {
                Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?, row.get(2)?))
            })
            .optional()?
            .ok_or(StoreError::UnknownSerial { serial_number })?;
        if Sha256::of(&der) != Sha256(fingerprint) {
            return Err(corrupt_der(id, OTHER_FINGERPRINT));
        }
        Certificate::from_der(&der).map_err(|error| corrupt_der(id, error))
    }

    /// The number of certificates of each status at `now`.
    pub fn counts(&self, now: OffsetDateTime) -> Result<RecordCounts, StoreError> {
        let mut statement = self.sql.prepare_cached(COUNTS)?;
        let [reserved, valid, expired, revoked] = statement.query_row([now.unix_timestamp()], |row| {
            Ok([row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?, row.get(3)?].map(i64::unsigned_abs))
        })?;
        Ok(RecordCounts { reserved, valid, expired, revoked })
    }

    /// One entry of the audit chain.
    pub fn audit_entry(&self, seq: u64) -> Result<Option<AuditEntry>, StoreError> {
        let sql = format!("SELECT {} FROM audit WHERE seq = ?1", row::ENTRY);
        Ok(self.collect(&sql, [row::to_integer(seq)], row::entry)?.pop())
    }

    /// Pass the audit entries after number `after` to `each`, in their order; 0 for all.
    ///
    /// # Errors
    /// Database errors, or the first error of `each`, which ends the listing.
    pub fn audit_entries<E: From<StoreError>>(
        &self,
        after: u64,
        each: impl FnMut(AuditEntry) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = format!("SELECT {} FROM audit WHERE seq > ?1 ORDER BY seq", row::ENTRY);
        self.stream(&sql, [row::to_integer(after)], row::entry, each)
    }

    /// Pass the audit entries with these numbers to `each`, in their order. The numbers below 1, which no entry
    /// should have, belong to the range that begins with 1.
    pub(super) fn audit_range(
        &self,
        range: RangeInclusive<u64>,
        each: impl FnMut(AuditEntry) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let sql = format!("SELECT {} FROM audit WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq", row::ENTRY);
        let (first, last) = (row::to_integer(*range.start()), row::to_integer(*range.end()));
        let first = if first <= 1 { i64::MIN } else { first };
        self.stream(&sql, [first, last], row::entry, each)
    }

    /// The head of the audit chain, not verified.
    pub fn audit_head(&self) -> Result<Head, StoreError> {
        lookup::head(&self.sql)
    }

    /// The head of the audit chain without migrations at its end, which copies of one inventory make separately.
    pub fn head_of_changes(&self) -> Result<Head, StoreError> {
        let mut head = self.audit_head()?;
        while let Some(entry) = self.audit_entry(head.seq)? {
            if entry.event.action != Action::InventoryMigrate {
                break;
            }
            head = Head { seq: entry.seq.saturating_sub(1), hash: entry.previous };
        }
        Ok(head)
    }

    pub(super) fn collect<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: fn(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut all = Vec::new();
        self.stream(sql, values, read, |one| {
            all.push(one);
            Ok::<_, StoreError>(())
        })?;
        Ok(all)
    }

    pub(super) fn stream<T, E: From<StoreError>>(
        &self,
        sql: &str,
        values: impl Params,
        read: fn(&Row<'_>) -> Result<T, StoreError>,
        mut each: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut statement = self.sql.prepare_cached(sql).map_err(StoreError::from)?;
        let mut rows = statement.query(values).map_err(StoreError::from)?;
        while let Some(row) = rows.next().map_err(StoreError::from)? {
            each(read(row)?)?;
        }
        Ok(())
    }
}

pub(super) fn find_sql() -> String {
    format!("SELECT {} FROM certificate WHERE serial = ?1 ORDER BY issuer", row::RECORD)
}

fn find_identity_sql() -> String {
    format!("SELECT {} FROM certificate WHERE name = ?1 AND role = ?2 ORDER BY id DESC", row::RECORD)
}

fn find_label_sql() -> String {
    format!(
        "SELECT {} FROM certificate INDEXED BY certificate_by_label WHERE label = ?1 ORDER BY id DESC",
        row::RECORD
    )
}

fn find_public_key_sql() -> String {
    format!(
        "SELECT {} FROM certificate INDEXED BY certificate_by_public_key \
         WHERE substr(public_key, 1, 8) = substr(?1, 1, 8) AND public_key = ?1 ORDER BY id",
        row::RECORD
    )
}

fn lineage_sql() -> String {
    format!(
        "WITH RECURSIVE \
         this (id) AS (SELECT id FROM certificate WHERE serial = ?2 AND issuer = (SELECT id FROM issuer WHERE key_id = ?1)), \
         older (id) AS (SELECT id FROM this UNION SELECT supersedes FROM certificate JOIN older USING (id) \
             WHERE supersedes IS NOT NULL), \
         newer (id) AS (SELECT id FROM this UNION SELECT certificate.id FROM newer JOIN certificate \
             ON certificate.supersedes = newer.id AND certificate.issue_entry IS NOT NULL) \
         SELECT {} FROM certificate WHERE id IN (SELECT id FROM older UNION SELECT id FROM newer) ORDER BY id",
        row::RECORD
    )
}

/// `INDEXED BY` here and below makes a statement that cannot use the index an error instead of a slow query.
fn pending_sql(which: &'static str) -> String {
    format!(
        "SELECT {} FROM certificate INDEXED BY certificate_pending WHERE placed = 0 AND {which} ORDER BY issue_entry, id",
        row::RECORD
    )
}

fn revoked_sql() -> String {
    format!(
        "SELECT {} FROM certificate INDEXED BY certificate_revoked \
         WHERE issuer = (SELECT id FROM issuer WHERE key_id = ?1) AND revoked_at IS NOT NULL \
         AND NOT (revoked_at < ?2 AND not_after < ?2) ORDER BY serial",
        row::REVOKED
    )
}

const REVOKED_SERIAL_NUMBERS: &str = "SELECT id, serial FROM certificate INDEXED BY certificate_revoked \
    WHERE issuer = (SELECT id FROM issuer WHERE key_id = ?1) AND revoked_at IS NOT NULL ORDER BY serial";

const COUNT_REVOKED: &str = "SELECT count(*) FROM certificate INDEXED BY certificate_revoked \
    WHERE issuer = (SELECT id FROM issuer WHERE key_id = ?1) AND revoked_at IS NOT NULL";

const COUNTS: &str = "SELECT \
    (SELECT count(*) FROM certificate INDEXED BY certificate_pending WHERE placed = 0 AND issue_entry IS NULL), \
    (SELECT count(*) FROM certificate INDEXED BY certificate_by_expiry WHERE revoked_at IS NULL AND not_after >= ?1), \
    (SELECT count(*) FROM certificate INDEXED BY certificate_by_expiry WHERE revoked_at IS NULL AND not_after < ?1), \
    (SELECT count(*) FROM certificate INDEXED BY certificate_revoked WHERE revoked_at IS NOT NULL)";

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::super::schema;
    use super::*;

    const NOW: OffsetDateTime = datetime!(2027-01-31 12:00 UTC);

    #[test]
    fn queries_are_answered_through_indexes() {
        let mut sql = rusqlite::Connection::open_in_memory().unwrap();
        let transaction = sql.transaction().unwrap();
        schema::migrate(&transaction).unwrap();
        let plan = |query: &str| {
            let mut statement = transaction.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
            let values = std::iter::repeat_n("al*", statement.parameter_count());
            let rows = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
            rows.map(Result::unwrap).collect::<Vec<_>>().join("; ")
        };
        let named = Filter { name: Some("al*".to_owned()), ..Filter::default() };
        let labelled = Filter { label: Some("al*".to_owned()), ..Filter::default() };
        let expiring = Filter { expires_before: Some(NOW), ..Filter::default() };
        for (query, expected) in [
            (find_sql(), "INDEX sqlite_autoindex_certificate_1 (serial=?)"),
            (find_public_key_sql(), "INDEX certificate_by_public_key (<expr>=?)"),
            (COUNT_REVOKED.to_owned(), "COVERING INDEX certificate_revoked (issuer=?)"),
            (find_label_sql(), "INDEX certificate_by_label (label=?)"),
            (find_identity_sql(), "INDEX certificate_by_name (name=? AND role=?)"),
            (pending_sql("issue_entry IS NULL"), "INDEX certificate_pending (issue_entry=?)"),
            (pending_sql("issue_entry IS NOT NULL"), "INDEX certificate_pending"),
            (revoked_sql(), "COVERING INDEX certificate_revoked (issuer=?)"),
            (list_sql(&named, None, NOW).0, "INDEX certificate_by_name (name>? AND name<?)"),
            (list_sql(&labelled, None, NOW).0, "INDEX certificate_by_label (label>? AND label<?)"),
            (list_sql(&expiring, None, NOW).0, "INDEX certificate_by_expiry (not_after<?)"),
            (COUNTS.to_owned(), "INDEX certificate_by_expiry (not_after>?)"),
            (lookup::MARK_PLACED.to_owned(), "INDEX certificate_pending (issue_entry>? AND issue_entry<?)"),
        ] {
            let plan = plan(&query);
            assert!(plan.contains(expected), "{query}\n{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{query}\n{plan}");
        }
    }
}
