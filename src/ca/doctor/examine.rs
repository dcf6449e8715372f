//! Examination of a whole home.

use super::examiner::Examiner;
use super::finding::Examination;
use crate::ca::cluster::{Cluster, open_reader};
use crate::ca::context::Context;
use crate::ca::error::CaError;
use crate::ca::home::directory::Home;
use crate::clock::rfc3339;
use crate::error::Coded;
use crate::files;
use crate::profile::ProfileSet;
use crate::x509::trust::TrustBundle;

/// Examines the home as of the context's time. Calls `progress` with the number of certificates checked
/// since the last call.
///
/// # Errors
/// [`CaError::HomeMissing`] if there is no cluster. All other problems are findings.
pub fn examine(
    home: &Home,
    profiles: &ProfileSet,
    context: &Context,
    progress: &dyn Fn(u64),
) -> Result<Examination, CaError> {
    if !home.database().is_file() {
        return Err(home.without_inventory());
    }
    let mut examiner =
        Examiner { home, profiles, now: context.now(), progress, examination: Examination::default() };
    examiner.check_modes();
    let opened =
        open_reader(home, context).and_then(|inventory| Cluster::with_inventory(home, context, inventory));
    match opened {
        Ok(cluster) => {
            if let Err(error) = examiner.check_inventory(&cluster) {
                examiner.add_error(error.code(), None, &error);
            }
        }
        Err(error) => examiner.add_error(error.code(), None, &error),
    }
    examiner.examination.findings.sort_by_key(|finding| finding.severity);
    Ok(examiner.examination)
}

impl Examiner<'_> {
    /// Runs the checks that need the inventory. An error means that the inventory cannot be read.
    fn check_inventory(&mut self, cluster: &Cluster) -> Result<(), CaError> {
        self.check_clock(cluster)?;
        self.check_root_key(cluster);
        let bundle = self.check_bundle(cluster);
        if let Some(bundle) = &bundle {
            self.check_crl_file(cluster, bundle)?;
        }
        self.check_unfinished(cluster)?;
        self.check_issued(cluster)?;
        self.check_records(cluster, bundle.as_ref())?;
        if let Err(error) = cluster.check_authenticity() {
            self.add_error(error.code(), None, &error);
        }
        cluster.inventory.check_against_audit()?;
        Ok(())
    }

    /// With a clock behind the newest audit entry, new certificates and CRLs would be dated before existing
    /// ones.
    fn check_clock(&mut self, cluster: &Cluster) -> Result<(), CaError> {
        if let Some(newest) = cluster.newest_record()?.filter(|newest| *newest > self.now) {
            let (now, newest) = (rfc3339(self.now), rfc3339(newest));
            self.error(
                "doctor.clock_behind",
                &format_args!("the clock shows {now}, but the newest audit entry is dated {newest}"),
            );
        }
        Ok(())
    }

    fn check_root_key(&mut self, cluster: &Cluster) {
        let Err(error) = cluster.root_key() else { return };
        match error.code() {
            "key.passphrase_needed" | "pkcs11.pin_needed" => {
                self.note("doctor.key_not_opened", &format_args!("the root key was not checked: {error}"));
            }
            // Reported by the check of its mode.
            "file.exposed" => {}
            // The message already contains the path.
            "home.key_mismatch" | "home.held_key_mismatch" => self.add_error(error.code(), None, &error),
            code => {
                let file = self.home.key();
                self.add_error(code, files::occupied(&file).then_some(file.as_path()), &error);
            }
        }
    }

    fn check_bundle(&mut self, cluster: &Cluster) -> Option<TrustBundle> {
        let bundle = match cluster.trust_bundle(self.now) {
            Ok(bundle) => bundle,
            Err(error) => {
                self.add_error(error.code(), Some(&self.home.certificate()), &error);
                return None;
            }
        };
        if bundle.anchors().iter().all(|anchor| anchor.certificate != cluster.root) {
            let path = self.home.certificate();
            self.error(
                "doctor.bundle_lacks_root",
                &format_args!("{} does not contain the active root", path.display()),
            );
        }
        Some(bundle)
    }
}
