//! Revocation, suspension, and lifting of a hold. A change is recorded first and then published in a
//! CRL.

use serde::Serialize;
use time::OffsetDateTime;

use super::crl::PublishedCrl;
use crate::ca::authority::Authority;
use crate::ca::cluster::{Cluster, exactly_one};
use crate::ca::error::CaError;
use crate::ca::target::Target;
use crate::identity::{Name, Role};
use crate::revocation::RevocationReason;
use crate::store::{CertificateId, Filter, Record, RecordStatus, StoreError, Transaction};
use crate::x509::{Certificate, SerialNumber, Sha256};

const HOLD: RevocationReason = RevocationReason::CertificateHold;

/// A revoked or suspended certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Revoked {
    /// Serial number, as on the CRL.
    pub serial_number: SerialNumber,
    /// Role of the identity.
    pub role: Role,
    /// Name within the role.
    pub name: Name,
    /// Reason for revocation.
    pub reason: RevocationReason,
    /// Time of revocation.
    #[serde(with = "time::serde::rfc3339")]
    pub revoked_at: OffsetDateTime,
    /// True if it was revoked before this operation.
    pub already: bool,
}

/// A certificate whose hold was lifted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Released {
    /// Serial number, removed from the CRL.
    pub serial_number: SerialNumber,
    /// Role of the identity.
    pub role: Role,
    /// Name within the role.
    pub name: Name,
    /// True if the hold was lifted before this operation.
    pub already: bool,
}

/// Selection of certificates to revoke together. All given conditions apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BulkSelection {
    /// Only this role.
    pub role: Option<Role>,
    /// Issued at or after this time.
    pub issued_after: Option<OffsetDateTime>,
    /// Issued before this time.
    pub issued_before: Option<OffsetDateTime>,
}

impl Cluster {
    /// Find the one certificate that `target` refers to, to revoke or suspend it.
    ///
    /// A name refers to its valid or suspended certificate. Revoked and expired ones are disregarded. If
    /// all are revoked, the name refers to the newest.
    ///
    /// # Errors
    /// [`CaError::UnknownCertificate`], [`CaError::Ambiguous`], [`CaError::RootOnOwnCrl`], or
    /// [`CaError::Store`].
    pub fn find_to_revoke(&self, target: &Target) -> Result<Record, CaError> {
        if let Some(serial_number) = target.serial_number() {
            self.refuse_root(|issuer| issuer.serial_number == serial_number)?;
        }
        let now = self.context.now();
        let is_active = |record: &Record| record.status(now) == RecordStatus::Valid || record.is_on_hold();
        let mut candidates = self.candidates(target)?;
        if candidates.iter().any(is_active) {
            candidates.retain(is_active);
        } else if candidates.iter().all(|record| record.revocation.is_some()) {
            candidates.truncate(1);
        }
        exactly_one(target, candidates)
    }

    /// Find the one certificate that `target` refers to, to lift its hold. A name refers to its suspended
    /// certificate, or else to one whose hold was lifted before.
    ///
    /// # Errors
    /// [`CaError::UnknownCertificate`], [`CaError::Ambiguous`], or [`CaError::Store`].
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

    /// All issued certificates of an identity.
    ///
    /// # Errors
    /// [`CaError::UnknownCertificate`] if there are none, or [`CaError::Store`].
    pub fn certificates_of(&self, role: Role, name: &Name) -> Result<Vec<Record>, CaError> {
        let target = Target::Identity(role, name.clone());
        let candidates = self.candidates(&target)?;
        if candidates.is_empty() { Err(CaError::UnknownCertificate { target }) } else { Ok(candidates) }
    }

    /// All certificates of an identity that are or were on hold.
    ///
    /// # Errors
    /// [`CaError::NotOnHold`] if there are none, and the errors of [`Cluster::certificates_of`].
    pub fn certificates_on_hold(&self, role: Role, name: &Name) -> Result<Vec<Record>, CaError> {
        let certificates_of = self.certificates_of(role, name)?;
        let newest = certificates_of.first().map(|record| record.reservation.serial_number);
        let held = |record: &Record| record.is_on_hold() || record.release_entry.is_some();
        let held: Vec<_> = certificates_of.into_iter().filter(held).collect();
        match newest {
            Some(serial_number) if held.is_empty() => Err(CaError::NotOnHold { serial_number }),
            _ => Ok(held),
        }
    }

    /// All certificates for a public key, given as SubjectPublicKeyInfo (DER).
    ///
    /// # Errors
    /// [`CaError::UnknownKey`] if there are none, [`CaError::RootOnOwnCrl`], or [`CaError::Store`].
    pub fn certificates_for_key(&self, public_key_info: &[u8]) -> Result<Vec<Record>, CaError> {
        self.refuse_root(|issuer| issuer.public_key_info == public_key_info)?;
        let public_key = Sha256::of(public_key_info);
        let records = self.inventory.find_public_key(&public_key)?;
        if records.is_empty() { Err(CaError::UnknownKey { public_key }) } else { Ok(records) }
    }

    /// All valid and suspended certificates in `bulk`.
    ///
    /// # Errors
    /// [`CaError::Store`] if the inventory cannot be read.
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
            if record.status(now) == RecordStatus::Valid || record.is_on_hold() {
                found.push(record);
            }
            Ok::<_, CaError>(())
        })?;
        Ok(found)
    }

    /// Refuse to revoke a root: a CRL that lists its own issuer would invalidate the key that signs it.
    fn refuse_root(&self, is_target: impl Fn(&Certificate) -> bool) -> Result<(), CaError> {
        match self.inventory.issuers()?.into_iter().find(|issuer| is_target(&issuer.certificate)) {
            Some(issuer) => Err(CaError::RootOnOwnCrl { serial_number: issuer.certificate.serial_number }),
            None => Ok(()),
        }
    }
}

impl Authority {
    /// Revoke certificates in one transaction and publish a CRL. [`RevocationReason::CertificateHold`]
    /// suspends them until the hold is lifted; a suspended certificate can still be revoked permanently.
    /// Certificates already revoked are unchanged and included in the result.
    ///
    /// # Errors
    /// Errors of the inventory and of files; [`CaError::CrlNotWritten`] if the revocations are recorded but
    /// the CRL could not be written.
    pub fn revoke(
        &mut self,
        records: &[Record],
        reason: RevocationReason,
        comment: Option<&str>,
    ) -> Result<(Vec<Revoked>, PublishedCrl), CaError> {
        let at = self.cluster.context.now();
        self.check_records(records)?;
        let mut revoked = Vec::with_capacity(records.len());
        let mut changes = Vec::new();
        for record in records {
            let before = record.revocation;
            let already = before.is_some() && !(record.is_on_hold() && reason != HOLD);
            if !already {
                changes.push(record.id());
            }
            revoked.push(Revoked {
                serial_number: record.reservation.serial_number,
                role: record.reservation.role,
                name: record.reservation.name.clone(),
                reason: before.filter(|_| already).map_or(reason, |before| before.reason),
                revoked_at: before.map_or(at, |before| before.at),
                already,
            });
        }
        let crl = self.change(&changes, comment, true, |transaction, id| {
            transaction.revoke(&id.issuer, id.serial_number, reason)
        })?;
        Ok((revoked, crl))
    }

    /// Lift the hold on certificates and remove them from the CRL. Holds lifted before are left as they
    /// are.
    ///
    /// # Errors
    /// [`CaError::NotOnHold`] if one was never suspended; nothing is changed then. Otherwise the errors of
    /// [`Authority::revoke`].
    pub fn release(
        &mut self,
        records: &[Record],
        comment: Option<&str>,
    ) -> Result<(Vec<Released>, PublishedCrl), CaError> {
        self.check_records(records)?;
        let mut released = Vec::with_capacity(records.len());
        let mut changes = Vec::new();
        for record in records {
            let serial_number = record.reservation.serial_number;
            let already = record.revocation.is_none() && record.release_entry.is_some();
            if record.is_on_hold() {
                changes.push(record.id());
            } else if !already {
                return Err(CaError::NotOnHold { serial_number });
            }
            let (role, name) = (record.reservation.role, record.reservation.name.clone());
            released.push(Released { serial_number, role, name, already });
        }
        let crl = self.change(&changes, comment, false, |transaction, id| {
            transaction.release(&id.issuer, id.serial_number)
        })?;
        Ok((released, crl))
    }

    /// Compare the records with what was signed. All revocations come first: both need the last CRL, read once.
    fn check_records(&mut self, records: &[Record]) -> Result<(), CaError> {
        self.cluster.check_revocations(&mut self.evidence)?;
        self.evidence.is_whole |= self.cluster.check_genuine(records)?;
        Ok(())
    }

    /// Records changes in one transaction and publishes a CRL. Without changes, ensures that the current
    /// CRL is published.
    fn change(
        &mut self,
        changes: &[CertificateId],
        comment: Option<&str>,
        revokes: bool,
        step: impl for<'a> Fn(Transaction<'a>, &CertificateId) -> Result<Transaction<'a>, StoreError>,
    ) -> Result<PublishedCrl, CaError> {
        if changes.is_empty() {
            return self.ensure_crl();
        }
        // An expired root cannot sign a CRL, so refuse before recording anything.
        self.check_root_is_valid()?;
        let provenance = self.cluster.context.provenance(comment);
        let mut transaction = self.cluster.inventory.begin(&provenance)?;
        for id in changes {
            transaction = step(transaction, id)?;
        }
        // Reserved in the same transaction: from now on, recovery publishes the CRL if this process does not.
        let (transaction, number) = transaction.reserve_crl_number(&self.cluster.issuer)?;
        let head = transaction.commit()?;
        let issuer = self.cluster.issuer.clone();
        let changed = changes.iter().filter(|id| id.issuer == issuer).map(|id| id.serial_number);
        if self.evidence.is_whole {
            self.evidence.own_changes.extend(changed.clone());
        }
        let crl = self.write_crl(number, head, None, &provenance)?;
        self.check_published(&crl, changed, revokes)?;
        Ok(crl)
    }
}
