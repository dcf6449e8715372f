//! Checks of the files in `issued/`: modes of keys, keys without a certificate, certificates unknown to the inventory,
//! and mismatched pairs.
//!
//! Names come from one listing of the directory. Of a large home, only a part of the files is read.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::codes::DoctorCode;
use super::examiner::{Examiner, Findings};
use super::extent::{Extent, hash};
use crate::ca::cluster::Cluster;
use crate::ca::error::CaError;
use crate::error::Coded;
use crate::files::{self, FileError};
use crate::keys::{KeyFile, PrivateKey};
use crate::store::Inventory;
use crate::x509::{Certificate, Sha256, pem};

/// Listing of `issued/`.
#[derive(Debug, Default)]
pub(super) struct IssuedFiles {
    directory: PathBuf,
    /// Names of certificates and keys.
    pairs: Vec<OsString>,
    /// Hashes of all names that lead to a file.
    names: HashSet<u64>,
}

impl IssuedFiles {
    /// List the directory, which may be missing.
    pub(super) fn list(directory: &Path) -> Result<Self, FileError> {
        let mut listed = Self { directory: directory.to_owned(), ..Self::default() };
        let unreadable = |source| FileError::Io { doing: "list", path: directory.to_owned(), source };
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(listed),
            other => other.map_err(unreadable)?,
        };
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name();
            let is_dangling = entry.file_type().is_ok_and(|kind| kind.is_symlink()) && !entry.path().exists();
            if !is_dangling {
                listed.names.insert(hash(name.as_bytes()));
            }
            if has_extension(&name, "crt") || has_extension(&name, "key") {
                listed.pairs.push(name);
            }
        }
        Ok(listed)
    }

    /// True if a file exists. Only a file in another directory is looked for.
    pub(super) fn exists(&self, path: &Path) -> bool {
        match path.file_name() {
            Some(name) if path.parent() == Some(&self.directory) => self.has(name),
            _ => path.exists(),
        }
    }

    /// Hash of the name of a file in this directory.
    pub(super) fn name_here(&self, path: &Path) -> Option<u64> {
        path.file_name().filter(|_| path.parent() == Some(&self.directory)).map(|name| hash(name.as_bytes()))
    }

    fn has(&self, name: &OsStr) -> bool {
        self.names.contains(&hash(name.as_bytes()))
    }
}

impl Examiner<'_> {
    /// Check all pairs in `issued/`. `recorded` has the hashes of the names that the inventory records.
    pub(super) fn check_issued(
        &mut self,
        cluster: &Cluster,
        issued: &IssuedFiles,
        recorded: &HashSet<u64>,
    ) -> Result<(), CaError> {
        let count = u64::try_from(issued.pairs.len()).unwrap_or(u64::MAX);
        let extent = self.extent;
        let check = |inventory: &Inventory, part: RangeInclusive<u64>| {
            let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
            let (before, until) = (index(part.start().saturating_sub(1)), index(*part.end()));
            let mut check = PairCheck { issued, inventory, found: Findings::default() };
            for name in issued.pairs.get(before..until).unwrap_or_default() {
                check.check(name, recorded, extent)?;
            }
            Ok::<_, CaError>(check.found)
        };
        let found = cluster.inventory.on_all_cores(count, check, |_, parts| {
            let mut found = Findings::default();
            parts.into_iter().for_each(|part| found.append(part));
            Ok(found)
        })?;
        self.found.append(found.sorted());
        Ok(())
    }
}

/// Check of certificates and keys, with the findings so far.
struct PairCheck<'a> {
    issued: &'a IssuedFiles,
    inventory: &'a Inventory,
    found: Findings,
}

impl PairCheck<'_> {
    fn check(&mut self, name: &OsStr, recorded: &HashSet<u64>, extent: Extent) -> Result<(), CaError> {
        let path = self.issued.directory.join(name);
        if has_extension(name, "key") {
            self.found.check_mode(&path, 0o600, "file.exposed");
            if !self.issued.exists(&path.with_extension("crt")) {
                let message = format_args!("{} has no matching certificate file", path.display());
                self.found.warn(DoctorCode::KeyWithoutCertificate.name(), &message);
            }
            return Ok(());
        }
        let name = hash(name.as_bytes());
        if extent.includes(name) || !recorded.contains(&name) {
            self.check_certificate(&path)
        } else {
            Ok(())
        }
    }

    fn check_certificate(&mut self, path: &Path) -> Result<(), CaError> {
        let certificate = match read_certificate(path) {
            Ok(certificate) => certificate,
            Err(error) => {
                self.found.warn(error.code(), &format_args!("{}: {error}", path.display()));
                return Ok(());
            }
        };
        let fingerprint = certificate.fingerprint();
        let records = self.inventory.find(certificate.serial_number)?;
        if !records.iter().any(|record| record.issue.is_some_and(|issue| issue.fingerprint == fingerprint)) {
            let message = format_args!("the certificate in {} is not in the inventory", path.display());
            self.found.error(DoctorCode::UnknownCertificate.name(), &message);
        }
        let key_path = path.with_extension("key");
        if !self.issued.exists(&key_path) {
            return Ok(());
        }
        let opened = match KeyFile::read(&key_path) {
            // An envelope names its key; the service that opens it is asked by `kms show --check`.
            Ok(KeyFile::Envelope(envelope)) => Ok(*envelope.key_id()),
            // Without the passphrase, nothing in the file can be compared.
            Ok(KeyFile::Passphrase(_)) => return Ok(()),
            Ok(KeyFile::Plain(pem)) => {
                PrivateKey::from_pem(&pem).map(|key| key.key_id()).map_err(|error| error.in_file(&key_path))
            }
            Err(error) => Err(error),
        };
        match opened {
            Ok(key_id) if key_id == Sha256::of(&certificate.public_key_info) => {}
            Ok(_) => {
                let message = format_args!("{} is not the key of {}", key_path.display(), path.display());
                self.found.error(DoctorCode::PairMismatch.name(), &message);
            }
            // Reported by the check of its mode.
            Err(error) if error.code() == "file.exposed" => {}
            Err(error) => self.found.add_error(error.code(), Some(&key_path), &error),
        }
        Ok(())
    }
}

fn has_extension(name: &OsStr, extension: &str) -> bool {
    Path::new(name).extension() == Some(OsStr::new(extension))
}

fn read_certificate(path: &Path) -> Result<Certificate, CaError> {
    let certificates = pem::certificates(&files::read(path, files::SMALL_FILE)?)?;
    certificates.into_iter().next().ok_or(CaError::NothingToVerify)
}
