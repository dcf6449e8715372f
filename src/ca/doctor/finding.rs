//! Findings of an examination and their repairs.

use std::path::PathBuf;

use serde::Serialize;

use crate::ca::home::recovery_outcome::RecoveryOutcome;

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
    pub(super) repair: Option<Repair>,
}

impl Finding {
    /// Whether [`repair`] can do something about it.
    #[must_use]
    pub fn is_repairable(&self) -> bool {
        self.repair.is_some()
    }
}

/// A repair that can lose nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Repair {
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
    pub recovered: Vec<RecoveryOutcome>,
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
        self.findings.push(Finding { severity, code, message, repair: None });
        self.findings.sort_by_key(|finding| finding.severity);
    }
}
