//! Checks of the inventory against the trust bundle, the CRL and the profiles.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use time::Duration;

use super::examiner::Examiner;
use super::finding::{Repair, Severity};
use crate::ca::cluster::Cluster;
use crate::ca::error::CaError;
use crate::ca::revocation::crl::GRACE;
use crate::clock::rfc3339;
use crate::error::Coded;
use crate::files;
use crate::identity::Role;
use crate::revocation::{Crl, CrlError, RevocationReason, RevocationSet};
use crate::store::{Filter, IssuerRecord, Record, RecordStatus, Reservation, StoreError};
use crate::x509::trust::{Purpose, TrustBundle};

/// A CRL is reported this long before it expires.
const CRL_WARNING: Duration = Duration::days(30);

/// Recorded files that do not exist, with an example.
#[derive(Default)]
struct MissingFiles {
    count: u64,
    first: Option<PathBuf>,
}

impl MissingFiles {
    fn check(&mut self, path: PathBuf) {
        if !path.exists() {
            self.count += 1;
            self.first.get_or_insert(path);
        }
    }
}

impl Examiner<'_> {
    /// Checks the CRL file: valid, current, and consistent with the inventory.
    pub(super) fn check_crl_file(&mut self, cluster: &Cluster, bundle: &TrustBundle) -> Result<(), CaError> {
        let read = files::read(&self.home.crl(), files::CRL_FILE)
            .map_err(CaError::from)
            .and_then(|bytes| Ok(RevocationSet::from_pem(&bytes, bundle, self.now)?));
        let crls = match read {
            Ok(crls) => crls,
            Err(error) => {
                let file = self.home.crl();
                // Only a regular file is replaced: anything else was put there on purpose. The CRL of another root is
                // not ours to sign.
                let of_other_root = matches!(&error, CaError::Crl(CrlError::MissingForIssuer { issuer, .. }) if *issuer != cluster.issuer);
                let replaceable = file.is_file() || !files::occupied(&file);
                let repair = (replaceable && !of_other_root).then_some(Repair::PublishCrl);
                self.add_repairable_error(error.code(), Some(&file), &error, repair);
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
            self.error("revocation.crl_expired", &format_args!("CRL {number} expired at {end}"));
        } else if crl.is_expired_at(self.now.saturating_add(CRL_WARNING)) {
            self.warn("doctor.crl_ends_soon", &format_args!("CRL {number} expires at {end}"));
        }
        if issuer.owes_crl() {
            let message = "a CRL was reserved but not published: cluster.crl may be older than the inventory";
            self.add(Severity::Error, "doctor.crl_owed", &message, Some(Repair::Recover));
        } else if issuer.crl.is_some_and(|recorded| recorded.sha256 != crl.sha256) {
            let recorded = issuer.crl.map(|recorded| recorded.number).unwrap_or_default();
            let message = format_args!("cluster.crl is CRL {number}, not CRL {recorded} as recorded");
            self.error("doctor.crl_differs", &message);
        }
        let mut missing = 0_u64;
        cluster.inventory.revoked(&issuer.key_id, crl.this_update.min(self.now) - GRACE, |revoked| {
            missing += u64::from(!crl.contains(&revoked.serial_number));
            Ok::<_, StoreError>(())
        })?;
        if missing > 0 {
            let message =
                format_args!("{missing} revoked certificates are not in cluster.crl (CRL {number})");
            self.error("doctor.crl_incomplete", &message);
        }
        Ok(())
    }

    /// Checks every valid certificate: its chain, its files, its profile.
    pub(super) fn check_records(
        &mut self,
        cluster: &Cluster,
        bundle: Option<&TrustBundle>,
    ) -> Result<(), CaError> {
        let mut outdated: BTreeMap<Role, u64> = BTreeMap::new();
        let (mut certificates, mut keys) = (MissingFiles::default(), MissingFiles::default());
        let compromised = compromised_keys(cluster)?;
        let valid = Filter { status: Some(RecordStatus::Valid), ..Filter::default() };
        cluster.inventory.list(&valid, self.now, |record| {
            if record.issue.is_some_and(|issue| compromised.contains(&issue.public_key.0)) {
                let Reservation { role, name, serial_number, .. } = &record.reservation;
                let message = format_args!(
                    "{role}/{name} ({serial_number}) is valid, but another certificate with the same key was revoked as compromised"
                );
                self.error("doctor.key_compromised", &message);
            }
            if let Some(bundle) = bundle {
                self.check_chain(cluster, bundle, &record)?;
            }
            let reservation = &record.reservation;
            if record.issue.is_some_and(|issue| issue.placed) {
                certificates.check(cluster.locate(&reservation.certificate_path));
                reservation.key_path.iter().for_each(|path| keys.check(cluster.locate(path)));
            }
            if self.profiles.leaf(reservation.role).origin().digest != reservation.profile {
                *outdated.entry(reservation.role).or_default() += 1;
            }
            self.examination.certificates += 1;
            (self.progress)(1);
            Ok::<_, CaError>(())
        })?;
        let expired = cluster.due_for_renewal(self.now, None)?;
        if let Some(first) = expired.first() {
            let message = format_args!(
                "{} certificates have expired and were not renewed, such as {}/{} ({})",
                expired.len(),
                first.reservation.role,
                first.reservation.name,
                first.reservation.serial_number
            );
            self.warn("doctor.expired", &message);
        }
        if let MissingFiles { count, first: Some(first) } = certificates {
            // Usually they were delivered and removed.
            let message = format_args!(
                "{count} valid certificates are not at their recorded paths, such as {}",
                first.display()
            );
            self.note("doctor.file_missing", &message);
        }
        if let MissingFiles { count, first: Some(first) } = keys {
            let message = format_args!(
                "{count} private keys are not at their recorded paths, such as {}: \
                 their certificates can be renewed or rekeyed, but not exported",
                first.display()
            );
            self.note("doctor.key_missing", &message);
        }
        for (role, count) in outdated {
            let message =
                format_args!("{count} valid {role} certificates were issued under a different profile");
            self.note("doctor.profile_changed", &message);
        }
        Ok(())
    }

    fn check_chain(
        &mut self,
        cluster: &Cluster,
        bundle: &TrustBundle,
        record: &Record,
    ) -> Result<(), CaError> {
        let reservation = &record.reservation;
        let certificate = match cluster.inventory.certificate(&record.issuer, reservation.serial_number) {
            Ok(certificate) => certificate,
            Err(error @ StoreError::Corrupt { .. }) => {
                self.add_error(error.code(), None, &error);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        // A certificate that is not yet valid is verified at the start of its validity.
        let at = self.now.max(certificate.not_before);
        // All roles have the client purpose; some have the server purpose as well.
        if let Err(error) = bundle.verify(&certificate.der, &[], Purpose::Client, at) {
            let message = format_args!(
                "{}/{} ({}): {error}",
                reservation.role, reservation.name, reservation.serial_number
            );
            self.error(error.code(), &message);
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
