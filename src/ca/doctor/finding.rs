//! Findings of an examination and their repairs.

use std::path::PathBuf;

use serde::Serialize;

use crate::ca::home::recovery_outcome::RecoveryOutcome;

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Broken or unsafe now.
    Error,
    /// About to fail, or to be checked by the operator.
    Warning,
    /// Information only.
    Note,
}

/// One problem of a home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Urgency of the problem.
    pub severity: Severity,
    /// Stable code.
    pub code: &'static str,
    /// Description of the problem and the affected object.
    pub message: String,
    /// Automatic repair. `None` if the operator has to decide.
    #[serde(skip)]
    pub(super) repair: Option<Repair>,
}

impl Finding {
    /// True if `repair` can resolve it.
    #[must_use]
    pub fn is_repairable(&self) -> bool {
        self.repair.is_some()
    }
}

/// A repair without any loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Repair {
    /// Restrict a file or directory to this mode.
    RestrictMode(PathBuf, u32),
    /// Publish a new CRL from the inventory.
    PublishCrl,
    /// Open the home for writing, which completes interrupted work.
    Recover,
    /// Remove a temporary file that belongs to no certificate.
    RemoveFile(PathBuf),
}

/// Result of an examination.
#[derive(Debug, Default, Serialize)]
pub struct Examination {
    /// Current problems, the most severe first.
    pub findings: Vec<Finding>,
    /// Problems that were repaired.
    pub repaired: Vec<Finding>,
    /// Interrupted work that was completed.
    #[serde(skip)]
    pub recovered: Vec<RecoveryOutcome>,
    /// Number of valid certificates checked.
    pub certificates: u64,
}

impl Examination {
    /// True if there is nothing to repair. Notes do not count.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Note)
    }

    /// Add a finding of another check.
    pub fn add(&mut self, severity: Severity, code: &'static str, message: String) {
        self.findings.push(Finding { severity, code, message, repair: None });
        self.findings.sort_by_key(|finding| finding.severity);
    }
}
