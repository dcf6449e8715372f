//! Changes, each with the audit entry that tells of it.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, ffi, params};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    CertificateId, Cluster, CurrentCrl, Intent, Issue, IssuerState, Record, Revocation, StoreError, row,
};
use crate::audit::{Action, Event, Head, Outcome, Provenance};
use crate::clock::rfc3339;
use crate::revocation::RevocationReason;
use crate::x509::{Certificate, KeyIdentifier, SerialNumber, Sha256};

/// Changes that happen together or not at all.
///
/// Each step takes the transaction and gives it back: after a refused step there is none left to
/// commit. Each step appends its own audit entries, so that no change goes untold.
#[derive(Debug)]
#[must_use = "nothing happens before `commit`"]
pub struct Transaction<'a> {
    pub(super) sql: rusqlite::Transaction<'a>,
    pub(super) head: Head,
    provenance: Provenance,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(sql: rusqlite::Transaction<'a>, provenance: &Provenance) -> Result<Self, StoreError> {
        Ok(Self { head: head(&sql)?, sql, provenance: provenance.clone() })
    }

    pub(super) fn initialize(self, cluster: &Cluster, root: &Certificate) -> Result<Self, StoreError> {
        let key_id = root.subject_key_identifier.as_ref().ok_or(StoreError::NoKeyIdentifier)?;
        self.sql.execute(
            "INSERT INTO cluster (id, name, uuid, trust_domain, created_at) VALUES (1, ?1, ?2, ?3, ?4)",
            params![
                cluster.name.as_str(),
                cluster.uuid.as_bytes(),
                cluster.trust_domain.as_str(),
                cluster.created_at.unix_timestamp(),
            ],
        )?;
        self.sql.execute(
            "INSERT INTO issuer (key_id, certificate, state) VALUES (?1, ?2, ?3)",
            params![key_id.0, root.der.as_ref(), IssuerState::Active.as_str()],
        )?;
        let details = initialize_details(cluster, key_id, root);
        self.record(Action::ClusterInitialize, cluster.name.to_string(), Outcome::Success, details)
    }

    /// Sets serial numbers aside for certificates about to be signed: one audit entry for all.
    ///
    /// # Errors
    /// [`StoreError::DuplicateSerial`], [`StoreError::NotSupersedable`], [`StoreError::UnknownIssuer`], or
    /// what the database says.
    pub fn reserve(self, issuer: &KeyIdentifier, intents: &[Intent]) -> Result<Self, StoreError> {
        let at = self.provenance.at;
        self.reserve_as_of(at, issuer, intents)
    }

    /// The same for certificates that were signed under them at another time.
    pub(super) fn reserve_as_of(
        mut self,
        at: OffsetDateTime,
        issuer: &KeyIdentifier,
        intents: &[Intent],
    ) -> Result<Self, StoreError> {
        let issuer_id = issuer_id(&self.sql, issuer)?;
        let serial_numbers: Vec<_> = intents.iter().map(|intent| intent.serial_number).collect();
        let details = json!({ "serial_numbers": serial_numbers });
        let entry = self.append(Action::CertificateReserve, issuer.to_string(), Outcome::Success, details)?;
        let octets = |path: &Path| path.as_os_str().as_bytes().to_owned();
        for intent in intents {
            let supersedes =
                intent.supersedes.as_ref().map(|old| supersedable(&self.sql, old)).transpose()?;
            self.sql
                .prepare_cached(
                    "INSERT INTO certificate (issuer, serial, role, name, profile, certificate_path, key_path, \
                     supersedes, reserved_at, reserve_entry) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                )?
                .execute(params![
                    issuer_id,
                    intent.serial_number.to_octets(),
                    intent.role.as_str(),
                    intent.name.as_str(),
                    intent.profile.0,
                    octets(&intent.certificate_path),
                    intent.key_path.as_deref().map(octets),
                    supersedes,
                    at.unix_timestamp(),
                    row::to_integer(entry),
                ])
                .map_err(|error| match error.sqlite_error() {
                    Some(e) if e.extended_code == ffi::SQLITE_CONSTRAINT_UNIQUE => {
                        StoreError::DuplicateSerial { serial_number: intent.serial_number }
                    }
                    _ => error.into(),
                })?;
        }
        Ok(self)
    }

    /// Records certificates signed under reserved serial numbers, an audit entry each; what is recorded
    /// is what the certificates say.
    ///
    /// # Errors
    /// [`StoreError::UnknownSerial`], [`StoreError::NotReserved`], [`StoreError::UnknownIssuer`], or what
    /// the database says.
    pub fn issue(mut self, issuer: &KeyIdentifier, issued: &[Certificate]) -> Result<Self, StoreError> {
        let issuer_id = issuer_id(&self.sql, issuer)?;
        for certificate in issued {
            let serial_number = certificate.serial_number;
            let (id, mut record) = existing(&self.sql, issuer_id, serial_number)?;
            if record.issue.is_some() {
                return Err(StoreError::NotReserved { serial_number });
            }
            let issue = Issue {
                not_before: certificate.not_before,
                not_after: certificate.not_after,
                fingerprint: certificate.fingerprint(),
                public_key: Sha256::of(&certificate.public_key_info),
                placed: false,
                entry: self.head.next_seq(),
            };
            record.issue = Some(issue);
            self.append(Action::CertificateIssue, target(&record), Outcome::Success, issue_details(&record))?;
            self.sql
                .prepare_cached(
                    "UPDATE certificate SET not_before = ?1, not_after = ?2, fingerprint = ?3, public_key = ?4, \
                     issue_entry = ?5 WHERE id = ?6",
                )?
                .execute(params![
                    issue.not_before.unix_timestamp(),
                    issue.not_after.unix_timestamp(),
                    issue.fingerprint.0,
                    issue.public_key.0,
                    row::to_integer(issue.entry),
                    id,
                ])?;
            self.sql
                .prepare_cached("INSERT INTO certificate_der (id, der) VALUES (?1, ?2)")?
                .execute(params![id, certificate.der.as_ref()])?;
        }
        Ok(self)
    }

    /// Revokes a certificate from the time of this transaction on, for good or, with
    /// [`RevocationReason::CertificateHold`], for the time being. One that is on hold can be revoked for
    /// good, as from the time of the hold.
    ///
    /// # Errors
    /// [`StoreError::UnknownSerial`], [`StoreError::NotIssued`], [`StoreError::AlreadyRevoked`],
    /// [`StoreError::UnknownIssuer`], or what the database says.
    pub fn revoke(
        self,
        issuer: &KeyIdentifier,
        serial_number: SerialNumber,
        reason: RevocationReason,
    ) -> Result<Self, StoreError> {
        let issuer_id = issuer_id(&self.sql, issuer)?;
        let (id, mut record) = existing(&self.sql, issuer_id, serial_number)?;
        if record.issue.is_none() {
            return Err(StoreError::NotIssued { serial_number });
        }
        let at = match record.revocation {
            Some(hold) if record.is_on_hold() && reason != RevocationReason::CertificateHold => hold.at,
            Some(Revocation { at, reason, .. }) => {
                return Err(StoreError::AlreadyRevoked { serial_number, at, reason });
            }
            None => self.provenance.at,
        };
        record.revocation = Some(Revocation { at, reason, entry: self.head.next_seq() });
        let action = match reason {
            RevocationReason::CertificateHold => Action::CertificateHold,
            _ => Action::CertificateRevoke,
        };
        self.set_revocation(id, &record, action)
    }

    /// Lets a certificate that is on hold hold again.
    ///
    /// # Errors
    /// [`StoreError::UnknownSerial`], [`StoreError::NotOnHold`], [`StoreError::UnknownIssuer`], or what the
    /// database says.
    pub fn release(self, issuer: &KeyIdentifier, serial_number: SerialNumber) -> Result<Self, StoreError> {
        let issuer_id = issuer_id(&self.sql, issuer)?;
        let (id, mut record) = existing(&self.sql, issuer_id, serial_number)?;
        if !record.is_on_hold() {
            return Err(StoreError::NotOnHold { serial_number });
        }
        record.revocation = None;
        self.set_revocation(id, &record, Action::CertificateRelease)
    }

    /// Tells how it stands with a revocation, and makes it so.
    pub(super) fn set_revocation(
        mut self,
        id: i64,
        record: &Record,
        action: Action,
    ) -> Result<Self, StoreError> {
        let details = revocation_details(record);
        let entry = self.append(action, target(record), Outcome::Success, details)?;
        self.sql
            .prepare_cached(
                "UPDATE certificate SET revoked_at = ?1, revocation_reason = ?2, revocation_entry = ?3 \
                 WHERE id = ?4",
            )?
            .execute(params![
                record.revocation.map(|revocation| revocation.at.unix_timestamp()),
                record.revocation.map(|revocation| revocation.reason.code()),
                row::to_integer(entry),
                id,
            ])?;
        Ok(self)
    }

    /// Sets the next CRL number aside for a CRL about to be signed. Once committed it never comes again,
    /// whether the CRL does or not.
    ///
    /// # Errors
    /// [`StoreError::UnknownIssuer`], or what the database says.
    pub fn reserve_crl_number(self, issuer: &KeyIdentifier) -> Result<(Self, u64), StoreError> {
        let number: u64 = self
            .sql
            .prepare_cached(
                "UPDATE issuer SET next_crl_number = next_crl_number + 1 WHERE key_id = ?1 \
                 RETURNING next_crl_number - 1",
            )?
            .query_row([&issuer.0], |row| row.get::<_, i64>(0))
            .optional()?
            .and_then(|number| u64::try_from(number).ok())
            .ok_or_else(|| StoreError::UnknownIssuer { key_id: issuer.clone() })?;
        let details = json!({ "crl_number": number });
        let transaction = self.record(Action::CrlReserve, issuer.to_string(), Outcome::Success, details)?;
        Ok((transaction, number))
    }

    /// Records a CRL signed under a reserved number as the issuer's newest.
    ///
    /// # Errors
    /// [`StoreError::CrlNumber`] when the number is not reserved or not newer than the last one,
    /// [`StoreError::UnknownIssuer`], or what the database says.
    pub fn record_crl(self, issuer: &KeyIdentifier, crl: &CurrentCrl) -> Result<Self, StoreError> {
        let issuer_id = issuer_id(&self.sql, issuer)?;
        let changed = self
            .sql
            .prepare_cached(
                "UPDATE issuer SET crl_number = ?1, crl_this_update = ?2, crl_next_update = ?3, crl_sha256 = ?4 \
                 WHERE id = ?5 AND next_crl_number > ?1 AND (crl_number IS NULL OR crl_number < ?1)",
            )?
            .execute(params![
                row::to_integer(crl.number),
                crl.this_update.unix_timestamp(),
                crl.next_update.unix_timestamp(),
                crl.sha256.0,
                issuer_id,
            ])?;
        if changed == 0 {
            return Err(StoreError::CrlNumber { number: crl.number });
        }
        self.record(Action::CrlPublish, issuer.to_string(), Outcome::Success, crl_details(crl))
    }

    /// Closes what a crashed process left open: a reservation that will never be used, or an issued
    /// certificate whose files were looked after. `found` says what was found and done.
    ///
    /// # Errors
    /// [`StoreError::UnknownSerial`], [`StoreError::UnknownIssuer`], or what the database says.
    pub fn settle(
        self,
        issuer: &KeyIdentifier,
        serial_number: SerialNumber,
        found: &str,
    ) -> Result<Self, StoreError> {
        let issuer_id = issuer_id(&self.sql, issuer)?;
        let (id, record) = existing(&self.sql, issuer_id, serial_number)?;
        self.sql.prepare_cached("UPDATE certificate SET placed = 1 WHERE id = ?1")?.execute([id])?;
        let details = json!({ "found": found });
        self.record(Action::CertificateRecover, target(&record), Outcome::Success, details)
    }

    /// Records that the private key of a certificate is not kept here any more; `details` say why it
    /// need not be.
    ///
    /// # Errors
    /// [`StoreError::NoKey`], [`StoreError::UnknownSerial`], [`StoreError::UnknownIssuer`], or what the
    /// database says.
    pub fn forget_key(
        mut self,
        issuer: &KeyIdentifier,
        serial_number: SerialNumber,
        details: Value,
    ) -> Result<Self, StoreError> {
        let issuer_id = issuer_id(&self.sql, issuer)?;
        let (id, record) = existing(&self.sql, issuer_id, serial_number)?;
        if record.issue.is_none() || record.intent.key_path.is_none() {
            return Err(StoreError::NoKey { serial_number });
        }
        let entry = row::to_integer(self.head.next_seq());
        self.append(Action::KeyForget, target(&record), Outcome::Success, details)?;
        self.sql
            .prepare_cached("UPDATE certificate SET key_path = NULL, forget_entry = ?1 WHERE id = ?2")?
            .execute(params![entry, id])?;
        Ok(self)
    }

    /// Records something that happened to one certificate and changed nothing in the inventory.
    ///
    /// # Errors
    /// What the database says.
    pub fn note(
        self,
        action: Action,
        record: &Record,
        outcome: Outcome,
        details: Value,
    ) -> Result<Self, StoreError> {
        self.record(action, target(record), outcome, details)
    }

    /// Records something that changed nothing in the inventory.
    ///
    /// # Errors
    /// What the database says.
    pub fn record(
        mut self,
        action: Action,
        target: String,
        outcome: Outcome,
        details: Value,
    ) -> Result<Self, StoreError> {
        self.append(action, target, outcome, details)?;
        Ok(self)
    }

    /// Makes the changes durable; the answer is the end of the audit chain with them.
    ///
    /// # Errors
    /// What the database says; then nothing was changed.
    pub fn commit(self) -> Result<Head, StoreError> {
        self.sql.commit()?;
        Ok(self.head)
    }

    /// Writes the entry that tells of a change; its number is for the row that is about to change.
    pub(super) fn append(
        &mut self,
        action: Action,
        target: String,
        outcome: Outcome,
        details: Value,
    ) -> Result<u64, StoreError> {
        let provenance = self.provenance.clone();
        let entry = self.head.append(Event { provenance, action, target, outcome, details });
        let Event { provenance, action, target, outcome, details } = &entry.event;
        self.sql
            .prepare_cached(
                "INSERT INTO audit (seq, at, actor, action, target, outcome, reason, details, previous, hash) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
            row::to_integer(entry.seq),
            provenance.at.unix_timestamp(),
            provenance.actor.as_str(),
            action.as_str(),
            target,
            outcome.as_str(),
            provenance.reason,
            details.to_string(),
            entry.previous.0,
            entry.hash.0,
        ])?;
        Ok(entry.seq)
    }
}

/// The end of the audit chain as it is kept.
pub(super) fn head(sql: &Connection) -> Result<Head, StoreError> {
    let last = format!("SELECT {} FROM audit ORDER BY seq DESC LIMIT 1", row::ENTRY);
    let mut statement = sql.prepare_cached(&last)?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else { return Ok(Head::EMPTY) };
    let entry = row::entry(row)?;
    Ok(Head { seq: entry.seq, hash: entry.hash })
}

/// See [`super::Inventory::mark_placed`].
pub(super) fn mark_placed(
    sql: &Connection,
    issuer: &KeyIdentifier,
    placed: &[SerialNumber],
) -> Result<(), StoreError> {
    let issuer_id = issuer_id(sql, issuer)?;
    for serial_number in placed {
        let changed = sql
            .prepare_cached(
                "UPDATE certificate SET placed = 1 WHERE issuer = ?1 AND serial = ?2 AND issue_entry IS NOT NULL",
            )?
            .execute(params![issuer_id, serial_number.to_octets()])?;
        if changed == 0 {
            let (_, record) = existing(sql, issuer_id, *serial_number)?;
            return Err(StoreError::NotIssued { serial_number: record.intent.serial_number });
        }
    }
    Ok(())
}

/// What the audit chain says of the making of a cluster; see [`issue_details`].
pub(super) fn initialize_details(cluster: &Cluster, issuer: &KeyIdentifier, root: &Certificate) -> Value {
    json!({
        "uuid": cluster.uuid.to_string(),
        "trust_domain": cluster.trust_domain,
        "issuer": issuer,
        "fingerprint": root.fingerprint(),
    })
}

/// What the audit chain says of a CRL; see [`issue_details`].
pub(super) fn crl_details(crl: &CurrentCrl) -> Value {
    json!({
        "crl_number": crl.number,
        "this_update": rfc3339(crl.this_update),
        "next_update": rfc3339(crl.next_update),
        "sha256": crl.sha256,
    })
}

/// What the audit chain calls a certificate.
pub(super) fn target(record: &Record) -> String {
    record.id().to_string()
}

/// What the audit chain says of a certificate's issue; made from the row, so that it can be compared
/// with the row at any time.
pub(super) fn issue_details(record: &Record) -> Value {
    let Some(issue) = &record.issue else { return Value::Null };
    json!({
        "role": record.intent.role,
        "name": record.intent.name,
        "profile": record.intent.profile,
        "not_before": rfc3339(issue.not_before),
        "not_after": rfc3339(issue.not_after),
        "fingerprint": issue.fingerprint,
        "public_key": issue.public_key,
        "supersedes": record.intent.supersedes.as_ref().map(ToString::to_string),
    })
}

/// What the audit chain says of a certificate's revocation, hold or release; see [`issue_details`].
pub(super) fn revocation_details(record: &Record) -> Value {
    let identity = json!({ "role": record.intent.role, "name": record.intent.name });
    let Some(revocation) = &record.revocation else { return identity };
    json!({
        "role": record.intent.role,
        "name": record.intent.name,
        "revoked_at": rfc3339(revocation.at),
        "reason": revocation.reason,
    })
}

/// The row of a certificate whose place another one may take.
pub(super) fn supersedable(sql: &Connection, old: &CertificateId) -> Result<i64, StoreError> {
    let issuer_id = issuer_id(sql, &old.issuer)?;
    sql.prepare_cached(
        "SELECT id FROM certificate WHERE issuer = ?1 AND serial = ?2 AND issue_entry IS NOT NULL \
         AND revoked_at IS NULL AND NOT EXISTS (SELECT 1 FROM certificate AS new \
         WHERE new.supersedes = certificate.id AND new.issue_entry IS NOT NULL)",
    )?
    .query_row(params![issuer_id, old.serial_number.to_octets()], |row| row.get(0))
    .optional()?
    .ok_or(StoreError::NotSupersedable { serial_number: old.serial_number })
}

pub(super) fn issuer_id(sql: &Connection, issuer: &KeyIdentifier) -> Result<i64, StoreError> {
    sql.prepare_cached("SELECT id FROM issuer WHERE key_id = ?1")?
        .query_row([&issuer.0], |row| row.get(0))
        .optional()?
        .ok_or_else(|| StoreError::UnknownIssuer { key_id: issuer.clone() })
}

/// The row of a serial number and its id.
pub(super) fn existing(
    sql: &Connection,
    issuer_id: i64,
    serial_number: SerialNumber,
) -> Result<(i64, Record), StoreError> {
    let select = format!("SELECT {} FROM certificate WHERE issuer = ?1 AND serial = ?2", row::RECORD);
    let mut statement = sql.prepare_cached(&select)?;
    let mut rows = statement.query(params![issuer_id, serial_number.to_octets()])?;
    let row = rows.next()?.ok_or(StoreError::UnknownSerial { serial_number })?;
    Ok((row.get(0)?, row::record(row)?))
}

#[cfg(test)]
mod tests {
    use rusqlite::ErrorCode;

    use super::*;
    use crate::store::schema;

    #[test]
    fn no_row_changes_before_its_audit_entry() {
        let mut sql = Connection::open_in_memory().unwrap();
        let transaction = sql.transaction().unwrap();
        schema::migrate(&transaction).unwrap();
        let actor = "alice".parse().unwrap();
        let provenance = Provenance { at: OffsetDateTime::UNIX_EPOCH, actor, reason: None };
        let transaction = Transaction::new(transaction, &provenance).unwrap();
        let untold = transaction
            .sql
            .execute_batch(
                "INSERT INTO issuer (key_id, certificate, state) VALUES (x'01', x'', 'active');
                 INSERT INTO certificate (issuer, serial, role, name, profile, certificate_path, reserved_at,
                     reserve_entry) VALUES (1, x'01', 'api-user', 'alice', x'', x'', 0, 1);",
            )
            .unwrap_err();
        assert_eq!(untold.sqlite_error_code(), Some(ErrorCode::ConstraintViolation));
    }
}
