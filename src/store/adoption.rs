//! Adoption of records from another copy of the inventory, for a restore that must not lose any.

use rusqlite::params;
use time::OffsetDateTime;

use super::error::StoreError;
use super::lookup::{existing, issuer_id, mark_placed, supersedable};
use super::record::{Record, Reservation, RevocationRecord};
use super::row;
use super::transaction::Transaction;
use crate::audit::Action;
use crate::revocation::RevocationReason;
use crate::x509::{Certificate, KeyIdentifier, SerialNumber};

impl Transaction<'_> {
    /// Record a certificate that the same issuer signed elsewhere at `issued_at`, or under a serial number that
    /// is reserved for it here. Its files count as written. It keeps its place in the renewal history where that
    /// place is free.
    ///
    /// # Errors
    /// [`StoreError::DuplicateSerial`], [`StoreError::UnknownIssuer`], or a database error.
    pub fn adopt(
        self,
        issuer: &KeyIdentifier,
        reservation: &Reservation,
        certificate: &Certificate,
        issued_at: OffsetDateTime,
    ) -> Result<Self, StoreError> {
        let mut reservation = reservation.clone();
        let reserved = match existing(&self.sql, issuer_id(&self.sql, issuer)?, reservation.serial_number) {
            Ok((_, Record { reservation: known, issue: None, .. }))
                if (known.role, &known.name) == (reservation.role, &reservation.name) =>
            {
                reservation = known;
                self
            }
            // `reserve_as_of` refuses a serial number of another identity.
            _ => {
                reservation.supersedes =
                    reservation.supersedes.filter(|old| supersedable(&self.sql, old).is_ok());
                self.reserve_as_of(issued_at, issuer, std::slice::from_ref(&reservation))?
            }
        };
        let before = reserved.head.seq;
        let certificate = std::slice::from_ref(certificate);
        let adopted = reserved.issue(issuer, &[reservation], certificate)?;
        mark_placed(&adopted.sql, before + 1..=adopted.head.seq)?;
        Ok(adopted)
    }

    /// Records that a certificate was revoked at `at`, unless that is recorded. A hold becomes the revocation
    /// that followed it.
    ///
    /// # Errors
    /// [`StoreError::UnknownSerial`], [`StoreError::UnknownIssuer`], or a database error.
    pub fn adopt_revocation(
        self,
        issuer: &KeyIdentifier,
        serial_number: SerialNumber,
        at: OffsetDateTime,
        reason: RevocationReason,
    ) -> Result<Self, StoreError> {
        let (id, mut record) = existing(&self.sql, issuer_id(&self.sql, issuer)?, serial_number)?;
        if record.covers(reason) {
            return Ok(self);
        }
        record.revocation = Some(RevocationRecord { at, reason, entry: self.head.next_seq() });
        let action = match reason {
            RevocationReason::CertificateHold => Action::CertificateHold,
            _ => Action::CertificateRevoke,
        };
        self.set_revocation(id, &record, action)
    }

    /// Ensure that the next CRL has a number above `seen`.
    ///
    /// # Errors
    /// [`StoreError::UnknownIssuer`], or a database error.
    pub fn skip_crl_numbers(self, issuer: &KeyIdentifier, seen: u64) -> Result<Self, StoreError> {
        let id = issuer_id(&self.sql, issuer)?;
        self.sql
            .prepare_cached("UPDATE issuer SET next_crl_number = max(next_crl_number, ?1) WHERE id = ?2")?
            .execute(params![row::to_integer(seen.saturating_add(1)), id])?;
        Ok(self)
    }
}
