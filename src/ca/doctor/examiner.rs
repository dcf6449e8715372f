//! State of an examination, and its findings so far.

use std::fmt;
use std::path::Path;

use time::OffsetDateTime;

use super::finding::{Examination, Finding, Repair, Severity};
use crate::ca::home::directory::Home;
use crate::error::causes;
use crate::profile::ProfileSet;

/// A running examination.
pub(super) struct Examiner<'a> {
    pub(super) home: &'a Home,
    pub(super) profiles: &'a ProfileSet,
    pub(super) now: OffsetDateTime,
    pub(super) progress: &'a dyn Fn(u64),
    pub(super) examination: Examination,
}

impl Examiner<'_> {
    /// Adds an error with its causes and the affected path.
    pub(super) fn add_error(
        &mut self,
        code: &'static str,
        path: Option<&Path>,
        error: &dyn std::error::Error,
    ) {
        self.add_repairable_error(code, path, error, None);
    }

    pub(super) fn add_repairable_error(
        &mut self,
        code: &'static str,
        path: Option<&Path>,
        error: &dyn std::error::Error,
        repair: Option<Repair>,
    ) {
        let mut message = error.to_string();
        if let Some(path_text) = path.map(|path| path.display().to_string())
            && !message.starts_with(&path_text)
        {
            message = format!("{path_text}: {message}");
        }
        for cause in causes(error) {
            message.push_str(&format!(": {cause}"));
        }
        self.add(Severity::Error, code, &message, repair);
    }

    pub(super) fn error(&mut self, code: &'static str, message: &dyn fmt::Display) {
        self.add(Severity::Error, code, message, None);
    }

    pub(super) fn warn(&mut self, code: &'static str, message: &dyn fmt::Display) {
        self.add(Severity::Warning, code, message, None);
    }

    pub(super) fn note(&mut self, code: &'static str, message: &dyn fmt::Display) {
        self.add(Severity::Note, code, message, None);
    }

    pub(super) fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        message: &dyn fmt::Display,
        repair: Option<Repair>,
    ) {
        self.examination.findings.push(Finding { severity, code, message: message.to_string(), repair });
    }
}
