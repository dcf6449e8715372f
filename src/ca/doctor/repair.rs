//! Repair that cannot lose anything.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;

use super::examine::examine;
use super::extent::Thoroughness;
use super::finding::{Examination, Finding, Repair, Severity};
use crate::ca::authority::Authority;
use crate::ca::context::Context;
use crate::ca::error::CaError;
use crate::ca::home::directory::Home;
use crate::ca::home::recovery_outcome::RecoveryOutcome;
use crate::error::Coded;
use crate::files::FileError;
use crate::profile::ProfileSet;

/// Make the repairs that lose nothing, and examine the home again.
///
/// # Errors
/// The errors of [`examine`], and failures to change or remove a file.
pub fn repair(
    home: &Home,
    profiles: &ProfileSet,
    context: &Context,
    thoroughness: Thoroughness,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Examination, CaError> {
    let before = examine(home, profiles, context, thoroughness, progress)?;
    let repairs: Vec<&Repair> =
        before.findings.iter().filter_map(|finding| finding.repair.as_ref()).collect();
    // Permissions come first, since a home accessible to others cannot be opened.
    repairs.iter().try_for_each(|repair| repair.restrict_mode())?;
    let recovered = match repairs.iter().any(|repair| !matches!(repair, Repair::RestrictMode(..))) {
        true => recover_and_clean_up(home, context, &repairs),
        false => Ok(Vec::new()),
    };
    let mut after = examine(home, profiles, context, thoroughness, progress)?;
    match recovered {
        Ok(recovered) => after.recovered = recovered,
        // Most causes are reported as findings already.
        Err(error) if after.findings.iter().any(|finding| finding.code == error.code()) => {}
        Err(error) => after.add(Severity::Error, error.code(), format!("some repairs failed: {error}")),
    }
    let remains = |finding: &Finding| after.findings.contains(finding);
    after.repaired = before.findings.into_iter().filter(|finding| !remains(finding)).collect();
    Ok(after)
}

/// Open the home for writing, which completes interrupted work, and remove leftover files.
fn recover_and_clean_up(
    home: &Home,
    context: &Context,
    repairs: &[&Repair],
) -> Result<Vec<RecoveryOutcome>, CaError> {
    let mut authority = Authority::open(home, context)?;
    if repairs.contains(&&Repair::PublishCrl) {
        authority.ensure_crl()?;
    }
    // After recovery, and under the lock: the remaining files belong to no certificate.
    repairs.iter().try_for_each(|repair| repair.remove_file())?;
    Ok(authority.recovered().to_vec())
}

impl Repair {
    fn restrict_mode(&self) -> Result<(), FileError> {
        let Self::RestrictMode(path, mode) = self else { return Ok(()) };
        fs::set_permissions(path, fs::Permissions::from_mode(*mode)).map_err(|source| FileError::Io {
            doing: "restrict the permissions of",
            path: path.clone(),
            source,
        })
    }

    fn remove_file(&self) -> Result<(), FileError> {
        let Self::RemoveFile(path) = self else { return Ok(()) };
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        match removed {
            // Its owner completed its work in the meantime.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|source| FileError::Io { doing: "remove", path: path.clone(), source }),
        }
    }
}
