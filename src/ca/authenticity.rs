//! Comparison of the inventory with what the root has signed, before anything is signed again.
//!
//! The inventory has no key: a program that can write the file can change any row, and compute a new audit chain. A
//! command that signs therefore compares the rows that it uses with signatures:
//!
//! | what is used | is compared with |
//! |---|---|
//! | root | its own signature, the trust bundle, and the key |
//! | cluster, trust domain | subject of the root, and audit entry 1, whose hash is in each signed CRL |
//! | audit chain | the head in that CRL |
//! | number of the next CRL | the last signed CRL: above its number, by a million at most |
//! | identity, hosts and dates of a certificate | the certificate, whose signature is verified, and its audit entry |
//! | revocation of a certificate, or of its key | the last signed CRL |
//! | all revocations | the last signed CRL, before another one is signed; what is new or altered, its audit entry |
//!
//! The comparison of all revocations takes a second for a million of them. A command that signs certificates only
//! makes it if the CRL is short. It takes the anchor of a long CRL from the root's statement about it, and compares the
//! revocations of the certificates that it uses: those of the identities and keys that it signs for.
//!
//! A command that revokes more than a thousand certificates compares them with the audit chain, not with their
//! signatures.
//!
//! Without the last CRL, the whole audit chain is verified instead, with all rows and indexes. Such a home cannot
//! detect that another program removed the CRL and rewrote the chain as a whole. The CRLs of gateways, a backup, and
//! a head recorded elsewhere can.

use std::collections::HashSet;
use std::sync::Arc;

use time::OffsetDateTime;

use super::cluster::Cluster;
use super::error::CaError;
use super::revocation::crl_statement::{CrlStatement, SHORT_CRL};
use super::revocation::signed_crl::{CrlFile, SignedCrl};
use crate::audit::Head;
use crate::files;
use crate::identity::Identity;
use crate::revocation::Crl;
use crate::store::{IssuerRecord, Record, StoreError};
use crate::x509::{Certificate, KeyIdentifier, SerialNumber, Sha256, pem};

/// Most numbers that the next CRL may skip, as interrupted processes and restores do. Once a high number is signed, every
/// gateway refuses lower ones: a program that writes the inventory must not use the numbers up.
const MAX_SKIPPED_NUMBERS: u64 = 1_000_000;

/// Maximum number of certificates of one command whose signatures are verified.
const MOST_VERIFIED: usize = 1_000;

/// Signed record that the inventory agrees with.
#[derive(Debug)]
pub(in crate::ca) struct Evidence {
    /// CRL file as it was when the home was opened. `None` while the statement about it is enough.
    pub(in crate::ca) file: Option<CrlFile>,
    /// Head of the audit chain at that time.
    pub(in crate::ca) head: Head,
    /// Hash of the first audit entry.
    pub(in crate::ca) origin: Sha256,
    /// Holds whose release was recorded by an interrupted process, and never signed. `None` before all revocations
    /// were compared.
    pub(in crate::ca) unsigned_releases: Option<Vec<(SerialNumber, OffsetDateTime)>>,
    /// True if the whole inventory was compared with the audit chain.
    pub(in crate::ca) is_whole: bool,
    /// Certificates of this issuer that this process changed after that comparison.
    pub(in crate::ca) own_changes: HashSet<SerialNumber>,
}

impl Evidence {
    /// Last CRL that the root has signed, if it was read.
    pub(in crate::ca) fn signed(&self) -> Option<&SignedCrl> {
        self.file.as_ref().and_then(|file| file.signed.as_ref())
    }
}

impl Cluster {
    /// Compare the inventory with the root and its last CRL, except for the revocations on a long CRL.
    ///
    /// # Errors
    /// [`CaError::RootDiffers`], [`CaError::InventoryBehind`], [`CaError::RevocationLost`], or [`CaError::Store`]
    /// for a broken chain.
    pub(in crate::ca) fn check_authenticity(&self) -> Result<Evidence, CaError> {
        self.check_root()?;
        let origin = self.inventory.check_origin()?;
        let head = self.inventory.check_head()?;
        let issuer = self.inventory.active_issuer()?;
        let mut evidence = Evidence {
            file: None,
            head,
            origin,
            unsigned_releases: None,
            is_whole: false,
            own_changes: HashSet::new(),
        };
        if !self.is_covered_by_statement(&issuer, origin) {
            self.check_crl(&mut evidence, &issuer)?;
        }
        Ok(evidence)
    }

    /// True if the root's statement about the newest CRL covers the inventory.
    fn is_covered_by_statement(&self, issuer: &IssuerRecord, origin: Sha256) -> bool {
        let newest = issuer.crl.filter(|_| !issuer.owes_crl());
        let statement = newest.and_then(|crl| {
            CrlStatement::read(&self.home, &self.root).filter(|statement| statement.is_about(&crl))
        });
        // A contradiction is reported by the check of the CRL.
        statement.is_some_and(|statement| {
            statement.anchor.origin == origin && self.inventory.check_contains(&statement.anchor.head).is_ok()
        })
    }

    /// Read the last CRL, and compare the inventory with it.
    fn check_crl(&self, evidence: &mut Evidence, issuer: &IssuerRecord) -> Result<(), CaError> {
        let file = CrlFile::read(&self.home.crl(), &self.root);
        self.refuse_skipped_numbers(file.signed.as_ref(), issuer)?;
        let mut is_covered = false;
        if let Some(signed) = &file.signed {
            self.refuse_outdated(signed, issuer)?;
            is_covered = self.is_covered_by(signed, issuer, evidence.origin)?;
            if signed.crl.len() <= SHORT_CRL {
                evidence.unsigned_releases = Some(self.compare_revocations(signed, issuer)?);
            }
        }
        evidence.file = Some(file);
        if !is_covered {
            self.inventory.check_against_audit()?;
            self.inventory.check_indexes()?;
        }
        if let Some(last) = &self.last_crl {
            // Read before, if another check of this process needed it first.
            let _ = last.set(evidence.signed().map(|signed| Arc::clone(&signed.crl)));
        }
        Ok(())
    }

    /// Refuse a root or a cluster that differs from the signed certificate.
    fn check_root(&self) -> Result<(), CaError> {
        let (root, facts) = (&self.root, &self.facts);
        let differs = |why| Err(CaError::RootDiffers { inventory: self.home.database(), why });
        if root.verify_signature(&root.public_key_info).is_err() {
            return differs("the root's own signature is wrong");
        }
        if root.subject_key_identifier.as_ref() != Some(&self.issuer) {
            return differs("the key identifier is not that of the root");
        }
        if !root.subject.common_names.iter().eq([facts.name.as_str()]) {
            return differs("the name of the cluster is not that of the root");
        }
        if !root.subject.organizational_units.iter().eq([&facts.uuid.to_string()]) {
            return differs("the UUID of the cluster is not that of the root");
        }
        Ok(())
    }

    /// Refuse an inventory that has not reserved the number of the CRL in the home: it is an old copy, and would
    /// lose revocations and use a number twice.
    fn refuse_outdated(&self, signed: &SignedCrl, issuer: &IssuerRecord) -> Result<(), CaError> {
        let (number, next) = (signed.crl.number, issuer.next_crl_number);
        if number < next.into() {
            return Ok(());
        }
        Err(CaError::InventoryBehind {
            inventory: self.home.database(),
            crl: self.home.crl(),
            number,
            last: next.saturating_sub(1),
        })
    }

    /// Refuse an inventory whose next CRL number is far above that of the last CRL. Without the file, the number in the
    /// inventory counts, which the audit chain is compared with.
    fn refuse_skipped_numbers(
        &self,
        signed: Option<&SignedCrl>,
        issuer: &IssuerRecord,
    ) -> Result<(), CaError> {
        let recorded = || issuer.crl.map(|crl| crl.number);
        let number =
            signed.and_then(|signed| signed.crl.number.to_u64()).or_else(recorded).unwrap_or_default();
        let next = issuer.next_crl_number;
        if next.saturating_sub(number) <= MAX_SKIPPED_NUMBERS {
            return Ok(());
        }
        Err(CaError::InventoryAhead { inventory: self.home.database(), number, next })
    }

    /// True if the signature of the CRL covers the inventory up to its newest CRL, whose dates rule the next one.
    fn is_covered_by(
        &self,
        signed: &SignedCrl,
        issuer: &IssuerRecord,
        origin: Sha256,
    ) -> Result<bool, CaError> {
        let is_newest = issuer.crl.is_some_and(|crl| {
            let dates = (crl.this_update, crl.next_update);
            signed.crl.number == crl.number.into()
                && signed.crl.sha256 == crl.sha256
                && (signed.crl.this_update, signed.crl.next_update) == dates
        });
        let Some(anchor) = signed.anchor else { return Ok(is_newest) };
        if anchor.origin != origin {
            return Err(CaError::RootDiffers {
                inventory: self.home.database(),
                why: "its first audit entry is not the one that the root signed",
            });
        }
        match self.inventory.check_contains(&anchor.head) {
            Ok(()) => Ok(is_newest),
            // After a restore, a CRL that is newer than the backup stays, and its chain is lost.
            Err(StoreError::Audit(_))
                if issuer.crl.is_none_or(|crl| signed.crl.number > crl.number.into()) =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Compare all revocations with the last CRL, unless `evidence` shows that they were.
    ///
    /// # Errors
    /// [`CaError::RevocationLost`], or [`CaError::Store`].
    pub(in crate::ca) fn check_revocations(&self, evidence: &mut Evidence) -> Result<(), CaError> {
        let issuer = self.inventory.active_issuer()?;
        if evidence.file.is_none() {
            self.check_crl(evidence, &issuer)?;
        }
        if let (None, Some(signed)) = (&evidence.unsigned_releases, evidence.signed()) {
            evidence.unsigned_releases = Some(self.compare_revocations(signed, &issuer)?);
        }
        Ok(())
    }

    /// Refuse a record that lacks its revocation on the last CRL. A cluster opened for reading signs nothing, and
    /// has no such CRL.
    ///
    /// # Errors
    /// [`CaError::RevocationLost`].
    pub(in crate::ca) fn refuse_lost_revocation(&self, record: &Record) -> Result<(), CaError> {
        let serial_number = record.reservation.serial_number;
        if record.issuer != self.issuer || record.revocation.is_some() {
            return Ok(());
        }
        match self.last_crl()? {
            Some(crl) if crl.contains(&serial_number) => {
                Err(CaError::RevocationLost { serial_number, number: crl.number })
            }
            _ => Ok(()),
        }
    }

    /// Last CRL, read when it is needed first. `None` in a cluster opened for reading.
    fn last_crl(&self) -> Result<Option<&Crl>, CaError> {
        let Some(last) = &self.last_crl else { return Ok(None) };
        if let Some(read) = last.get() {
            return Ok(read.as_deref());
        }
        let signed = CrlFile::read(&self.home.crl(), &self.root).signed;
        let recorded = self.inventory.active_issuer()?.crl.map(|crl| crl.sha256);
        if signed.as_ref().map(|signed| signed.crl.sha256) != recorded {
            // The file was replaced since the home was opened.
            self.inventory.check_against_audit()?;
            self.inventory.check_indexes()?;
        }
        Ok(last.get_or_init(|| signed.map(|signed| signed.crl)).as_deref())
    }

    /// Refuse an inventory that does not record a revocation on the signed CRL. Return the holds that an
    /// interrupted process lifted without a signature.
    fn compare_revocations(
        &self,
        signed: &SignedCrl,
        issuer: &IssuerRecord,
    ) -> Result<Vec<(SerialNumber, OffsetDateTime)>, CaError> {
        let mut listed = 0;
        let mut last = None;
        self.inventory.revoked_serial_numbers(&issuer.key_id, |serial_number| {
            // An index that has one row twice could hide another.
            if last.replace(serial_number).is_some_and(|last| last >= serial_number) {
                let found = "rows of certificate_revoked are out of order".to_owned();
                return Err(StoreError::Indexes { found });
            }
            listed += usize::from(signed.crl.contains(&serial_number));
            Ok(())
        })?;
        let mut unsigned_releases = Vec::new();
        if listed == signed.crl.len() {
            return Ok(unsigned_releases);
        }
        signed.for_each(|serial_number, revoked_at| {
            let records = self.inventory.find(serial_number)?;
            let record = records.iter().find(|record| record.issuer == issuer.key_id);
            match record {
                Some(record) if record.revocation.is_some() => {}
                Some(record) if issuer.owes_crl() && is_unsigned_release(record, signed) => {
                    self.inventory.check_record(record)?;
                    unsigned_releases.push((serial_number, revoked_at));
                }
                _ => return Err(CaError::RevocationLost { serial_number, number: signed.crl.number }),
            }
            Ok(())
        })?;
        if unsigned_releases.is_empty() {
            let found = "certificate_revoked lacks a revoked certificate".to_owned();
            return Err(StoreError::Indexes { found }.into());
        }
        Ok(unsigned_releases)
    }

    /// The stored certificate of a record, if it and the audit chain agree with the row.
    ///
    /// # Errors
    /// [`CaError::RecordDiffers`], or [`CaError::Store`].
    pub(in crate::ca) fn genuine_certificate(&self, record: &Record) -> Result<Certificate, CaError> {
        let (reservation, issuer) = (&record.reservation, &record.issuer);
        let certificate = self.inventory.certificate(issuer, reservation.serial_number)?;
        let differs = |why| {
            let (role, name) = (reservation.role, reservation.name.clone());
            CaError::RecordDiffers { role, name, serial_number: reservation.serial_number, why }
        };
        let key = self.issuer_key(issuer)?.ok_or_else(|| differs("its issuer is not in cluster.crt"))?;
        if certificate.serial_number != reservation.serial_number
            || certificate.verify_signature(&key).is_err()
        {
            return Err(differs("the stored certificate is not one that the root signed"));
        }
        let identity = Identity::of_certificate(&certificate, self.trust_domain());
        if !identity.is_ok_and(|found| (found.role, &found.name) == (reservation.role, &reservation.name)) {
            return Err(differs("the signed certificate has another identity"));
        }
        let same = record.issue.is_some_and(|issue| {
            (issue.not_before, issue.not_after) == (certificate.not_before, certificate.not_after)
                && issue.public_key == Sha256::of(&certificate.public_key_info)
        });
        if !same {
            return Err(differs("the signed certificate has another validity or key"));
        }
        self.inventory.check_record(record)?;
        self.refuse_lost_revocation(record)?;
        Ok(certificate)
    }

    /// Refuse the first record that its certificate or the audit chain contradicts. Returns true if the whole inventory
    /// was compared with the chain.
    ///
    /// Many records are compared with the chain only, since verifying their signatures would take longer than the
    /// command itself. If they are a large part of the inventory, all of it is compared. That also finds a certificate
    /// that a changed row hides from a bulk revocation.
    pub(in crate::ca) fn check_genuine(&self, records: &[Record]) -> Result<bool, CaError> {
        let mut issued = records.iter().filter(|record| record.issue.is_some());
        if records.len() <= MOST_VERIFIED {
            issued.try_for_each(|record| self.genuine_certificate(record).map(drop))?;
            return Ok(false);
        }
        let entries = self.inventory.audit_head()?.seq;
        let is_large_part = u64::try_from(records.len()).is_ok_and(|records| records > entries / 8);
        if is_large_part {
            self.inventory.check_against_audit()?;
        }
        issued.try_for_each(|record| {
            if !is_large_part {
                self.inventory.check_record(record)?;
            }
            self.refuse_lost_revocation(record)
        })?;
        Ok(is_large_part)
    }

    /// Public key of an issuer. An issuer besides the active root must be in the trust bundle.
    fn issuer_key(&self, issuer: &KeyIdentifier) -> Result<Option<Vec<u8>>, CaError> {
        if *issuer == self.issuer {
            return Ok(Some(self.root.public_key_info.clone()));
        }
        let path = self.home.certificate();
        let bundle =
            pem::certificates(&files::read(&path, files::SMALL_FILE)?).map_err(CaError::in_file(&path))?;
        let found = bundle.into_iter().find(|root| root.subject_key_identifier.as_ref() == Some(issuer));
        Ok(found.map(|root| root.public_key_info))
    }
}

/// True if the release of this certificate was recorded after the CRL was signed.
fn is_unsigned_release(record: &Record, signed: &SignedCrl) -> bool {
    record.release_entry.is_some_and(|entry| signed.anchor.is_none_or(|anchor| anchor.head.seq < entry))
}
