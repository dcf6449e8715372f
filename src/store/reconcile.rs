//! Taking in what another copy of the inventory knew: for a restore that must forget nothing.

use rusqlite::params;
use time::OffsetDateTime;

use super::transaction::{existing, issuer_id, mark_placed, supersedable};
use super::{Intent, Record, Revocation, StoreError, Transaction, row};
use crate::audit::Action;
use crate::revocation::RevocationReason;
use crate::x509::{Certificate, KeyIdentifier, SerialNumber};

impl Record {
    /// Whether it says of its certificate what a revocation for this reason would say, or more.
    #[must_use]
    pub fn tells(&self, reason: RevocationReason) -> bool {
        self.revocation.is_some() && (!self.is_on_hold() || reason == RevocationReason::CertificateHold)
    }
}

impl Transaction<'_> {
    /// Records a certificate that was issued elsewhere under the same issuer, at `issued_at`, or under the
    /// serial number that was set aside for it here. Its files are not looked after: they are wherever they
    /// were written then. It keeps its place in the line of an identity where that place is free.
    ///
    /// # Errors
    /// [`StoreError::DuplicateSerial`], [`StoreError::UnknownIssuer`], or what the database says.
    pub fn adopt(
        self,
        issuer: &KeyIdentifier,
        intent: &Intent,
        certificate: &Certificate,
        issued_at: OffsetDateTime,
    ) -> Result<Self, StoreError> {
        let reserved = match existing(&self.sql, issuer_id(&self.sql, issuer)?, intent.serial_number) {
            Ok((_, Record { intent: told, issue: None, .. }))
                if (told.role, &told.name) == (intent.role, &intent.name) =>
            {
                self
            }
            // Anything but this identity's is refused there.
            _ => {
                let supersedes = intent.supersedes.clone().filter(|old| supersedable(&self.sql, old).is_ok());
                let intent = Intent { supersedes, ..intent.clone() };
                self.reserve_as_of(issued_at, issuer, &[intent])?
            }
        };
        let adopted = reserved.issue(issuer, std::slice::from_ref(certificate))?;
        mark_placed(&adopted.sql, issuer, &[certificate.serial_number])?;
        Ok(adopted)
    }

    /// Records that a certificate was revoked at `at`, unless that is told already; a hold becomes what
    /// followed it.
    ///
    /// # Errors
    /// [`StoreError::UnknownSerial`], [`StoreError::UnknownIssuer`], or what the database says.
    pub fn adopt_revocation(
        self,
        issuer: &KeyIdentifier,
        serial_number: SerialNumber,
        at: OffsetDateTime,
        reason: RevocationReason,
    ) -> Result<Self, StoreError> {
        let (id, mut record) = existing(&self.sql, issuer_id(&self.sql, issuer)?, serial_number)?;
        if record.tells(reason) {
            return Ok(self);
        }
        record.revocation = Some(Revocation { at, reason, entry: self.head.next_seq() });
        let action = match reason {
            RevocationReason::CertificateHold => Action::CertificateHold,
            _ => Action::CertificateRevoke,
        };
        self.set_revocation(id, &record, action)
    }

    /// Makes sure that the next CRL has a number above `seen`.
    ///
    /// # Errors
    /// [`StoreError::UnknownIssuer`], or what the database says.
    pub fn skip_crl_numbers(self, issuer: &KeyIdentifier, seen: u64) -> Result<Self, StoreError> {
        let id = issuer_id(&self.sql, issuer)?;
        self.sql
            .prepare_cached("UPDATE issuer SET next_crl_number = max(next_crl_number, ?1) WHERE id = ?2")?
            .execute(params![row::to_integer(seen.saturating_add(1)), id])?;
        Ok(self)
    }
}
