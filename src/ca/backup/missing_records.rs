//! What a restore would forget, found in what is still there: another inventory, revocation lists, issued
//! certificates.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use time::{Duration, OffsetDateTime};

use super::error::BackupError;
use super::unpack::VerifiedBackup;
use crate::files::{self, FileError};
use crate::identity::Identity;
use crate::revocation::{Crl, RevocationReason};
use crate::store::{Filter, Intent, Inventory, StoreError, Transaction};
use crate::x509::crl::UnverifiedCrl;
use crate::x509::trust::{Purpose, TrustBundle};
use crate::x509::{Certificate, KeyIdentifier, SerialNumber, Sha256, pem};

/// A revocation list that the cluster's root signed.
pub(super) struct VerifiedCrl {
    pub(super) crl: Crl,
    der: Vec<u8>,
}

impl VerifiedCrl {
    /// The lists in a file; an error when one of them is not the cluster's.
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

/// A certificate of which `restored` knows no more than that its serial number was set aside.
struct MissingCertificate {
    issuer: KeyIdentifier,
    intent: Intent,
    certificate: Certificate,
    issued_at: OffsetDateTime,
}

/// By how much the start of validity lies before the issue, unless a profile says otherwise.
const BACKDATE: Duration = Duration::minutes(5);

/// What a restored inventory has to take in before it may be used.
#[derive(Default)]
pub(super) struct MissingRecords {
    /// The oldest first, as far as that is known.
    certificates: Vec<MissingCertificate>,
    serial_numbers: BTreeSet<SerialNumber>,
    revocations: BTreeMap<SerialNumber, (KeyIdentifier, OffsetDateTime, RevocationReason)>,
}

impl MissingRecords {
    /// How many certificates and how many revocations.
    pub(super) fn counts(&self) -> (u64, u64) {
        let count = |length| u64::try_from(length).unwrap_or(u64::MAX);
        (count(self.certificates.len()), count(self.revocations.len()))
    }

    /// What `other` knows and `restored` does not.
    pub(super) fn find_in_inventory(
        &mut self,
        restored: &Inventory,
        other: &Inventory,
    ) -> Result<(), BackupError> {
        other.list(&Filter::default(), OffsetDateTime::UNIX_EPOCH, |record| {
            let serial_number = record.intent.serial_number;
            let known = restored.find(serial_number)?.into_iter().find(|known| known.issuer == record.issuer);
            if record.issue.is_some() && known.as_ref().is_none_or(|known| known.issue.is_none()) {
                let certificate = other.certificate(&record.issuer, serial_number)?;
                self.find(MissingCertificate {
                    issuer: record.issuer.clone(),
                    intent: record.intent,
                    certificate,
                    issued_at: record.reserved_at,
                });
            }
            if let Some(revocation) = record.revocation
                && known.is_none_or(|known| !known.tells(revocation.reason))
            {
                let told = (record.issuer, revocation.at, revocation.reason);
                self.revocations.insert(serial_number, told);
            }
            Ok::<_, StoreError>(())
        })?;
        Ok(())
    }

    /// The certificates in a directory, absolute as `home` is, that the cluster's root signed and `restored` does not know.
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
            let Some(certificate) = read_certificate(&path) else { continue };
            let serial_number = certificate.serial_number;
            // Whether it holds today does not matter: whether this root signed it does.
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
            let intent = Intent {
                serial_number,
                role: identity.role,
                name: identity.name,
                // By which profile it was issued is not known any more.
                profile: Sha256([0; 32]),
                supersedes: None,
                key_path: key_path.exists().then(|| recorded(key_path)),
                certificate_path: recorded(path.clone()),
            };
            // The inventory that knew it is lost. Whoever revokes by time gets what was issued then.
            let issued_at = certificate.not_before.saturating_add(BACKDATE);
            self.find(MissingCertificate { issuer: chain.anchor, intent, certificate, issued_at });
        }
        Ok(())
    }

    /// What a list revokes and `restored` does not. Certificates must have been found before.
    ///
    /// # Errors
    /// [`BackupError::RevokedUnknown`] for those that nobody here knows.
    pub(super) fn find_in_list(
        &mut self,
        restored: &Inventory,
        list: &VerifiedCrl,
    ) -> Result<(), BackupError> {
        let mut unknown = BTreeSet::new();
        let issuer = &list.crl.issuer;
        for entry in UnverifiedCrl::from_der(&list.der)?.entries() {
            let entry = entry?;
            let serial_number = entry.serial_number;
            if !list.crl.contains(&serial_number) {
                continue;
            }
            let reason = entry.reason_code.and_then(RevocationReason::from_code);
            let reason = reason.unwrap_or(RevocationReason::Unspecified);
            let records = restored.find(serial_number)?;
            match records.iter().find(|record| record.issuer == *issuer) {
                Some(record) if record.tells(reason) => continue,
                Some(record) if record.issue.is_some() => {}
                _ if self.serial_numbers.contains(&serial_number) => {}
                _ => {
                    unknown.insert(serial_number);
                    continue;
                }
            }
            let told = (issuer.clone(), entry.revoked_at()?, reason);
            self.revocations.entry(serial_number).or_insert(told);
        }
        if unknown.is_empty() {
            Ok(())
        } else {
            Err(BackupError::RevokedUnknown {
                number: list.crl.number,
                serial_numbers: unknown.into_iter().collect(),
            })
        }
    }

    fn find(&mut self, found: MissingCertificate) {
        if self.serial_numbers.insert(found.intent.serial_number) {
            self.certificates.push(found);
        }
    }

    /// Records all of it.
    pub(super) fn record<'a>(&self, mut transaction: Transaction<'a>) -> Result<Transaction<'a>, StoreError> {
        for MissingCertificate { issuer, intent, certificate, issued_at } in &self.certificates {
            transaction = transaction.adopt(issuer, intent, certificate, *issued_at)?;
        }
        for (serial_number, (issuer, at, reason)) in &self.revocations {
            transaction = transaction.adopt_revocation(issuer, *serial_number, *at, *reason)?;
        }
        Ok(transaction)
    }
}

fn read_certificate(path: &Path) -> Option<Certificate> {
    path.extension().filter(|extension| *extension == "crt")?;
    let bytes = files::read(path, files::SMALL_FILE).ok()?;
    pem::certificates(&bytes).ok()?.into_iter().next()
}
