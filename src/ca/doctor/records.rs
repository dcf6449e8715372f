//! Checks of the inventory against the trust bundle, the CRL and the profiles.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use time::{Duration, OffsetDateTime};

use super::codes::DoctorCode;
use super::examiner::{Examiner, Findings};
use super::extent::{Extent, hash};
use super::finding::{Repair, Severity};
use super::issued_files::IssuedFiles;
use crate::ca::cluster::Cluster;
use crate::ca::error::CaError;
use crate::ca::revocation::crl::GRACE;
use crate::clock::rfc3339;
use crate::error::Coded;
use crate::files;
use crate::identity::Role;
use crate::profile::ProfileSet;
use crate::revocation::{Crl, CrlError, ReadCrls, RevocationReason, RevocationSet};
use crate::store::{Filter, Inventory, IssuerRecord, RecordStatus, Reservation, ScannedRecord, StoreError};
use crate::x509::trust::{Purpose, TrustBundle};

/// Records between two reports of progress.
const PROGRESS_STEP: u64 = 500;

/// A CRL is reported this long before it expires.
const CRL_WARNING: Duration = Duration::days(30);

/// Recorded files that do not exist, with an example.
#[derive(Default)]
struct MissingFiles {
    count: u64,
    first: Option<PathBuf>,
}

impl MissingFiles {
    fn check(&mut self, path: PathBuf, issued: &IssuedFiles) {
        if !issued.exists(&path) {
            self.count += 1;
            self.first.get_or_insert(path);
        }
    }

    fn append(&mut self, part: Self) {
        self.count += part.count;
        self.first = self.first.take().or(part.first);
    }
}

impl Examiner<'_> {
    /// Check the CRL file: valid, current, and consistent with the inventory.
    pub(super) fn check_crl_file(&mut self, cluster: &Cluster, bundle: &TrustBundle) -> Result<(), CaError> {
        let read = files::read(&self.home.crl(), files::CRL_FILE).map_err(CaError::from).and_then(|bytes| {
            let read = ReadCrls::read(&bytes, bundle, self.now)?;
            Ok((RevocationSet::newest_read(&read, bundle)?, read.set_aside))
        });
        let crls = match read {
            Ok((crls, set_aside)) => {
                let file = self.home.crl();
                for reason in set_aside {
                    let message = format!("{}: {reason}", file.display());
                    self.found.add(Severity::Warning, reason.code(), &message, Some(Repair::PublishCrl));
                }
                crls
            }
            Err(error) => {
                let file = self.home.crl();
                // Only a regular file is replaced: anything else was put there on purpose. The CRL of another root is
                // not ours to sign.
                let of_other_root = matches!(&error, CaError::Crl(CrlError::MissingForIssuer { issuer, .. }) if *issuer != cluster.issuer);
                let replaceable = file.is_file() || !files::occupied(&file);
                let repair = (replaceable && !of_other_root).then_some(Repair::PublishCrl);
                self.found.add_repairable_error(error.code(), Some(&file), &error, repair);
                return Ok(());
            }
        };
        for issuer in cluster.inventory.issuers()? {
            if let Some(crl) = crls.crl(&issuer.key_id) {
                self.check_crl(cluster, &issuer, crl)?;
            }
        }
        Ok(())
    }

    fn check_crl(&mut self, cluster: &Cluster, issuer: &IssuerRecord, crl: &Crl) -> Result<(), CaError> {
        let (number, end) = (crl.number, rfc3339(crl.next_update));
        if crl.is_expired_at(self.now) {
            self.found.error("revocation.crl_expired", &format_args!("CRL {number} expired at {end}"));
        } else if crl.is_expired_at(self.now.saturating_add(CRL_WARNING)) {
            self.found.warn(DoctorCode::CrlEndsSoon.name(), &format_args!("CRL {number} expires at {end}"));
        }
        if issuer.owes_crl() {
            let message = "a CRL was reserved but not published: cluster.crl may be older than the inventory";
            self.found.add(Severity::Error, DoctorCode::CrlOwed.name(), &message, Some(Repair::Recover));
        } else if issuer.crl.is_some_and(|recorded| recorded.sha256 != crl.sha256) {
            let recorded = issuer.crl.map(|recorded| recorded.number).unwrap_or_default();
            let message = format_args!("cluster.crl is CRL {number}, not CRL {recorded} as recorded");
            self.found.error(DoctorCode::CrlDiffers.name(), &message);
        }
        let mut missing = 0_u64;
        cluster.inventory.revoked(&issuer.key_id, crl.this_update.min(self.now) - GRACE, |revoked| {
            missing += u64::from(!crl.contains(&revoked.serial_number));
            Ok::<_, StoreError>(())
        })?;
        if missing > 0 {
            let message =
                format_args!("{missing} revoked certificates are not in cluster.crl (CRL {number})");
            self.found.error(DoctorCode::CrlIncomplete.name(), &message);
        }
        Ok(())
    }

    /// Check every valid certificate: its chain, its files, its profile. Return the hashes of all names that the
    /// inventory records in `issued/`.
    pub(super) fn check_records(
        &mut self,
        cluster: &Cluster,
        bundle: Option<&TrustBundle>,
        issued: &IssuedFiles,
    ) -> Result<HashSet<u64>, CaError> {
        let check = RecordCheck {
            bundle,
            issued,
            profiles: self.profiles,
            now: self.now,
            extent: self.extent,
            location: &cluster.location,
            compromised: &compromised_keys(cluster)?,
            progress: self.progress,
        };
        let rows = cluster.inventory.last_row()?;
        let all = cluster.inventory.on_all_cores(
            rows,
            |inventory, part| check.run(inventory, part),
            |_, parts| {
                let mut all = CheckedRecords::default();
                parts.into_iter().for_each(|part| all.append(part));
                Ok::<_, CaError>(all)
            },
        )?;
        let CheckedRecords { found, outdated, certificates, keys, valid, checked, names } = all;
        self.found.append(found);
        self.certificates = valid;
        if !self.extent.is_everything() {
            let message = format_args!(
                "{checked} of {valid} valid certificates, chosen at random, had their signatures checked, and as \
                 large a part of the files was read: --full checks all"
            );
            self.found.note(DoctorCode::Sampled.name(), &message);
        }
        let expired = cluster.due_for_renewal(self.now, None)?;
        if let Some(first) = expired.first() {
            let message = format_args!(
                "{} certificates have expired and were not renewed, such as {}/{} ({})",
                expired.len(),
                first.reservation.role,
                first.reservation.name,
                first.reservation.serial_number
            );
            self.found.warn(DoctorCode::Expired.name(), &message);
        }
        if let MissingFiles { count, first: Some(first) } = certificates {
            // Usually they were delivered and removed.
            let message = format_args!(
                "{count} valid certificates are not at their recorded paths, such as {}",
                first.display()
            );
            self.found.note(DoctorCode::FileMissing.name(), &message);
        }
        if let MissingFiles { count, first: Some(first) } = keys {
            let message = format_args!(
                "{count} private keys are not at their recorded paths, such as {}: \
                 their certificates can be renewed or rekeyed, but not exported",
                first.display()
            );
            self.found.note(DoctorCode::KeyMissing.name(), &message);
        }
        for (role, count) in outdated {
            let message =
                format_args!("{count} valid {role} certificates were issued under a different profile");
            self.found.note(DoctorCode::ProfileChanged.name(), &message);
        }
        Ok(names)
    }
}

/// Check of all records, shared by all cores.
#[derive(Clone, Copy)]
struct RecordCheck<'a> {
    bundle: Option<&'a TrustBundle>,
    issued: &'a IssuedFiles,
    profiles: &'a ProfileSet,
    now: OffsetDateTime,
    extent: Extent,
    location: &'a Path,
    compromised: &'a HashSet<[u8; 32]>,
    progress: &'a (dyn Fn(u64) + Sync),
}

/// Result of a part of the records.
#[derive(Default)]
struct CheckedRecords {
    found: Findings,
    /// Valid certificates of another profile than today's.
    outdated: BTreeMap<Role, u64>,
    certificates: MissingFiles,
    keys: MissingFiles,
    valid: u64,
    /// Valid certificates whose signature was checked.
    checked: u64,
    /// Hashes of the names of certificates in `issued/`.
    names: HashSet<u64>,
}

impl CheckedRecords {
    fn append(&mut self, part: Self) {
        self.found.append(part.found);
        for (role, count) in part.outdated {
            *self.outdated.entry(role).or_default() += count;
        }
        self.certificates.append(part.certificates);
        self.keys.append(part.keys);
        self.valid += part.valid;
        self.checked += part.checked;
        self.names.extend(part.names);
    }
}

impl RecordCheck<'_> {
    fn run(&self, inventory: &Inventory, rows: RangeInclusive<u64>) -> Result<CheckedRecords, CaError> {
        let mut checked = CheckedRecords::default();
        let mut unreported = 0;
        inventory.scan(rows, |scanned| {
            let path = self.location.join(&scanned.record.reservation.certificate_path);
            checked.names.extend(self.issued.name_here(&path));
            if scanned.record.status(self.now) == RecordStatus::Valid {
                self.check(&scanned, path, &mut checked)?;
            }
            unreported += 1;
            if unreported == PROGRESS_STEP {
                (self.progress)(std::mem::take(&mut unreported));
            }
            Ok::<_, CaError>(())
        })?;
        (self.progress)(unreported);
        Ok(checked)
    }

    fn check(
        &self,
        scanned: &ScannedRecord<'_>,
        certificate: PathBuf,
        checked: &mut CheckedRecords,
    ) -> Result<(), CaError> {
        let ScannedRecord { record, .. } = scanned;
        let Reservation { role, name, serial_number, .. } = &record.reservation;
        if record.issue.is_some_and(|issue| self.compromised.contains(&issue.public_key.0)) {
            let message = format_args!(
                "{role}/{name} ({serial_number}) is valid, but another certificate with the same key was revoked as compromised"
            );
            checked.found.error(DoctorCode::KeyCompromised.name(), &message);
        }
        let chosen = self.bundle.filter(|_| self.extent.includes(hash(serial_number.to_octets())));
        let intact = match chosen {
            Some(bundle) => {
                checked.checked += 1;
                self.check_chain(bundle, scanned, &mut checked.found)
            }
            None => scanned.check_fingerprint(),
        };
        match intact {
            Ok(()) => {}
            Err(error @ StoreError::Corrupt { .. }) => checked.found.add_error(error.code(), None, &error),
            Err(error) => return Err(error.into()),
        }
        if record.issue.is_some_and(|issue| issue.placed) {
            checked.certificates.check(certificate, self.issued);
            if let Some(key) = &record.reservation.key_path {
                checked.keys.check(self.location.join(key), self.issued);
            }
        }
        if self.profiles.leaf(*role).origin().digest != record.reservation.profile {
            *checked.outdated.entry(*role).or_default() += 1;
        }
        checked.valid += 1;
        Ok(())
    }

    fn check_chain(
        &self,
        bundle: &TrustBundle,
        scanned: &ScannedRecord<'_>,
        found: &mut Findings,
    ) -> Result<(), StoreError> {
        let certificate = scanned.certificate()?;
        // A certificate that is not yet valid is verified at the start of its validity.
        let at = self.now.max(certificate.not_before);
        // All roles have the client purpose; some have the server purpose as well.
        if let Err(error) = bundle.verify(&certificate.der, &[], Purpose::Client, at) {
            let Reservation { role, name, serial_number, .. } = &scanned.record.reservation;
            found.error(error.code(), &format_args!("{role}/{name} ({serial_number}): {error}"));
        }
        Ok(())
    }
}

/// Public keys that were revoked as compromised.
fn compromised_keys(cluster: &Cluster) -> Result<HashSet<[u8; 32]>, CaError> {
    let mut keys = HashSet::new();
    let revoked = Filter { reason: Some(RevocationReason::KeyCompromise), ..Filter::default() };
    cluster.inventory.list(&revoked, cluster.context.now(), |record| {
        keys.extend(record.issue.map(|issue| issue.public_key.0));
        Ok::<_, CaError>(())
    })?;
    Ok(keys)
}
