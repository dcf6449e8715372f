//! Checks of the home's directories: permissions, temporary files, and files without a record.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::examiner::Examiner;
use super::finding::{Repair, Severity};
use crate::ca::backup::staging::is_in_use;
use crate::ca::cluster::Cluster;
use crate::ca::error::CaError;
use crate::error::Coded;
use crate::files::{self, DirectoryLock, FileError};
use crate::keys::{KeyFile, PrivateKey};
use crate::x509::{Certificate, SerialNumber, Sha256, pem};

/// Suffix of temporary files.
const TEMPORARY: &str = ".tmp";

impl Examiner<'_> {
    /// Checks owner and permissions of the home's files.
    pub(super) fn check_modes(&mut self) {
        self.check_mode(self.home.directory(), 0o700, "file.exposed");
        if let Err(error) = files::check_path(self.home.directory()) {
            self.add_error(error.code(), None, &error);
        }
        self.check_mode(&self.home.database(), 0o600, "file.exposed");
        // A root key held by a service has no file, only a configuration.
        if files::occupied(&self.home.key()) || !files::occupied(&self.home.kms()) {
            self.check_mode(&self.home.key(), 0o600, "file.exposed");
        }
        self.check_mode(&self.home.certificate(), 0o644, "doctor.writable");
        // A missing CRL is reported by the check of its contents.
        if files::occupied(&self.home.crl()) {
            self.check_mode(&self.home.crl(), 0o644, "doctor.writable");
        }
        if self.home.issued().is_dir() {
            self.check_mode(&self.home.issued(), 0o700, "file.exposed");
        }
    }

    /// Reports a file that is more accessible than `allowed` or belongs to another user. Symbolic links are
    /// not followed, since their targets may belong to others.
    fn check_mode(&mut self, path: &Path, allowed: u32, code: &'static str) {
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

    /// Reports interrupted work. Skipped while another process runs, whose work would look the same.
    pub(super) fn check_unfinished(&mut self, cluster: &Cluster) -> Result<(), CaError> {
        let clock = &*cluster.context.clock;
        let _lock = match DirectoryLock::acquire(self.home.directory(), Duration::ZERO, clock) {
            Ok(lock) => lock,
            Err(FileError::Locked { .. }) => {
                self.note("doctor.busy", &"another process is running: interrupted work was not checked");
                return Ok(());
            }
            Err(error) => {
                self.add_error(error.code(), None, &error);
                return Ok(());
            }
        };
        let inventory = &cluster.inventory;
        let (reserved, unplaced) = (inventory.reserved()?, inventory.unplaced()?);
        let pending: BTreeSet<SerialNumber> =
            reserved.iter().chain(&unplaced).map(|record| record.reservation.serial_number).collect();
        for (records, code, what) in [
            (&reserved, "doctor.reserved", "was reserved and never signed"),
            (&unplaced, "doctor.unplaced", "was signed, but its files may not have been placed"),
        ] {
            let Some(first) = records.first() else { continue };
            let reservation = &first.reservation;
            let mut message =
                format!("{}/{} ({}) {what}", reservation.role, reservation.name, reservation.serial_number);
            // A full disk may have left thousands.
            if records.len() > 1 {
                message.push_str(&format!(" (and {} more)", records.len() - 1));
            }
            self.add(Severity::Warning, code, &message, Some(Repair::Recover));
        }
        for directory in [self.home.directory().to_owned(), self.home.issued()] {
            for path in self.list(&directory).into_iter().filter(|path| is_temporary(path)) {
                self.check_leftover(cluster, &path, &pending)?;
            }
        }
        Ok(())
    }

    /// Reports a temporary file. It can be removed unless its tag is the serial number of an issued
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
            self.warn("doctor.leftover_of_issued", &message);
        } else {
            let message = format_args!("{} was left by an interrupted process", path.display());
            self.add(
                Severity::Warning,
                "doctor.leftover",
                &message,
                Some(Repair::RemoveFile(path.to_owned())),
            );
        }
        Ok(())
    }

    /// Checks the files in `issued/`: permissions of keys, keys without a certificate, certificates unknown
    /// to the inventory, and mismatched pairs.
    pub(super) fn check_issued(&mut self, cluster: &Cluster) -> Result<(), CaError> {
        for path in self.list(&self.home.issued()) {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("key") => {
                    self.check_mode(&path, 0o600, "file.exposed");
                    if !path.with_extension("crt").exists() {
                        let message = format_args!("{} has no matching certificate file", path.display());
                        self.warn("doctor.key_without_certificate", &message);
                    }
                }
                Some("crt") => self.check_certificate(cluster, &path)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Lists a directory. One that cannot be read is a finding.
    fn list(&mut self, directory: &Path) -> Vec<PathBuf> {
        files::list(directory).unwrap_or_else(|error| {
            self.add_error(error.code(), None, &error);
            Vec::new()
        })
    }

    fn check_certificate(&mut self, cluster: &Cluster, path: &Path) -> Result<(), CaError> {
        let certificate = match read_certificate(path) {
            Ok(certificate) => certificate,
            Err(error) => {
                self.warn(error.code(), &format_args!("{}: {error}", path.display()));
                return Ok(());
            }
        };
        let fingerprint = certificate.fingerprint();
        let records = cluster.inventory.find(certificate.serial_number)?;
        if !records.iter().any(|record| record.issue.is_some_and(|issue| issue.fingerprint == fingerprint)) {
            let message = format_args!("the certificate in {} is not in the inventory", path.display());
            self.error("doctor.unknown_certificate", &message);
        }
        let key_path = path.with_extension("key");
        if key_path.exists() {
            let opened = match KeyFile::read(&key_path) {
                // An envelope names its key; the service that opens it is asked by `kms show --check`.
                Ok(KeyFile::Envelope(envelope)) => Ok(*envelope.key_id()),
                // Without the passphrase, nothing in the file can be compared.
                Ok(KeyFile::Passphrase(_)) => return Ok(()),
                Ok(KeyFile::Plain(_)) => PrivateKey::open(&key_path).map(|key| key.key_id()),
                Err(error) => Err(error),
            };
            match opened {
                Ok(key_id) if key_id == Sha256::of(&certificate.public_key_info) => {}
                Ok(_) => {
                    let message = format_args!("{} is not the key of {}", key_path.display(), path.display());
                    self.error("doctor.pair_mismatch", &message);
                }
                // Reported by the check of its mode.
                Err(error) if error.code() == "file.exposed" => {}
                Err(error) => self.add_error(error.code(), Some(&key_path), &error),
            }
        }
        Ok(())
    }
}

fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') && name.ends_with(TEMPORARY)
}

fn read_certificate(path: &Path) -> Result<Certificate, CaError> {
    let certificates = pem::certificates(&files::read(path, files::SMALL_FILE)?)?;
    certificates.into_iter().next().ok_or(CaError::NothingToVerify)
}
