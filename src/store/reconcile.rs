//! Taking in what another copy of the inventory knew: for a restore that must forget nothing.

use rusqlite::params;
use time::OffsetDateTime;

use super::transaction::{existing, issuer_id, revocation_details, target};
use super::{Intent, Revocation, StoreError, Transaction, row};
use crate::audit::{Action, Outcome};
use crate::x509::{Certificate, KeyIdentifier, SerialNumber};

impl Transaction<'_> {
    /// Records a certificate that was issued elsewhere under the same issuer. Its files are not looked
    /// after: they are wherever they were written then.
    ///
    /// # Errors
    /// [`StoreError::DuplicateSerial`], [`StoreError::UnknownIssuer`], or what the database says.
    pub fn adopt(
        self,
        issuer: &KeyIdentifier,
        intent: &Intent,
        certificate: &Certificate,
    ) -> Result<Self, StoreError> {
        let adopted = self
            .reserve(issuer, std::slice::from_ref(intent))?
            .issue(issuer, std::slice::from_ref(certificate))?;
        super::transaction::mark_placed(&adopted.sql, issuer, &[intent.serial_number])?;
        Ok(adopted)
    }

    /// Records that a certificate was revoked at `at`, unless it is recorded as revoked already; the
    /// reason is a reason code (RFC 5280, section 5.3.1).
    ///
    /// # Errors
    /// [`StoreError::UnknownSerial`], [`StoreError::UnknownIssuer`], or what the database says.
    pub fn adopt_revocation(
        mut self,
        issuer: &KeyIdentifier,
        serial_number: SerialNumber,
        at: OffsetDateTime,
        reason: u8,
    ) -> Result<Self, StoreError> {
        let (id, mut record) = existing(&self.sql, issuer_id(&self.sql, issuer)?, serial_number)?;
        if record.revocation.is_some() {
            return Ok(self);
        }
        let revocation = Revocation { at, reason, entry: self.head.next_seq() };
        record.revocation = Some(revocation);
        let details = revocation_details(&record);
        self.append(Action::CertificateRevoke, target(&record), Outcome::Success, details)?;
        self.sql
            .prepare_cached(
                "UPDATE certificate SET revoked_at = ?1, revocation_reason = ?2, revocation_entry = ?3 \
                 WHERE id = ?4",
            )?
            .execute(params![at.unix_timestamp(), reason, row::to_integer(revocation.entry), id])?;
        Ok(self)
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
