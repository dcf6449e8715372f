//! State of an examination.

use std::fmt;
use std::path::Path;

use time::OffsetDateTime;

use super::finding::{Examination, Finding, Mend, Severity};
use crate::ca::home::directory::Home;
use crate::profile::ProfileSet;

/// One look at a home, on its way.
pub(super) struct Round<'a> {
    pub(super) home: &'a Home,
    pub(super) profiles: &'a ProfileSet,
    pub(super) now: OffsetDateTime,
    pub(super) progress: &'a dyn Fn(u64),
    pub(super) found: Examination,
}

impl Round<'_> {
    /// Takes in an error with its causes, and what it is about.
    pub(super) fn fault(&mut self, code: &'static str, about: Option<&Path>, error: &dyn std::error::Error) {
        self.mendable_fault(code, about, error, None);
    }

    pub(super) fn mendable_fault(
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

    pub(super) fn error(&mut self, code: &'static str, message: &dyn fmt::Display) {
        self.find(Severity::Error, code, message, None);
    }

    pub(super) fn warn(&mut self, code: &'static str, message: &dyn fmt::Display) {
        self.find(Severity::Warning, code, message, None);
    }

    pub(super) fn note(&mut self, code: &'static str, message: &dyn fmt::Display) {
        self.find(Severity::Note, code, message, None);
    }

    pub(super) fn find(
        &mut self,
        severity: Severity,
        code: &'static str,
        message: &dyn fmt::Display,
        mend: Option<Mend>,
    ) {
        self.found.findings.push(Finding { severity, code, message: message.to_string(), mend });
    }
}
