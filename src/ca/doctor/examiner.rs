//! State of an examination, and its findings so far.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use time::OffsetDateTime;

use super::extent::Extent;
use super::finding::{Examination, Finding, Repair, Severity};
use crate::ca::home::directory::Home;
use crate::error::{Coded, causes};
use crate::files::{self, FileError};
use crate::profile::ProfileSet;

/// A running examination.
pub(super) struct Examiner<'a> {
    pub(super) home: &'a Home,
    pub(super) profiles: &'a ProfileSet,
    pub(super) now: OffsetDateTime,
    pub(super) extent: Extent,
    pub(super) progress: &'a (dyn Fn(u64) + Sync),
    pub(super) found: Findings,
    /// Number of valid certificates.
    pub(super) certificates: u64,
}

impl Examiner<'_> {
    /// The findings, the most severe first.
    pub(super) fn conclude(self) -> Examination {
        let mut findings = self.found.0;
        findings.sort_by_key(|finding| finding.severity);
        Examination { findings, certificates: self.certificates, ..Examination::default() }
    }
}

/// Findings so far.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    /// Append the findings of a part of the work.
    pub(super) fn append(&mut self, part: Self) {
        self.0.extend(part.0);
    }

    /// Orders findings about files, which a directory lists in no order.
    pub(super) fn sorted(mut self) -> Self {
        self.0.sort_by(|one, other| one.message.cmp(&other.message));
        self
    }

    /// Report a file that is more accessible than `allowed` or belongs to another user. Symbolic links are
    /// not followed, since their targets may belong to others.
    pub(super) fn check_mode(&mut self, path: &Path, allowed: u32, code: &'static str) {
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(source) => {
                let error = FileError::Io { doing: "open", path: path.to_owned(), source };
                return self.error(error.code(), &format_args!("{} cannot be examined", path.display()));
            }
        };
        let mode = metadata.mode() & 0o7777;
        if mode & !allowed != 0 && !metadata.is_symlink() {
            let repair = Repair::RestrictMode(path.to_owned(), mode & allowed);
            let what = if code == "file.exposed" {
                "accessible to other users"
            } else {
                "open to changes by others"
            };
            let message = format_args!("{} is {what} (mode {mode:04o})", path.display());
            self.add(Severity::Error, code, &message, Some(repair));
        }
        if !files::owned_by_user_or_root(&metadata) {
            let owner = metadata.uid();
            self.error("file.foreign_owner", &FileError::ForeignOwner { path: path.to_owned(), owner });
        }
    }

    /// Add an error with its causes and the affected path.
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
        self.0.push(Finding { severity, code, message: message.to_string(), repair });
    }
}
