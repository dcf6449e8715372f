//! Records that a backup lacks, recovered from another inventory, CRLs, and issued certificates.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use time::{Duration, OffsetDateTime};

use super::error::BackupError;
use super::unpack::VerifiedBackup;
use crate::files::{self, FileError};
use crate::identity::Identity;
use crate::revocation::{Crl, RevocationReason};
use crate::store::{Filter, Inventory, Reservation, StoreError, Transaction};
use crate::x509::crl::UnverifiedCrl;
use crate::x509::trust::{Purpose, TrustBundle};
use crate::x509::{Certificate, KeyIdentifier, SerialNumber, Sha256, pem};

/// A CRL signed by the cluster's root.
pub(super) struct VerifiedCrl {
    pub(super) crl: Crl,
    der: Vec<u8>,
}

impl VerifiedCrl {
    /// Read all CRLs in a file. One of another issuer is an error.
    pub(super) fn read(
        path: &Path,
        trust: &TrustBundle,
        at: OffsetDateTime,
    ) -> Result<Vec<Self>, BackupError> {
        let bytes = files::read(path, files::CRL_FILE)?;
        let blocks = pem::blocks_of(pem::ObjectKind::Crl, &bytes)?;
        let read = |block: &pem::PemBlock| {
            Ok(Self { crl: Crl::verify(block.der(), trust, at)?, der: block.der().to_vec() })
        };
        blocks.iter().map(read).collect()
    }
}

/// A certificate for which the restored inventory has at most a reserved serial number.
struct MissingCertificate {
    issuer: KeyIdentifier,
    reservation: Reservation,
    certificate: Certificate,
    issued_at: OffsetDateTime,
}

/// Default backdating of a certificate's validity.
const BACKDATE: Duration = Duration::minutes(5);

/// Records to add to a restored inventory before it is used.
#[derive(Default)]
pub(super) struct MissingRecords {
    /// Oldest first, as far as known.
    certificates: Vec<MissingCertificate>,
    serial_numbers: BTreeSet<SerialNumber>,
    revocations: BTreeMap<SerialNumber, (KeyIdentifier, OffsetDateTime, RevocationReason)>,
}

impl MissingRecords {
    /// Number of certificates and of revocations.
    pub(super) fn counts(&self) -> (u64, u64) {
        let count = |length| u64::try_from(length).unwrap_or(u64::MAX);
        (count(self.certificates.len()), count(self.revocations.len()))
    }

    /// Find records in `other` that `restored` lacks.
    pub(super) fn find_in_inventory(
        &mut self,
        restored: &Inventory,
        other: &Inventory,
    ) -> Result<(), BackupError> {
        other.list(&Filter::default(), OffsetDateTime::UNIX_EPOCH, |record| {
            let serial_number = record.reservation.serial_number;
            let known = restored.find(serial_number)?.into_iter().find(|known| known.issuer == record.issuer);
            if record.issue.is_some() && known.as_ref().is_none_or(|known| known.issue.is_none()) {
                let certificate = other.certificate(&record.issuer, serial_number)?;
                self.add(MissingCertificate {
                    issuer: record.issuer.clone(),
                    reservation: record.reservation,
                    certificate,
                    issued_at: record.reserved_at,
                });
            }
            if let Some(revocation) = record.revocation
                && known.is_none_or(|known| !known.covers(revocation.reason))
            {
                let revocation = (record.issuer, revocation.at, revocation.reason);
                self.revocations.insert(serial_number, revocation);
            }
            Ok::<_, StoreError>(())
        })?;
        Ok(())
    }

    /// Find certificates in a directory that the root signed and `restored` lacks. `directory` and `home`
    /// are absolute.
    pub(super) fn find_in_directory(
        &mut self,
        home: &Path,
        restored: &VerifiedBackup,
        directory: &Path,
    ) -> Result<(), BackupError> {
        let trust_domain = restored.inventory.cluster()?.trust_domain;
        let entries = fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let entries =
            entries.map_err(|source| FileError::Io { doing: "read", path: directory.to_owned(), source })?;
        for path in entries.into_iter().map(|entry| entry.path()) {
            let Some(certificate) = read_certificate(&path)? else { continue };
            let serial_number = certificate.serial_number;
            // Verified at the start of validity: only the signature matters, not whether it is valid today.
            let verified =
                restored.trust.verify(&certificate.der, &[], Purpose::Client, certificate.not_before);
            let (Ok(chain), Ok(identity)) = (verified, Identity::of_certificate(&certificate, &trust_domain))
            else {
                continue;
            };
            let known = restored.inventory.find(serial_number)?;
            if known.iter().any(|known| known.issuer == chain.anchor && known.issue.is_some()) {
                continue;
            }
            let key_path = path.with_extension("key");
            let recorded = |path: PathBuf| path.strip_prefix(home).map(Path::to_owned).unwrap_or(path);
            let reservation = Reservation {
                serial_number,
                role: identity.role,
                name: identity.name,
                // The profile used is unknown.
                profile: Sha256([0; 32]),
                supersedes: None,
                // No certificate contains it.
                label: None,
                key_path: key_path.exists().then(|| recorded(key_path)),
                certificate_path: recorded(path.clone()),
            };
            // The time of issue is estimated, so that a bulk revocation by time includes the certificate.
            let issued_at = certificate.not_before.saturating_add(BACKDATE);
            self.add(MissingCertificate { issuer: chain.anchor, reservation, certificate, issued_at });
        }
        Ok(())
    }

    /// Find revocations in a CRL that `restored` lacks. Certificates must have been found before.
    ///
    /// # Errors
    /// [`BackupError::RevokedUnknown`] for certificates without any record.
    pub(super) fn find_in_crl(
        &mut self,
        restored: &Inventory,
        verified: &VerifiedCrl,
    ) -> Result<(), BackupError> {
        let mut unknown = BTreeSet::new();
        let issuer = &verified.crl.issuer;
        for entry in UnverifiedCrl::from_der(&verified.der)?.entries() {
            let entry = entry?;
            let serial_number = entry.serial_number;
            if !verified.crl.contains(&serial_number) {
                continue;
            }
            let reason = entry.reason_code.and_then(RevocationReason::from_code);
            let reason = reason.unwrap_or(RevocationReason::Unspecified);
            let records = restored.find(serial_number)?;
            match records.iter().find(|record| record.issuer == *issuer) {
                Some(record) if record.covers(reason) => continue,
                Some(record) if record.issue.is_some() => {}
                _ if self.serial_numbers.contains(&serial_number) => {}
                _ => {
                    unknown.insert(serial_number);
                    continue;
                }
            }
            let revocation = (issuer.clone(), entry.revoked_at()?, reason);
            self.revocations.entry(serial_number).or_insert(revocation);
        }
        if unknown.is_empty() {
            Ok(())
        } else {
            Err(BackupError::RevokedUnknown {
                number: verified.crl.number,
                serial_numbers: unknown.into_iter().collect(),
            })
        }
    }

    fn add(&mut self, found: MissingCertificate) {
        if self.serial_numbers.insert(found.reservation.serial_number) {
            self.certificates.push(found);
        }
    }

    /// Add all records to the transaction.
    pub(super) fn record<'a>(&self, mut transaction: Transaction<'a>) -> Result<Transaction<'a>, StoreError> {
        for MissingCertificate { issuer, reservation, certificate, issued_at } in &self.certificates {
            transaction = transaction.adopt(issuer, reservation, certificate, *issued_at)?;
        }
        for (serial_number, (issuer, at, reason)) in &self.revocations {
            transaction = transaction.adopt_revocation(issuer, *serial_number, *at, *reason)?;
        }
        Ok(transaction)
    }
}

/// Read a certificate from a `.crt` file. `None` for other files and other contents.
fn read_certificate(path: &Path) -> Result<Option<Certificate>, FileError> {
    if path.extension().is_none_or(|extension| extension != "crt") {
        return Ok(None);
    }
    match files::read(path, files::SMALL_FILE) {
        Ok(bytes) => Ok(pem::certificates(&bytes).ok().and_then(|found| found.into_iter().next())),
        Err(FileError::NotAFile { .. } | FileError::TooLarge { .. }) => Ok(None),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}
