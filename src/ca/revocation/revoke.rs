//! Revoking, holding and releasing: recorded first, then in the list, then said.

use serde::Serialize;
use time::OffsetDateTime;

use super::crl::PublishedCrl;
use crate::ca::authority::Authority;
use crate::ca::cluster::{Cluster, exactly_one};
use crate::ca::error::CaError;
use crate::ca::target::Target;
use crate::identity::{Name, Role};
use crate::revocation::RevocationReason;
use crate::store::{CertificateId, Filter, Record, Status, StoreError, Transaction};
use crate::x509::{Certificate, SerialNumber, Sha256};

const HOLD: RevocationReason = RevocationReason::CertificateHold;

/// A certificate that does not hold any more, or not for the time being.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
    /// Whether it was so before.
    pub already: bool,
}

/// A certificate that is not on hold any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Released {
    /// Its serial number.
    pub serial_number: SerialNumber,
    /// Its role.
    pub role: Role,
    /// Its name.
    pub name: Name,
    /// Whether it was released before.
    pub already: bool,
}

/// Which certificates to revoke together: those of a role, of a time, or of a role and a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BulkSelection {
    /// Of this role only.
    pub role: Option<Role>,
    /// Issued at this time or later.
    pub issued_after: Option<OffsetDateTime>,
    /// Issued before this time.
    pub issued_before: Option<OffsetDateTime>,
}

impl Cluster {
    /// The one certificate that `target` names for being revoked or put on hold.
    ///
    /// A name stands for its one certificate that holds or is on hold: those that are revoked or expired
    /// do not make it ambiguous, two that hold do. Where all are revoked it stands for the newest.
    ///
    /// # Errors
    /// [`CaError::UnknownCertificate`], [`CaError::Ambiguous`], [`CaError::RootOnOwnCrl`], or what the
    /// inventory says.
    pub fn find_to_revoke(&self, target: &Target) -> Result<Record, CaError> {
        if let Some(serial_number) = target.serial_number() {
            self.refuse_root(|issuer| issuer.serial_number == serial_number)?;
        }
        let now = self.context.now();
        let holds = |record: &Record| record.status(now) == Status::Valid || record.is_on_hold();
        let mut candidates = self.candidates(target)?;
        if candidates.iter().any(holds) {
            candidates.retain(holds);
        } else if candidates.iter().all(|record| record.revocation.is_some()) {
            candidates.truncate(1);
        }
        exactly_one(target, candidates)
    }

    /// The one certificate that `target` names for being released: of an identity, the one that is on
    /// hold, or else the one that was.
    ///
    /// # Errors
    /// [`CaError::UnknownCertificate`], [`CaError::Ambiguous`], or what the inventory says.
    pub fn find_to_release(&self, target: &Target) -> Result<Record, CaError> {
        let mut candidates = self.candidates(target)?;
        let was_on_hold = |record: &Record| record.release_entry.is_some();
        if candidates.iter().any(Record::is_on_hold) {
            candidates.retain(Record::is_on_hold);
        } else if candidates.iter().any(was_on_hold) {
            candidates.retain(was_on_hold);
        }
        exactly_one(target, candidates)
    }

    /// Every certificate of an identity that was issued.
    ///
    /// # Errors
    /// [`CaError::UnknownCertificate`] when there is none, or what the inventory says.
    pub fn certificates_of(&self, role: Role, name: &Name) -> Result<Vec<Record>, CaError> {
        let target = Target::Identity(role, name.clone());
        let candidates = self.candidates(&target)?;
        if candidates.is_empty() { Err(CaError::UnknownCertificate { target }) } else { Ok(candidates) }
    }

    /// Every certificate of an identity that is on hold, or was.
    ///
    /// # Errors
    /// [`CaError::NotOnHold`] when there is none, or what [`Cluster::certificates_of`] says.
    pub fn held_generations(&self, role: Role, name: &Name) -> Result<Vec<Record>, CaError> {
        let certificates_of = self.certificates_of(role, name)?;
        let newest = certificates_of.first().map(|record| record.intent.serial_number);
        let held = |record: &Record| record.is_on_hold() || record.release_entry.is_some();
        let held: Vec<_> = certificates_of.into_iter().filter(held).collect();
        match newest {
            Some(serial_number) if held.is_empty() => Err(CaError::NotOnHold { serial_number }),
            _ => Ok(held),
        }
    }

    /// Every certificate for the key of this SubjectPublicKeyInfo (DER).
    ///
    /// # Errors
    /// [`CaError::UnknownKey`] when there is none, [`CaError::RootOnOwnCrl`], or what the inventory says.
    pub fn certified_for(&self, public_key_info: &[u8]) -> Result<Vec<Record>, CaError> {
        self.refuse_root(|issuer| issuer.public_key_info == public_key_info)?;
        let public_key = Sha256::of(public_key_info);
        let records = self.inventory.find_public_key(&public_key)?;
        if records.is_empty() { Err(CaError::UnknownKey { public_key }) } else { Ok(records) }
    }

    /// Every certificate of `bulk` that still holds or is on hold.
    ///
    /// # Errors
    /// What the inventory says.
    pub fn find_bulk(&self, bulk: &BulkSelection) -> Result<Vec<Record>, CaError> {
        let now = self.context.now();
        let filter = Filter {
            role: bulk.role,
            issued_after: bulk.issued_after,
            issued_before: bulk.issued_before,
            ..Filter::default()
        };
        let mut found = Vec::new();
        self.inventory.list(&filter, now, |record| {
            if record.status(now) == Status::Valid || record.is_on_hold() {
                found.push(record);
            }
            Ok::<_, CaError>(())
        })?;
        Ok(found)
    }

    /// A root that were on its own list would take with it the key that signs the list.
    fn refuse_root(&self, is_meant: impl Fn(&Certificate) -> bool) -> Result<(), CaError> {
        match self.inventory.issuers()?.into_iter().find(|issuer| is_meant(&issuer.certificate)) {
            Some(issuer) => Err(CaError::RootOnOwnCrl { serial_number: issuer.certificate.serial_number }),
            None => Ok(()),
        }
    }
}

impl Authority {
    /// Revokes certificates, all in one transaction, and rewrites the revocation list. With
    /// [`RevocationReason::CertificateHold`] they are on hold, and can be released; one that is on hold
    /// can be revoked for good. Those that are revoked already stay as they are, and are in the answer.
    ///
    /// # Errors
    /// What the inventory and the files say; [`CaError::CrlNotWritten`] when all is recorded and the list
    /// could not be written.
    pub fn revoke(
        &mut self,
        records: &[Record],
        reason: RevocationReason,
        comment: Option<&str>,
    ) -> Result<(Vec<Revoked>, PublishedCrl), CaError> {
        let at = self.cluster.context.now();
        let mut revoked = Vec::with_capacity(records.len());
        let mut changes = Vec::new();
        for record in records {
            let before = record.revocation;
            let already = before.is_some() && !(record.is_on_hold() && reason != HOLD);
            if !already {
                changes.push(record.id());
            }
            revoked.push(Revoked {
                serial_number: record.intent.serial_number,
                role: record.intent.role,
                name: record.intent.name.clone(),
                reason: before.filter(|_| already).map_or(reason, |before| before.reason),
                revoked_at: before.map_or(at, |before| before.at),
                already,
            });
        }
        let crl = self.change(&changes, comment, |transaction, id| {
            transaction.revoke(&id.issuer, id.serial_number, reason)
        })?;
        Ok((revoked, crl))
    }

    /// Lets certificates that are on hold hold again, and takes them out of the revocation list. Those
    /// that were released before stay so.
    ///
    /// # Errors
    /// [`CaError::NotOnHold`] for one that never was, before anything is changed; or what
    /// [`Authority::revoke`] says.
    pub fn release(
        &mut self,
        records: &[Record],
        comment: Option<&str>,
    ) -> Result<(Vec<Released>, PublishedCrl), CaError> {
        let mut released = Vec::with_capacity(records.len());
        let mut changes = Vec::new();
        for record in records {
            let serial_number = record.intent.serial_number;
            let already = record.revocation.is_none() && record.release_entry.is_some();
            if record.is_on_hold() {
                changes.push(record.id());
            } else if !already {
                return Err(CaError::NotOnHold { serial_number });
            }
            let (role, name) = (record.intent.role, record.intent.name.clone());
            released.push(Released { serial_number, role, name, already });
        }
        let crl = self
            .change(&changes, comment, |transaction, id| transaction.release(&id.issuer, id.serial_number))?;
        Ok((released, crl))
    }

    /// Records changes in one transaction and writes the list that tells of them; without changes,
    /// makes sure of the list that there is.
    fn change(
        &mut self,
        changes: &[CertificateId],
        comment: Option<&str>,
        step: impl for<'a> Fn(Transaction<'a>, &CertificateId) -> Result<Transaction<'a>, StoreError>,
    ) -> Result<PublishedCrl, CaError> {
        if changes.is_empty() {
            return self.ensure_crl();
        }
        // No list can be signed in the name of a root that is over: refused before anything is recorded.
        self.check_root_is_valid()?;
        let provenance = self.cluster.context.provenance(comment);
        let mut transaction = self.cluster.inventory.begin(&provenance)?;
        for id in changes {
            transaction = step(transaction, id)?;
        }
        // In the same transaction: from here on the inventory knows that it owes a list.
        let (transaction, number) = transaction.reserve_crl_number(&self.cluster.issuer)?;
        transaction.commit()?;
        self.write_crl(number, None, &provenance)
    }
}
