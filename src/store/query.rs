//! Questions, each answered through an index, and in a stream where the answer may be long.

use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Params, Row, params, params_from_iter};
use time::OffsetDateTime;

use super::{
    CertificateId, Cluster, Counts, Inventory, Issuer, IssuerState, Record, Status, StoreError, row,
    transaction,
};
use crate::audit::{Entry, Head};
use crate::identity::{Name, Role};
use crate::revocation::RevocationReason;
use crate::x509::{Certificate, KeyIdentifier, SerialNumber, Sha256};

/// Which certificates to list; the default is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this role only.
    pub role: Option<Role>,
    /// With names that match this pattern only: `*`, `?`, `[a-z]` as a shell has them, case-sensitive.
    pub name: Option<String>,
    /// Of this status only.
    pub status: Option<Status>,
    /// Not revoked, and past their last second at this time.
    pub expires_before: Option<OffsetDateTime>,
    /// Issued at this time or later.
    pub issued_after: Option<OffsetDateTime>,
    /// Issued before this time.
    pub issued_before: Option<OffsetDateTime>,
    /// Revoked for this reason only.
    pub reason: Option<RevocationReason>,
    /// Without those whose place another certificate took.
    pub newest: bool,
}

/// What a CRL says of a certificate, and until when it has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevokedCertificate {
    /// Its serial number.
    pub serial_number: SerialNumber,
    /// Since when it is revoked.
    pub revoked_at: OffsetDateTime,
    /// Why.
    pub reason: RevocationReason,
    /// The last second of its validity.
    pub not_after: OffsetDateTime,
}

impl Inventory {
    /// The cluster that this inventory is about.
    ///
    /// # Errors
    /// What the database says.
    pub fn cluster(&self) -> Result<Cluster, StoreError> {
        self.sql.query_row_and_then(&format!("SELECT {} FROM cluster", row::CLUSTER), [], row::cluster)
    }

    /// The issuer that signs what is issued now.
    ///
    /// # Errors
    /// [`StoreError::NoActiveIssuer`], or what the database says.
    pub fn active_issuer(&self) -> Result<Issuer, StoreError> {
        let active = |issuer: &Issuer| issuer.state == IssuerState::Active;
        self.issuers()?.into_iter().find(active).ok_or(StoreError::NoActiveIssuer)
    }

    /// Every issuer, the oldest first.
    ///
    /// # Errors
    /// What the database says.
    pub fn issuers(&self) -> Result<Vec<Issuer>, StoreError> {
        self.collect(&format!("SELECT {} FROM issuer ORDER BY id", row::ISSUER), [], row::issuer)
    }

    /// The certificates with this serial number, of whatever issuer.
    ///
    /// # Errors
    /// What the database says.
    pub fn find(&self, serial_number: SerialNumber) -> Result<Vec<Record>, StoreError> {
        self.collect(&find_sql(), [serial_number.to_octets()], row::record)
    }

    /// The certificates of one identity, the newest first.
    ///
    /// # Errors
    /// What the database says.
    pub fn find_identity(&self, role: Role, name: &Name) -> Result<Vec<Record>, StoreError> {
        self.collect(&find_identity_sql(), [name.as_str(), role.as_str()], row::record)
    }

    /// The certificates for one key, of whatever issuer; `public_key` is the SHA-256 of its
    /// SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// What the database says.
    pub fn find_public_key(&self, public_key: &Sha256) -> Result<Vec<Record>, StoreError> {
        self.collect(&find_public_key_sql(), [&public_key.0], row::record)
    }

    /// The line of renewals that a certificate stands in, itself included, the oldest first.
    ///
    /// # Errors
    /// What the database says.
    pub fn lineage(&self, id: &CertificateId) -> Result<Vec<Record>, StoreError> {
        let values = params![id.issuer.0, id.serial_number.to_octets()];
        self.collect(&lineage_sql(), values, row::record)
    }

    /// The serial numbers that are reserved, were never recorded as signed, and are not settled: their
    /// process is still at work, or crashed.
    ///
    /// # Errors
    /// What the database says.
    pub fn reserved(&self) -> Result<Vec<Record>, StoreError> {
        self.collect(&pending_sql("issue_entry IS NULL"), [], row::record)
    }

    /// The issued certificates whose files may not be in their places yet.
    ///
    /// # Errors
    /// What the database says.
    pub fn unplaced(&self) -> Result<Vec<Record>, StoreError> {
        self.collect(&pending_sql("issue_entry IS NOT NULL"), [], row::record)
    }

    /// Hands the certificates that match `filter` to `each`, one by one: by name for a pattern that begins
    /// with a letter or digit, else by expiry for one by expiry, else the oldest first.
    ///
    /// # Errors
    /// What the database says, or the first error of `each`, which ends the listing.
    pub fn list<E: From<StoreError>>(
        &self,
        filter: &Filter,
        now: OffsetDateTime,
        each: impl FnMut(Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let (sql, values) = list_sql(filter, now);
        self.stream(&sql, params_from_iter(values), row::record, each)
    }

    /// Hands what the issuer's CRL has to say to `each`, in the order of the serial numbers; without the
    /// certificates that were both revoked and past their last second before `told_until`.
    ///
    /// # Errors
    /// What the database says, or the first error of `each`, which ends the listing.
    pub fn revoked<E: From<StoreError>>(
        &self,
        issuer: &KeyIdentifier,
        told_until: OffsetDateTime,
        each: impl FnMut(RevokedCertificate) -> Result<(), E>,
    ) -> Result<(), E> {
        self.stream(&revoked_sql(), params![issuer.0, told_until.unix_timestamp()], row::revoked, each)?;
        // The pages of a million entries are not needed again.
        Ok(self.sql.release_memory().map_err(StoreError::from)?)
    }

    /// How many certificates of the issuer are revoked, expired or not.
    ///
    /// # Errors
    /// What the database says.
    pub fn count_revoked(&self, issuer: &KeyIdentifier) -> Result<u64, StoreError> {
        let count =
            self.sql.prepare_cached(COUNT_REVOKED)?.query_row([&issuer.0], |row| row.get::<_, i64>(0))?;
        Ok(count.unsigned_abs())
    }

    /// An issued certificate itself, checked against its recorded fingerprint.
    ///
    /// # Errors
    /// [`StoreError::UnknownSerial`] when none was issued under this number, or what the database says.
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
        let corrupt = |source| StoreError::Corrupt {
            table: "certificate_der",
            row: id,
            column: "der".to_owned(),
            source,
        };
        if Sha256::of(&der) != Sha256(fingerprint) {
            return Err(corrupt("its SHA-256 is not the recorded fingerprint".into()));
        }
        Certificate::from_der(&der).map_err(|e| corrupt(e.into()))
    }

    /// How many certificates there are of each status at `now`.
    ///
    /// # Errors
    /// What the database says.
    pub fn counts(&self, now: OffsetDateTime) -> Result<Counts, StoreError> {
        let mut statement = self.sql.prepare_cached(COUNTS)?;
        let [reserved, valid, expired, revoked] = statement.query_row([now.unix_timestamp()], |row| {
            Ok([row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?, row.get(3)?].map(i64::unsigned_abs))
        })?;
        Ok(Counts { reserved, valid, expired, revoked })
    }

    /// One entry of the audit chain.
    ///
    /// # Errors
    /// What the database says.
    pub fn audit_entry(&self, seq: u64) -> Result<Option<Entry>, StoreError> {
        let sql = format!("SELECT {} FROM audit WHERE seq = ?1", row::ENTRY);
        Ok(self.collect(&sql, [row::to_integer(seq)], row::entry)?.pop())
    }

    /// Hands the audit entries that come after number `after` to `each`, in their order; 0 for all.
    ///
    /// # Errors
    /// What the database says, or the first error of `each`, which ends the listing.
    pub fn audit_entries<E: From<StoreError>>(
        &self,
        after: u64,
        each: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = format!("SELECT {} FROM audit WHERE seq > ?1 ORDER BY seq", row::ENTRY);
        self.stream(&sql, [row::to_integer(after)], row::entry, each)
    }

    /// The end of the audit chain, unchecked.
    ///
    /// # Errors
    /// What the database says.
    pub fn audit_head(&self) -> Result<Head, StoreError> {
        transaction::head(&self.sql)
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

fn find_sql() -> String {
    format!("SELECT {} FROM certificate WHERE serial = ?1 ORDER BY issuer", row::RECORD)
}

fn find_identity_sql() -> String {
    format!("SELECT {} FROM certificate WHERE name = ?1 AND role = ?2 ORDER BY id DESC", row::RECORD)
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

/// `INDEXED BY` here and below: a statement that could not use the index is an error, not a slow answer.
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

const COUNT_REVOKED: &str = "SELECT count(*) FROM certificate INDEXED BY certificate_revoked \
    WHERE issuer = (SELECT id FROM issuer WHERE key_id = ?1) AND revoked_at IS NOT NULL";

const COUNTS: &str = "SELECT \
    (SELECT count(*) FROM certificate INDEXED BY certificate_pending WHERE placed = 0 AND issue_entry IS NULL), \
    (SELECT count(*) FROM certificate INDEXED BY certificate_by_expiry WHERE revoked_at IS NULL AND not_after >= ?1), \
    (SELECT count(*) FROM certificate INDEXED BY certificate_by_expiry WHERE revoked_at IS NULL AND not_after < ?1), \
    (SELECT count(*) FROM certificate INDEXED BY certificate_revoked WHERE revoked_at IS NOT NULL)";

fn list_sql(filter: &Filter, now: OffsetDateTime) -> (String, Vec<Value>) {
    let mut conditions = vec!["TRUE"];
    let mut values = Vec::new();
    let prefix =
        filter.name.as_deref().and_then(|pattern| pattern.split(['*', '?', '[']).next()).unwrap_or_default();
    if let Some(pattern) = &filter.name {
        conditions.push("name GLOB ?");
        values.push(Value::from(pattern.clone()));
    }
    if !prefix.is_empty() {
        conditions.push("name >= ? AND name < ?");
        values.extend([Value::from(prefix.to_owned()), Value::from(format!("{prefix}{}", char::MAX))]);
    }
    if let Some(role) = filter.role {
        conditions.push("role = ?");
        values.push(Value::from(role.as_str().to_owned()));
    }
    if let Some(time) = filter.expires_before {
        conditions.push("revoked_at IS NULL AND not_after < ?");
        values.push(Value::from(time.unix_timestamp()));
    }
    if let Some(time) = filter.issued_after {
        conditions.push("issue_entry IS NOT NULL AND reserved_at >= ?");
        values.push(Value::from(time.unix_timestamp()));
    }
    if let Some(time) = filter.issued_before {
        conditions.push("issue_entry IS NOT NULL AND reserved_at < ?");
        values.push(Value::from(time.unix_timestamp()));
    }
    if let Some(reason) = filter.reason {
        conditions.push("revoked_at IS NOT NULL AND revocation_reason = ?");
        values.push(Value::from(i64::from(reason.code())));
    }
    if filter.newest {
        conditions.push(
            "NOT EXISTS (SELECT 1 FROM certificate AS new \
             WHERE new.supersedes = certificate.id AND new.issue_entry IS NOT NULL)",
        );
    }
    let by_status = match filter.status {
        None => None,
        Some(Status::Reserved) => Some("issue_entry IS NULL"),
        Some(Status::Valid) => Some("revoked_at IS NULL AND not_after >= ?"),
        Some(Status::Expired) => Some("revoked_at IS NULL AND not_after < ?"),
        Some(Status::Revoked) => Some("revoked_at IS NOT NULL"),
    };
    conditions.extend(by_status);
    if matches!(filter.status, Some(Status::Valid | Status::Expired)) {
        values.push(Value::from(now.unix_timestamp()));
    }

    // The order is the index's own, so that nothing is sorted and the first row comes at once.
    let (index, order) = if !prefix.is_empty() {
        ("INDEXED BY certificate_by_name", "name, role")
    } else if filter.expires_before.is_some() || filter.status == Some(Status::Expired) {
        ("INDEXED BY certificate_by_expiry", "not_after, id")
    } else {
        match filter.status {
            _ if filter.reason.is_some() => ("INDEXED BY certificate_revoked", "issuer, serial"),
            Some(Status::Revoked) => ("INDEXED BY certificate_revoked", "issuer, serial"),
            _ => ("NOT INDEXED", "id"),
        }
    };
    let conditions = conditions.join(" AND ");
    (format!("SELECT {} FROM certificate {index} WHERE {conditions} ORDER BY {order}", row::RECORD), values)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::store::schema;

    const NOW: OffsetDateTime = datetime!(2027-01-31 12:00 UTC);

    #[test]
    fn questions_are_answered_through_indexes() {
        let mut sql = rusqlite::Connection::open_in_memory().unwrap();
        let transaction = sql.transaction().unwrap();
        schema::migrate(&transaction).unwrap();
        let plan = |question: &str| {
            let mut statement = transaction.prepare(&format!("EXPLAIN QUERY PLAN {question}")).unwrap();
            let values = std::iter::repeat_n("al*", statement.parameter_count());
            let rows = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
            rows.map(Result::unwrap).collect::<Vec<_>>().join("; ")
        };
        let named = Filter { name: Some("al*".to_owned()), ..Filter::default() };
        let expiring = Filter { expires_before: Some(NOW), ..Filter::default() };
        for (question, expected) in [
            (find_sql(), "INDEX sqlite_autoindex_certificate_1 (serial=?)"),
            (find_public_key_sql(), "INDEX certificate_by_public_key (<expr>=?)"),
            (COUNT_REVOKED.to_owned(), "COVERING INDEX certificate_revoked (issuer=?)"),
            (find_identity_sql(), "INDEX certificate_by_name (name=? AND role=?)"),
            (pending_sql("issue_entry IS NULL"), "INDEX certificate_pending (issue_entry=?)"),
            (pending_sql("issue_entry IS NOT NULL"), "INDEX certificate_pending"),
            (revoked_sql(), "COVERING INDEX certificate_revoked (issuer=?)"),
            (list_sql(&named, NOW).0, "INDEX certificate_by_name (name>? AND name<?)"),
            (list_sql(&expiring, NOW).0, "INDEX certificate_by_expiry (not_after<?)"),
            (COUNTS.to_owned(), "INDEX certificate_by_expiry (not_after>?)"),
        ] {
            let plan = plan(&question);
            assert!(plan.contains(expected), "{question}\n{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{question}\n{plan}");
        }
    }

    #[test]
    fn every_filter_has_a_plan_that_sorts_nothing() {
        let mut sql = rusqlite::Connection::open_in_memory().unwrap();
        let transaction = sql.transaction().unwrap();
        schema::migrate(&transaction).unwrap();
        for name in [None, Some("al*"), Some("*"), Some("")] {
            for status in Status::ALL.into_iter().map(Some).chain([None]) {
                for expires_before in [None, Some(NOW)] {
                    for role in [None, Some(Role::GATEWAY)] {
                        let filter = Filter {
                            role,
                            name: name.map(str::to_owned),
                            status,
                            expires_before,
                            newest: role.is_some(),
                            ..Filter::default()
                        };
                        let (question, values) = list_sql(&filter, NOW);
                        let mut statement =
                            transaction.prepare(&format!("EXPLAIN QUERY PLAN {question}")).unwrap();
                        let steps = statement.query_map(params_from_iter(values), |row| row.get(3)).unwrap();
                        for step in steps.map(|step: rusqlite::Result<String>| step.unwrap()) {
                            assert!(!step.contains("TEMP B-TREE"), "{question}: {step}");
                        }
                    }
                }
            }
        }
    }
}
