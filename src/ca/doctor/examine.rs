//! Examination of a whole home.

use super::finding::Examination;
use super::round::Round;
use crate::ca::cluster::Cluster;
use crate::ca::context::Context;
use crate::ca::error::CaError;
use crate::ca::home::directory::Home;
use crate::clock::rfc3339;
use crate::files;
use crate::profile::ProfileSet;
use crate::store::Inventory;
use crate::x509::trust::TrustBundle;

/// Looks over the whole home as of the context's time; `progress` is told how many more certificates
/// were checked.
///
/// # Errors
/// [`CaError::HomeMissing`] where there is no cluster. Everything else is a finding.
pub fn examine(
    home: &Home,
    profiles: &ProfileSet,
    context: &Context,
    progress: &dyn Fn(u64),
) -> Result<Examination, CaError> {
    if !home.database().is_file() {
        return Err(home.without_inventory());
    }
    let mut round = Round { home, profiles, now: context.now(), progress, found: Examination::default() };
    round.look_at_modes();
    let opened = Inventory::open_reader(&home.database())
        .map_err(CaError::from)
        .and_then(|inventory| Cluster::over(home, context, inventory));
    match opened {
        Ok(cluster) => {
            if let Err(error) = round.look_at(&cluster) {
                round.fault(error.code(), None, &error);
            }
        }
        Err(error) => round.fault(error.code(), None, &error),
    }
    round.found.findings.sort_by_key(|finding| finding.severity);
    Ok(round.found)
}

impl Round<'_> {
    /// Everything that needs the inventory. An error ends the look: the inventory cannot be read.
    fn look_at(&mut self, cluster: &Cluster) -> Result<(), CaError> {
        self.look_at_clock(cluster)?;
        self.look_at_key(cluster);
        let bundle = self.look_at_bundle(cluster);
        if let Some(bundle) = &bundle {
            self.look_at_crl(cluster, bundle)?;
        }
        self.look_at_unfinished(cluster)?;
        self.look_at_issued(cluster)?;
        self.look_at_records(cluster, bundle.as_ref())?;
        cluster.inventory.check_against_audit()?;
        Ok(())
    }

    /// Certificates, lists and audit entries made now would be dated before those that are there.
    fn look_at_clock(&mut self, cluster: &Cluster) -> Result<(), CaError> {
        let head = cluster.inventory.audit_head()?;
        let newest = cluster.inventory.audit_entry(head.seq)?.map(|entry| entry.event.provenance.at);
        if let Some(newest) = newest.filter(|newest| *newest > self.now) {
            let (now, newest) = (rfc3339(self.now), rfc3339(newest));
            self.error(
                "doctor.clock_behind",
                &format_args!("it is {now} by this clock, but the newest audit entry was made at {newest}"),
            );
        }
        Ok(())
    }

    fn look_at_key(&mut self, cluster: &Cluster) {
        let Err(error) = cluster.root_key() else { return };
        match error.code() {
            "key.passphrase_needed" | "pkcs11.pin_needed" => {
                self.note("doctor.key_not_opened", &format_args!("the root's key was not checked: {error}"));
            }
            // Its mode was looked at before.
            "file.exposed" => {}
            // It names what it is about.
            "home.key_mismatch" | "home.held_key_mismatch" => self.fault(error.code(), None, &error),
            code => {
                let file = self.home.key();
                self.fault(code, files::occupied(&file).then_some(file.as_path()), &error);
            }
        }
    }

    fn look_at_bundle(&mut self, cluster: &Cluster) -> Option<TrustBundle> {
        let bundle = match cluster.trust_bundle(self.now) {
            Ok(bundle) => bundle,
            Err(error) => {
                self.fault(error.code(), Some(&self.home.certificate()), &error);
                return None;
            }
        };
        if bundle.anchors().iter().all(|anchor| anchor.certificate != cluster.root) {
            let path = self.home.certificate();
            self.error(
                "doctor.bundle_lacks_root",
                &format_args!("{} does not contain the root that signs", path.display()),
            );
        }
        Some(bundle)
    }
}
