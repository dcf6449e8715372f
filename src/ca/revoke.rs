//! Revoking: recorded first, then in the list, then said.

use std::path::PathBuf;

use serde::Serialize;
use time::OffsetDateTime;

use crate::identity::{Name, Role};
use crate::revocation::RevocationReason;
use crate::store::{Record, Status};
use crate::x509::SerialNumber;

use super::{Authority, CaError, Target};

/// A certificate that is revoked, and the list that says so.
#[derive(Debug, Serialize)]
pub struct Revoked {
    /// Its serial number.
    pub serial_number: SerialNumber,
    /// Its role.
    pub role: Role,
    /// Its name.
    pub name: Name,
    /// Why it is revoked.
    pub reason: RevocationReason,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub revoked_at: OffsetDateTime,
    /// The revocation list.
    pub crl: PathBuf,
    /// The list's number.
    pub crl_number: u64,
    /// When the list must be replaced.
    #[serde(with = "time::serde::rfc3339")]
    pub next_update: OffsetDateTime,
}

impl Authority {
    /// Revokes the one certificate that `target` names and rewrites the revocation list.
    ///
    /// A name stands for its one valid certificate: those that are revoked or expired do not make it
    /// ambiguous, two valid ones do.
    ///
    /// # Errors
    /// [`CaError::UnknownCertificate`], [`CaError::Ambiguous`], [`CaError::AlreadyRevoked`], or what the
    /// files and the inventory say.
    pub fn revoke(
        &mut self,
        target: &Target,
        reason: RevocationReason,
        comment: Option<&str>,
    ) -> Result<Revoked, CaError> {
        let record = self.to_revoke(target)?;
        let provenance = self.cluster.context.provenance(comment);
        let serial_number = record.intent.serial_number;
        let transaction = self.cluster.inventory.begin(&provenance)?;
        let transaction = transaction.revoke(&record.issuer, serial_number, reason.code())?;
        // In one transaction: from here on the inventory knows that it owes a list.
        let (transaction, number) = transaction.reserve_crl_number(&self.cluster.issuer)?;
        transaction.commit()?;
        let crl = self.publish_crl(number, &provenance)?;
        Ok(Revoked {
            serial_number,
            role: record.intent.role,
            name: record.intent.name,
            reason,
            revoked_at: provenance.at,
            crl: self.cluster.home.crl(),
            crl_number: crl.number,
            next_update: crl.next_update,
        })
    }

    fn to_revoke(&self, target: &Target) -> Result<Record, CaError> {
        let now = self.cluster.context.now();
        let mut candidates = self.cluster.candidates(target)?;
        if candidates.len() > 1 && candidates.iter().any(|record| record.status(now) == Status::Valid) {
            candidates.retain(|record| record.status(now) == Status::Valid);
        }
        let record = super::only(target, candidates)?;
        match record.revocation {
            Some(revocation) => {
                Err(CaError::AlreadyRevoked { serial_number: record.intent.serial_number, at: revocation.at })
            }
            None => Ok(record),
        }
    }
}
