//! Examination of a whole home.

use super::codes::DoctorCode;
use super::examiner::{Examiner, Findings};
use super::extent::{Extent, Thoroughness};
use super::finding::Examination;
use super::issued_files::IssuedFiles;
use crate::ca::cluster::{Cluster, open_reader};
use crate::ca::context::Context;
use crate::ca::error::CaError;
use crate::ca::home::directory::Home;
use crate::clock::rfc3339;
use crate::error::Coded;
use crate::files;
use crate::profile::ProfileSet;
use crate::x509::trust::TrustBundle;

/// Examine the home as of the context's time. Call `progress` with the number of records and audit entries checked
/// since the last call; [`examination_size`] is their sum.
///
/// # Errors
/// [`CaError::HomeMissing`] if there is no cluster. All other problems are findings.
pub fn examine(
    home: &Home,
    profiles: &ProfileSet,
    context: &Context,
    thoroughness: Thoroughness,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Examination, CaError> {
    if !home.database().is_file() {
        return Err(home.without_inventory());
    }
    let opened =
        open_reader(home, context).and_then(|inventory| Cluster::with_inventory(home, context, inventory));
    // Counts may be wrong in a damaged inventory, which is found below.
    let rows = opened.as_ref().map_or(0, |cluster| cluster.inventory.last_row().unwrap_or_default());
    let extent = Extent::of(thoroughness, rows, context.entropy.as_ref())?;
    let mut examiner = Examiner {
        home,
        profiles,
        now: context.now(),
        extent,
        progress,
        found: Findings::default(),
        certificates: 0,
    };
    examiner.check_modes();
    match opened {
        Ok(cluster) => {
            if let Err(error) = examiner.check_inventory(&cluster) {
                examiner.found.add_error(error.code(), None, &error);
            }
        }
        Err(error) => examiner.found.add_error(error.code(), None, &error),
    }
    Ok(examiner.conclude())
}

/// Number of records and audit entries that an examination checks.
#[must_use]
pub fn examination_size(home: &Home, context: &Context) -> u64 {
    let size = |cluster: &Cluster| {
        let inventory = &cluster.inventory;
        Ok::<_, CaError>(inventory.last_row()?.saturating_add(inventory.audit_head()?.seq))
    };
    // A home that cannot be opened is examined quickly.
    Cluster::open(home, context).and_then(|cluster| size(&cluster)).unwrap_or_default()
}

impl Examiner<'_> {
    /// Run the checks that need the inventory. An error means that the inventory cannot be read.
    fn check_inventory(&mut self, cluster: &Cluster) -> Result<(), CaError> {
        self.check_clock(cluster)?;
        self.check_root_key(cluster);
        let bundle = self.check_bundle(cluster);
        if let Some(bundle) = &bundle {
            self.check_crl_file(cluster, bundle)?;
        }
        self.check_unfinished(cluster)?;
        let issued = IssuedFiles::list(&self.home.issued()).unwrap_or_else(|error| {
            self.found.add_error(error.code(), None, &error);
            IssuedFiles::default()
        });
        let recorded = self.check_records(cluster, bundle.as_ref(), &issued)?;
        self.check_issued(cluster, &issued, &recorded)?;
        let authentic = cluster.check_authenticity();
        if let Err(error) = authentic.and_then(|mut evidence| cluster.check_revocations(&mut evidence)) {
            self.found.add_error(error.code(), None, &error);
        }
        cluster.inventory.check_against_audit_with(self.progress)?;
        Ok(())
    }

    /// With a clock behind the newest audit entry, new certificates and CRLs would be dated before existing
    /// ones.
    fn check_clock(&mut self, cluster: &Cluster) -> Result<(), CaError> {
        if let Some(newest) = cluster.newest_record()?.filter(|newest| *newest > self.now) {
            let (now, newest) = (rfc3339(self.now), rfc3339(newest));
            self.found.error(
                DoctorCode::ClockBehind.name(),
                &format_args!("the clock shows {now}, but the newest audit entry is dated {newest}"),
            );
        }
        Ok(())
    }

    fn check_root_key(&mut self, cluster: &Cluster) {
        let Err(error) = cluster.root_key() else { return };
        match error.code() {
            "key.passphrase_needed" | "pkcs11.pin_needed" => {
                self.found.note(
                    DoctorCode::KeyNotOpened.name(),
                    &format_args!("the root key was not checked: {error}"),
                );
            }
            // Reported by the check of its mode.
            "file.exposed" => {}
            // The message already contains the path.
            "home.key_mismatch" | "home.held_key_mismatch" => {
                self.found.add_error(error.code(), None, &error)
            }
            code => {
                let file = self.home.key();
                self.found.add_error(code, files::occupied(&file).then_some(file.as_path()), &error);
            }
        }
    }

    fn check_bundle(&mut self, cluster: &Cluster) -> Option<TrustBundle> {
        let bundle = match cluster.trust_bundle(self.now) {
            Ok(bundle) => bundle,
            Err(error) => {
                self.found.add_error(error.code(), Some(&self.home.certificate()), &error);
                return None;
            }
        };
        if bundle.anchors().iter().all(|anchor| anchor.certificate != cluster.root) {
            let path = self.home.certificate();
            self.found.error(
                DoctorCode::BundleLacksRoot.name(),
                &format_args!("{} does not contain the active root", path.display()),
            );
        }
        Some(bundle)
    }
}
