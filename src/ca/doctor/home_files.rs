//! Checks of the home's directories: permissions, and temporary files.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use super::codes::DoctorCode;
use super::examiner::Examiner;
use super::finding::{Repair, Severity};
use crate::ca::backup::staging::is_in_use;
use crate::ca::cluster::Cluster;
use crate::ca::error::CaError;
use crate::error::Coded;
use crate::files::{self, DirectoryLock, FileError};
use crate::x509::SerialNumber;

/// Suffix of temporary files.
const TEMPORARY: &str = ".tmp";

impl Examiner<'_> {
    /// Check owner and permissions of the home's files.
    pub(super) fn check_modes(&mut self) {
        self.found.check_mode(self.home.directory(), 0o700, "file.exposed");
        if let Err(error) = files::check_path(self.home.given()) {
            self.found.add_error(error.code(), None, &error);
        }
        self.found.check_mode(&self.home.database(), 0o600, "file.exposed");
        // A root key held by a service has no file, only a configuration.
        if files::occupied(&self.home.key()) || !files::occupied(&self.home.kms()) {
            self.found.check_mode(&self.home.key(), 0o600, "file.exposed");
        }
        for key in [self.home.token_key(), self.home.ldap_key(), self.home.first_password()] {
            if files::occupied(&key) {
                self.found.check_mode(&key, 0o600, "file.exposed");
            }
        }
        for path in [self.home.token_certificate(), self.home.token_statement()] {
            if files::occupied(&path) {
                self.found.check_mode(&path, 0o644, DoctorCode::Writable.name());
            }
        }
        self.found.check_mode(&self.home.certificate(), 0o644, DoctorCode::Writable.name());
        // A missing CRL is reported by the check of its contents.
        if files::occupied(&self.home.crl()) {
            self.found.check_mode(&self.home.crl(), 0o644, DoctorCode::Writable.name());
        }
        if self.home.issued().is_dir() {
            self.found.check_mode(&self.home.issued(), 0o700, "file.exposed");
        }
    }

    /// Reports interrupted work. Skipped while another process runs, whose work would look the same.
    pub(super) fn check_unfinished(&mut self, cluster: &Cluster) -> Result<(), CaError> {
        let clock = &*cluster.context.clock;
        let _lock = match DirectoryLock::acquire(self.home.directory(), Duration::ZERO, clock) {
            Ok(lock) => lock,
            Err(FileError::Locked { .. }) => {
                self.found.note(
                    DoctorCode::Busy.name(),
                    &"another process is running: interrupted work was not checked",
                );
                return Ok(());
            }
            Err(error) => {
                self.found.add_error(error.code(), None, &error);
                return Ok(());
            }
        };
        let inventory = &cluster.inventory;
        let (reserved, unplaced) = (inventory.reserved()?, inventory.unplaced()?);
        let pending: BTreeSet<SerialNumber> =
            reserved.iter().chain(&unplaced).map(|record| record.reservation.serial_number).collect();
        for (records, code, what) in [
            (&reserved, DoctorCode::Reserved.name(), "was reserved and never signed"),
            (&unplaced, DoctorCode::Unplaced.name(), "was signed, but its files may not have been placed"),
        ] {
            let Some(first) = records.first() else { continue };
            let reservation = &first.reservation;
            let mut message =
                format!("{}/{} ({}) {what}", reservation.role, reservation.name, reservation.serial_number);
            // A full disk may have left thousands.
            if records.len() > 1 {
                message.push_str(&format!(" (and {} more)", records.len() - 1));
            }
            self.found.add(Severity::Warning, code, &message, Some(Repair::Recover));
        }
        for directory in [self.home.directory().to_owned(), self.home.issued()] {
            let temporary = files::list_if(&directory, is_temporary).unwrap_or_else(|error| {
                self.found.add_error(error.code(), None, &error);
                Vec::new()
            });
            for path in temporary {
                self.check_leftover(cluster, &path, &pending)?;
            }
        }
        Ok(())
    }

    /// Report a temporary file. It can be removed unless its tag is the serial number of an issued
    /// certificate: it may be the only copy of that certificate's key.
    fn check_leftover(
        &mut self,
        cluster: &Cluster,
        path: &Path,
        pending: &BTreeSet<SerialNumber>,
    ) -> Result<(), CaError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let tag = name.strip_suffix(TEMPORARY).and_then(|name| name.rsplit('.').next()).unwrap_or_default();
        let serial_number: Option<SerialNumber> = tag.parse().ok();
        if serial_number.is_some_and(|serial_number| pending.contains(&serial_number)) {
            // Already reported by its record.
            return Ok(());
        }
        if is_in_use(path) {
            return Ok(());
        }
        let issued = match serial_number {
            Some(serial_number) => {
                cluster.inventory.find(serial_number)?.iter().any(|record| record.issue.is_some())
            }
            None => false,
        };
        if issued {
            let message =
                format_args!("{} belongs to an issued certificate and was never placed", path.display());
            self.found.warn(DoctorCode::LeftoverOfIssued.name(), &message);
        } else {
            let message = format_args!("{} was left by an interrupted process", path.display());
            self.found.add(
                Severity::Warning,
                DoctorCode::Leftover.name(),
                &message,
                Some(Repair::RemoveFile(path.to_owned())),
            );
        }
        Ok(())
    }
}

fn is_temporary(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with('.') && name.ends_with(TEMPORARY)
}
