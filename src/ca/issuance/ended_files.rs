//! Files of an identity whose every certificate is revoked or expired. A new certificate takes their place.

use std::fs;
use std::path::{Path, PathBuf};

use crate::ca::cluster::Cluster;
use crate::ca::error::CaError;
use crate::ca::home::recorded_files::{holds_certificate, holds_key_of};
use crate::files::{self, FileError};
use crate::identity::{Name, Role};
use crate::keys::{KeyFile, Protection};
use crate::store::RecordStatus;

/// Directory beside the new files.
const DIRECTORY: &str = "superseded";

/// Files of an ended certificate, each with the path that it is moved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ca) struct EndedFiles {
    pub(in crate::ca) certificate: (PathBuf, PathBuf),
    key: Option<(PathBuf, PathBuf)>,
}

impl EndedFiles {
    /// Find an ended certificate of the identity at `certificate`, where a file is, with its key at `key`.
    ///
    /// `None` if it is another file, or if the identity has a certificate that is valid or on hold.
    /// The key must belong to the certificate, as far as its protection permits a check.
    pub(in crate::ca) fn find(
        cluster: &Cluster,
        role: Role,
        name: &Name,
        certificate: &Path,
        key: &Path,
    ) -> Result<Option<Self>, CaError> {
        let now = cluster.context.now();
        let mut issued = cluster.inventory.find_identity(role, name)?;
        issued.retain(|record| record.issue.is_some());
        if issued.iter().any(|record| record.status(now) == RecordStatus::Valid || record.is_on_hold()) {
            return Ok(None);
        }
        for record in issued {
            let serial_number = record.reservation.serial_number;
            let old = cluster.inventory.certificate(&record.issuer, serial_number)?;
            if !holds_certificate(certificate, &old)? {
                continue;
            }
            let target = |path: &Path| {
                let name = path.with_extension("").file_name().unwrap_or_default().to_owned();
                let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
                let name = format!("{}.{serial_number}.{extension}", name.to_string_lossy());
                (path.to_owned(), files::parent(path).join(DIRECTORY).join(name))
            };
            let is_its_key = match files::occupied(key) {
                false => false,
                true if is_protected(key) || holds_key_of(key, &old)? => true,
                true => return Ok(None),
            };
            let key = is_its_key.then(|| target(key));
            return Ok(Some(Self { certificate: target(certificate), key }));
        }
        Ok(None)
    }

    /// Move the files. A crash in between leaves them in either place, and neither is in use.
    pub(in crate::ca) fn move_away(&self) -> Result<(), FileError> {
        let (from, to) = &self.certificate;
        files::make_private_directory(files::parent(to))?;
        // The certificate goes last: without it, the key would not be found again.
        for (from, to) in self.key.iter().chain([&self.certificate]) {
            if files::occupied(to) {
                return Err(FileError::Exists { path: to.clone() });
            }
            fs::rename(from, to).map_err(|source| FileError::Io {
                doing: "move",
                path: from.clone(),
                source,
            })?;
        }
        files::sync_directory(files::parent(to))?;
        files::sync_directory(files::parent(from))
    }
}

/// True for a key behind a passphrase or a service, which is not opened for a comparison.
fn is_protected(key: &Path) -> bool {
    KeyFile::read(key).is_ok_and(|key| key.protection() != Protection::None)
}
