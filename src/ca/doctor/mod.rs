//! The state of a home, looked over as a whole: every file, record and list in it, and whether they
//! agree. Looking changes nothing; [`repair`] does what is safe and looks again.
//!
//! What is wrong with one part does not keep the others from being looked at, so that one run names
//! everything there is to mend. The private key of a certificate that holds is never removed.

mod endpoint;
mod files_in_place;
mod records;

pub use endpoint::examine_served;

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use time::OffsetDateTime;

use crate::clock::rfc3339;
use crate::files::{self, FileError};
use crate::profile::ProfileSet;
use crate::store::Inventory;
use crate::x509::trust::TrustBundle;

use super::{Authority, CaError, Cluster, Context, Home, Recovered};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Broken or unsafe now.
    Error,
    /// About to break, or to be looked at by a person.
    Warning,
    /// Worth knowing; nothing to mend.
    Note,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The stable code of what it is.
    pub code: &'static str,
    /// What is wrong, and with what.
    pub message: String,
    /// How it is mended without asking anybody; none when a person has to decide.
    #[serde(skip)]
    mend: Option<Mend>,
}

impl Finding {
    /// Whether [`repair`] can do something about it.
    #[must_use]
    pub fn is_mendable(&self) -> bool {
        self.mend.is_some()
    }
}

/// A repair that can lose nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mend {
    /// Give a file or directory this mode.
    Close(PathBuf, u32),
    /// Make the revocation list anew: the inventory has all that it says.
    Publish,
    /// Open the home for writing, which finishes what was left half done.
    Recover,
    /// Remove a temporary file that belongs to nothing.
    Sweep(PathBuf),
}

/// What was found in a home.
#[derive(Debug, Default, Serialize)]
pub struct Examination {
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
    /// What was wrong and was repaired.
    pub repaired: Vec<Finding>,
    /// What opening the home for writing finished.
    #[serde(skip)]
    pub recovered: Vec<Recovered>,
    /// How many certificates that hold were checked.
    pub certificates: u64,
}

impl Examination {
    /// Whether there is anything to mend; a note is not.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Note)
    }

    /// Takes in something that was found elsewhere.
    pub fn add(&mut self, severity: Severity, code: &'static str, message: String) {
        self.findings.push(Finding { severity, code, message, mend: None });
        self.findings.sort_by_key(|finding| finding.severity);
    }
}

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

/// Repairs what [`examine`] finds and what can be repaired without losing anything, and looks again.
///
/// # Errors
/// What [`examine`] says, or what keeps a file from being closed or removed.
pub fn repair(
    home: &Home,
    profiles: &ProfileSet,
    context: &Context,
    progress: &dyn Fn(u64),
) -> Result<Examination, CaError> {
    let before = examine(home, profiles, context, progress)?;
    let mends: Vec<&Mend> = before.findings.iter().filter_map(|finding| finding.mend.as_ref()).collect();
    // Modes first: a home that is open to others is not opened.
    mends.iter().try_for_each(|mend| mend.close())?;
    let finished = match mends.iter().any(|mend| !matches!(mend, Mend::Close(..))) {
        true => finish_and_sweep(home, context, &mends),
        false => Ok(Vec::new()),
    };
    let mut after = examine(home, profiles, context, progress)?;
    match finished {
        Ok(recovered) => after.recovered = recovered,
        // Most reasons are findings already.
        Err(error) if after.findings.iter().any(|finding| finding.code == error.code()) => {}
        Err(error) => {
            after.add(Severity::Error, error.code(), format!("not everything was repaired: {error}"))
        }
    }
    let remains = |finding: &Finding| after.findings.contains(finding);
    after.repaired = before.findings.into_iter().filter(|finding| !remains(finding)).collect();
    Ok(after)
}

/// Opens the home for writing, which finishes what was left half done, and removes what then belongs
/// to nothing.
fn finish_and_sweep(home: &Home, context: &Context, mends: &[&Mend]) -> Result<Vec<Recovered>, CaError> {
    let mut authority = Authority::open(home, context)?;
    if mends.contains(&&Mend::Publish) {
        authority.ensure_crl()?;
    }
    // Under the lock, and after everything that has an owner was put in its place.
    mends.iter().try_for_each(|mend| mend.sweep())?;
    Ok(authority.recovered().to_vec())
}

impl Mend {
    fn close(&self) -> Result<(), FileError> {
        let Self::Close(path, mode) = self else { return Ok(()) };
        fs::set_permissions(path, fs::Permissions::from_mode(*mode)).map_err(|source| FileError::Io {
            doing: "close to others",
            path: path.clone(),
            source,
        })
    }

    fn sweep(&self) -> Result<(), FileError> {
        let Self::Sweep(path) = self else { return Ok(()) };
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        match removed {
            // Whoever it belonged to has come back for it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|source| FileError::Io { doing: "remove", path: path.clone(), source }),
        }
    }
}

/// One look at a home, on its way.
struct Round<'a> {
    home: &'a Home,
    profiles: &'a ProfileSet,
    now: OffsetDateTime,
    progress: &'a dyn Fn(u64),
    found: Examination,
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

    /// Takes in an error with its causes, and what it is about.
    fn fault(&mut self, code: &'static str, about: Option<&Path>, error: &dyn std::error::Error) {
        self.mendable_fault(code, about, error, None);
    }

    fn mendable_fault(
        &mut self,
        code: &'static str,
        about: Option<&Path>,
        error: &dyn std::error::Error,
        mend: Option<Mend>,
    ) {
        let mut message = error.to_string();
        if let Some(place) = about.map(|path| path.display().to_string())
            && !message.starts_with(&place)
        {
            message = format!("{place}: {message}");
        }
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(&format!(": {error}"));
            cause = error.source();
        }
        self.find(Severity::Error, code, &message, mend);
    }

    fn error(&mut self, code: &'static str, message: &dyn fmt::Display) {
        self.find(Severity::Error, code, message, None);
    }

    fn warn(&mut self, code: &'static str, message: &dyn fmt::Display) {
        self.find(Severity::Warning, code, message, None);
    }

    fn note(&mut self, code: &'static str, message: &dyn fmt::Display) {
        self.find(Severity::Note, code, message, None);
    }

    fn find(
        &mut self,
        severity: Severity,
        code: &'static str,
        message: &dyn fmt::Display,
        mend: Option<Mend>,
    ) {
        self.found.findings.push(Finding { severity, code, message: message.to_string(), mend });
    }
}
