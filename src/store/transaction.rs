//! Changes, each with its audit entry.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rusqlite::{OptionalExtension, ffi, params};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::cluster::ClusterRecord;
use super::details::{crl_details, initialize_details, issue_details, revocation_details, target};
use super::error::StoreError;
use super::issuer::{CurrentCrl, IssuerState};
use super::lookup::{existing, head, issuer_id, supersedable};
use super::record::{CertificateId, Issuance, Record, Reservation, RevocationRecord};
use super::row;
use crate::audit::{Action, AuditEvent, Head, Outcome, Provenance};
use crate::identity::MachineLabel;
use crate::revocation::RevocationReason;
use crate::x509::{Certificate, KeyIdentifier, SerialNumber, Sha256};

/// Atomic group of changes.
///
/// Each step consumes the transaction and returns it: after a refused step, there is nothing left to commit.
/// Each step appends its own audit entries, so no change is unaudited.
#[derive(Debug)]
#[must_use = "nothing changes before `commit`"]
pub struct Transaction<'a> {
    pub(super) sql: rusqlite::Transaction<'a>,
    pub(super) head: Head,
    provenance: Provenance,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(sql: rusqlite::Transaction<'a>, provenance: &Provenance) -> Result<Self, StoreError> {
        Ok(Self { head: head(&sql)?, sql, provenance: provenance.clone() })
    }

    pub(super) fn initialize(self, cluster: &ClusterRecord, root: &Certificate) -> Result<Self, StoreError> {
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
        let (at, entry) = (self.provenance.at, self.head.next_seq());
        self.record(Action::ClusterInitialize, cluster.name.to_string(), Outcome::Success, details)?
            .create_account_defaults(at, entry)
    }

    /// Reserve serial numbers for certificates about to be signed, with one audit entry for all.
    ///
    /// # Errors
    /// [`StoreError::DuplicateSerial`], [`StoreError::NotSupersedable`], [`StoreError::UnknownIssuer`], or
    /// a database error.
    pub fn reserve(self, issuer: &KeyIdentifier, reservations: &[Reservation]) -> Result<Self, StoreError> {
        let at = self.provenance.at;
        self.reserve_as_of(at, issuer, reservations)
    }

    /// [`Self::reserve`] for certificates that were signed at another time.
    pub(super) fn reserve_as_of(
        mut self,
        at: OffsetDateTime,
        issuer: &KeyIdentifier,
        reservations: &[Reservation],
    ) -> Result<Self, StoreError> {
        let issuer_id = issuer_id(&self.sql, issuer)?;
        let serial_numbers: Vec<_> =
            reservations.iter().map(|reservation| reservation.serial_number).collect();
        let details = json!({ "serial_numbers": serial_numbers });
        let entry = self.append(Action::CertificateReserve, issuer.to_string(), Outcome::Success, details)?;
        let octets = |path: &Path| path.as_os_str().as_bytes().to_owned();
        for reservation in reservations {
            let supersedes =
                reservation.supersedes.as_ref().map(|old| supersedable(&self.sql, old)).transpose()?;
            self.sql
                .prepare_cached(
                    "INSERT INTO certificate (issuer, serial, role, name, profile, certificate_path, key_path, \
                     supersedes, reserved_at, reserve_entry, label) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                )?
                .execute(params![
                    issuer_id,
                    reservation.serial_number.to_octets(),
                    reservation.role.as_str(),
                    reservation.name.as_str(),
                    reservation.profile.0,
                    octets(&reservation.certificate_path),
                    reservation.key_path.as_deref().map(octets),
                    supersedes,
                    at.unix_timestamp(),
                    row::to_integer(entry),
                    reservation.label.as_ref().map(MachineLabel::as_str),
                ])
                .map_err(|error| match error.sqlite_error() {
                    Some(e) if e.extended_code == ffi::SQLITE_CONSTRAINT_UNIQUE => {
                        StoreError::DuplicateSerial { serial_number: reservation.serial_number }
                    }
                    _ => error.into(),
                })?;
        }
        Ok(self)
    }

    /// Records certificates signed under reserved serial numbers, with an audit entry each. The facts come from
    /// the certificates, each of which has its reservation at the same place.
    ///
    /// # Errors
    /// [`StoreError::UnknownSerial`], [`StoreError::NotReserved`], [`StoreError::UnknownIssuer`], or
    /// a database error.
    pub fn issue(
        mut self,
        issuer: &KeyIdentifier,
        reservations: &[Reservation],
        issued: &[Certificate],
    ) -> Result<Self, StoreError> {
        let issuer_id = issuer_id(&self.sql, issuer)?;
        for (reservation, certificate) in reservations.iter().zip(issued) {
            let serial_number = certificate.serial_number;
            let issue = Issuance {
                not_before: certificate.not_before,
                not_after: certificate.not_after,
                fingerprint: certificate.fingerprint(),
                public_key: Sha256::of(&certificate.public_key_info),
                placed: false,
                entry: self.head.next_seq(),
            };
            let id = CertificateId { issuer: issuer.clone(), serial_number }.to_string();
            let details = issue_details(reservation, &issue);
            self.append(Action::CertificateIssue, id, Outcome::Success, details)?;
            // The row is the one that was reserved: another one would contradict its entry.
            let row: Option<i64> = self
                .sql
                .prepare_cached(
                    "UPDATE certificate SET not_before = ?1, not_after = ?2, fingerprint = ?3, public_key = ?4, \
                     issue_entry = ?5 WHERE serial = ?6 AND issuer = ?7 AND issue_entry IS NULL \
                     AND role = ?8 AND name = ?9 AND profile = ?10 RETURNING id",
                )?
                .query_row(
                    params![
                        issue.not_before.unix_timestamp(),
                        issue.not_after.unix_timestamp(),
                        issue.fingerprint.0,
                        issue.public_key.0,
                        row::to_integer(issue.entry),
                        serial_number.to_octets(),
                        issuer_id,
                        reservation.role.as_str(),
                        reservation.name.as_str(),
                        reservation.profile.0,
                    ],
                    |row| row.get(0),
                )
                .optional()?;
            let Some(row) = row else {
                existing(&self.sql, issuer_id, serial_number)?;
                return Err(StoreError::NotReserved { serial_number });
            };
            self.sql
                .prepare_cached("INSERT INTO certificate_der (id, der) VALUES (?1, ?2)")?
                .execute(params![row, certificate.der.as_ref()])?;
        }
        Ok(self)
    }

    /// Revoke a certificate as of the time of this transaction, or suspend it with
    /// [`RevocationReason::CertificateHold`]. Revoking a suspended certificate keeps the date of the hold.
    ///
    /// # Errors
    /// [`StoreError::UnknownSerial`], [`StoreError::NotIssued`], [`StoreError::AlreadyRevoked`],
    /// [`StoreError::UnknownIssuer`], or a database error.
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
            Some(RevocationRecord { at, reason, .. }) => {
                return Err(StoreError::AlreadyRevoked { serial_number, at, reason });
            }
            None => self.provenance.at,
        };
        record.revocation = Some(RevocationRecord { at, reason, entry: self.head.next_seq() });
        let action = match reason {
            RevocationReason::CertificateHold => Action::CertificateHold,
            _ => Action::CertificateRevoke,
        };
        self.set_revocation(id, &record, action)
    }

    /// Lift the hold on a certificate.
    ///
    /// # Errors
    /// [`StoreError::UnknownSerial`], [`StoreError::NotOnHold`], [`StoreError::UnknownIssuer`], or a
    /// database error.
    pub fn release(self, issuer: &KeyIdentifier, serial_number: SerialNumber) -> Result<Self, StoreError> {
        let issuer_id = issuer_id(&self.sql, issuer)?;
        let (id, mut record) = existing(&self.sql, issuer_id, serial_number)?;
        if !record.is_on_hold() {
            return Err(StoreError::NotOnHold { serial_number });
        }
        record.revocation = None;
        self.set_revocation(id, &record, Action::CertificateRelease)
    }

    /// Write the revocation state of `record` with its audit entry.
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

    /// Reserve the next CRL number for a CRL about to be signed. Once committed, the number is never used again,
    /// even if the CRL is never signed.
    ///
    /// # Errors
    /// [`StoreError::UnknownIssuer`], or a database error.
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

    /// Record a CRL signed under a reserved number as the issuer's newest.
    ///
    /// # Errors
    /// [`StoreError::CrlNumber`] when the number is not reserved or not newer than the last one,
    /// [`StoreError::UnknownIssuer`], or a database error.
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

    /// Close the unfinished work of a crashed process: a reservation that will never be used, or an issued
    /// certificate whose files were recovered. `found` describes it in the audit entry.
    ///
    /// # Errors
    /// [`StoreError::UnknownSerial`], [`StoreError::UnknownIssuer`], or a database error.
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

    /// Records that the private key of a certificate was deleted here; `details` give the reason.
    ///
    /// # Errors
    /// [`StoreError::NoKey`], [`StoreError::UnknownSerial`], [`StoreError::UnknownIssuer`], or a
    /// database error.
    pub fn forget_key(
        mut self,
        issuer: &KeyIdentifier,
        serial_number: SerialNumber,
        details: Value,
    ) -> Result<Self, StoreError> {
        let issuer_id = issuer_id(&self.sql, issuer)?;
        let (id, record) = existing(&self.sql, issuer_id, serial_number)?;
        if record.issue.is_none() || record.reservation.key_path.is_none() {
            return Err(StoreError::NoKey { serial_number });
        }
        let entry = row::to_integer(self.head.next_seq());
        self.append(Action::KeyForget, target(&record), Outcome::Success, details)?;
        self.sql
            .prepare_cached("UPDATE certificate SET key_path = NULL, forget_entry = ?1 WHERE id = ?2")?
            .execute(params![entry, id])?;
        Ok(self)
    }

    /// Append an audit entry about one certificate, without a change of the inventory.
    pub fn note(
        self,
        action: Action,
        record: &Record,
        outcome: Outcome,
        details: Value,
    ) -> Result<Self, StoreError> {
        self.record(action, target(record), outcome, details)
    }

    /// Append an audit entry without a change of the inventory.
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

    /// Time, actor and reason of the changes.
    pub(super) fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// The head of the audit chain with the changes so far.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.head
    }

    /// Make the changes durable and return the new head of the audit chain.
    ///
    /// # Errors
    /// Database errors; then nothing was changed.
    pub fn commit(self) -> Result<Head, StoreError> {
        self.sql.commit()?;
        Ok(self.head)
    }

    /// Append the audit entry of a change and return its number, for the row that is about to change.
    pub(super) fn append(
        &mut self,
        action: Action,
        target: String,
        outcome: Outcome,
        details: Value,
    ) -> Result<u64, StoreError> {
        let provenance = self.provenance.clone();
        let (entry, details) = self.head.append(AuditEvent { provenance, action, target, outcome, details });
        let AuditEvent { provenance, action, target, outcome, .. } = &entry.event;
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
            details,
            entry.previous.0,
            entry.hash.0,
        ])?;
        Ok(entry.seq)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, ErrorCode};

    use super::super::schema;
    use super::*;

    #[test]
    fn a_row_without_its_audit_entry_is_refused() {
        let mut sql = Connection::open_in_memory().unwrap();
        let transaction = sql.transaction().unwrap();
        schema::migrate(&transaction).unwrap();
        let actor = "alice".parse().unwrap();
        let provenance = Provenance { at: OffsetDateTime::UNIX_EPOCH, actor, reason: None };
        let transaction = Transaction::new(transaction, &provenance).unwrap();
        let unaudited = transaction
            .sql
            .execute_batch(
                "INSERT INTO issuer (key_id, certificate, state) VALUES (x'01', x'', 'active');
                 INSERT INTO certificate (issuer, serial, role, name, profile, certificate_path, reserved_at,
                     reserve_entry) VALUES (1, x'01', 'api-user', 'alice', x'', x'', 0, 1);",
            )
            .unwrap_err();
        assert_eq!(unaudited.sqlite_error_code(), Some(ErrorCode::ConstraintViolation));
    }
}
