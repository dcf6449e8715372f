//! Recovery from an interrupted process.
//!
//! The order of durable writes determines what can be found. A reserved serial number without a
//! certificate was never handed out: its files are removed. A recorded certificate is complete: its
//! files are renamed to their final names. A reserved CRL number without a CRL: a new CRL is published.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::recorded_files::{self, MatchesCertificate};
use super::recovery_outcome::RecoveryOutcome;
use crate::ca::authority::Authority;
use crate::ca::error::CaError;
use crate::ca::issuance::pair::StagedPair;
use crate::files::{self, FileError, Placement, Staged};
use crate::revocation::RevocationReason;
use crate::store::Record;
use crate::x509::Certificate;

/// State of one file after a crash.
enum StagedFile {
    /// In place. The file that it replaced may remain under the temporary name.
    Arrived(Option<Staged>),
    /// Staged, but another file has its name.
    Blocked(Staged),
    /// Missing.
    Lost,
    /// Staged and ready to be renamed.
    Waiting(Staged),
}

impl StagedFile {
    fn staged(self) -> Option<Staged> {
        match self {
            Self::Arrived(staged) => staged,
            Self::Blocked(staged) | Self::Waiting(staged) => Some(staged),
            Self::Lost => None,
        }
    }
}

impl Authority {
    /// Complete or undo all pending work. Called once, when the home is opened for writing.
    pub(in crate::ca) fn recover(&mut self) -> Result<Vec<RecoveryOutcome>, CaError> {
        let mut found = Vec::new();
        for record in self.cluster.inventory.reserved()? {
            found.push(self.abandon(&record)?);
        }
        for record in self.cluster.inventory.unplaced()? {
            found.extend(self.resume_placement(&record)?);
        }
        let because = self.republish_reason()?;
        if because.is_some() {
            self.cluster.check_revocations(&mut self.evidence)?;
        }
        found.extend(self.restore_holds()?);
        if let Some(because) = because {
            let crl = self.publish_crl(None, Some(&because.to_string()))?;
            found.push(RecoveryOutcome::CrlPublished { number: crl.crl_number, because });
            found.extend(crl.left_out.into_iter().map(|issuer| RecoveryOutcome::CrlLeftOut { issuer }));
        }
        Ok(found)
    }

    /// Put certificates back on hold whose release an interrupted process recorded, but did not sign. Without the
    /// signature, the release could be the work of another program.
    fn restore_holds(&mut self) -> Result<Vec<RecoveryOutcome>, CaError> {
        let releases = self.evidence.unsigned_releases.as_mut().map(std::mem::take).unwrap_or_default();
        if releases.is_empty() {
            return Ok(Vec::new());
        }
        let provenance = self.cluster.context.provenance(Some("the release was not signed"));
        let mut transaction = self.cluster.inventory.begin(&provenance)?;
        for (serial_number, at) in &releases {
            let hold = RevocationReason::CertificateHold;
            transaction = transaction.adopt_revocation(&self.cluster.issuer, *serial_number, *at, hold)?;
        }
        transaction.commit()?;
        let kept = |(serial_number, _)| RecoveryOutcome::HoldKept { serial_number };
        Ok(releases.into_iter().map(kept).collect())
    }

    fn abandon(&mut self, record: &Record) -> Result<RecoveryOutcome, CaError> {
        let reservation = &record.reservation;
        let tag = reservation.serial_number.to_string();
        for path in reservation.key_path.iter().chain([&reservation.certificate_path]) {
            // Dropping a staged file removes it. A key without a certificate is of no use.
            drop(Staged::adopt(&self.cluster.locate(path), &tag));
        }
        self.settle(record, "reserved, never signed")?;
        Ok(RecoveryOutcome::Abandoned {
            role: reservation.role,
            name: reservation.name.clone(),
            serial_number: reservation.serial_number,
        })
    }

    fn resume_placement(&mut self, record: &Record) -> Result<Option<RecoveryOutcome>, CaError> {
        let (reservation, inventory) = (&record.reservation, &self.cluster.inventory);
        let serial_number = reservation.serial_number;
        let new = inventory.certificate(&record.issuer, serial_number)?;
        let old = match &reservation.supersedes {
            Some(old) => Some(inventory.certificate(&old.issuer, old.serial_number)?),
            None => None,
        };
        // A renewal with the same key did not stage a key file.
        let moves_key = old.as_ref().is_none_or(|old| old.public_key_info != new.public_key_info);
        let key = reservation.key_path.as_ref().filter(|_| moves_key).map(|path| self.cluster.locate(path));
        let certificate = self.cluster.locate(&reservation.certificate_path);

        let tag = serial_number.to_string();
        let read = |path: PathBuf, matches: MatchesCertificate| {
            Ok::<_, FileError>((FileState::read(&path, &tag, &new, old.as_ref(), matches)?, path))
        };
        let mut states = Vec::new();
        states.extend(key.map(|path| read(path, recorded_files::holds_key_of)).transpose()?);
        states.push(read(certificate, recorded_files::holds_certificate)?);
        // Adopted only after both were read: an early return would drop, and thereby remove, an adopted file.
        let pair: Vec<_> = states.into_iter().map(|(state, path)| (state.adopt(&path, &tag), path)).collect();

        let first = |is: fn(&StagedFile) -> bool| {
            pair.iter().find(|(file, _)| is(file)).map(|(_, path)| path.clone())
        };
        if let Some(path) = first(|file| matches!(file, StagedFile::Blocked(_))) {
            // Not settled in the inventory, so that the next command tries again.
            pair.into_iter().filter_map(|(file, _)| file.staged()).for_each(Staged::leave);
            return Ok(Some(RecoveryOutcome::Blocked { serial_number, path }));
        }
        if let Some(path) = first(|file| matches!(file, StagedFile::Lost)) {
            // Half a pair is of no use. Dropping its staged file removes it.
            drop(pair);
            self.settle(record, "issued, file missing")?;
            return Ok(Some(RecoveryOutcome::Lost { serial_number, path }));
        }
        if pair.iter().all(|(file, _)| matches!(file, StagedFile::Arrived(None))) {
            self.settle(record, "issued, files placed")?;
            return Ok(None);
        }
        let placement = if old.is_some() { Placement::Replace } else { Placement::New };
        let mut waiting = pair.into_iter().filter_map(|(file, _)| match file {
            StagedFile::Waiting(staged) => Some(staged),
            StagedFile::Arrived(_) | StagedFile::Blocked(_) | StagedFile::Lost => None,
        });
        match (waiting.next(), waiting.next()) {
            (Some(key), Some(certificate)) => {
                StagedPair { key: Some(key), certificate, placement }.place()?
            }
            (Some(one), None) => one.place(placement)?,
            (None, _) => {}
        }
        drop(waiting);
        self.placed(record).map(Some)
    }

    fn placed(&mut self, record: &Record) -> Result<RecoveryOutcome, CaError> {
        let certificate = self.cluster.locate(&record.reservation.certificate_path);
        files::sync_directory(files::parent(&certificate))?;
        self.settle(record, "issued, files placed")?;
        Ok(RecoveryOutcome::Placed {
            role: record.reservation.role,
            name: record.reservation.name.clone(),
            serial_number: record.reservation.serial_number,
            certificate,
        })
    }

    fn settle(&mut self, record: &Record, found: &str) -> Result<(), CaError> {
        let provenance = self.cluster.context.provenance(None);
        let transaction = self.cluster.inventory.begin(&provenance)?;
        transaction.settle(&record.issuer, record.reservation.serial_number, found)?.commit()?;
        Ok(())
    }
}

/// Contents of a file's final and temporary paths.
struct FileState {
    in_place: bool,
    staged_is_whole: bool,
    /// Nothing is at the final path, or the file to replace.
    is_free: bool,
}

impl FileState {
    /// Read the file at `path`, which belongs to `new` and may still be that of `old`.
    fn read(
        path: &Path,
        tag: &str,
        new: &Certificate,
        old: Option<&Certificate>,
        matches: MatchesCertificate,
    ) -> Result<Self, FileError> {
        // A file at the final path without read access belongs to someone else.
        let at_path = |certificate: &Certificate| match matches(path, certificate) {
            Err(FileError::Io { source, .. }) if source.kind() == ErrorKind::PermissionDenied => Ok(false),
            result => result,
        };
        Ok(Self {
            in_place: at_path(new)?,
            // The temporary name proves nothing: the contents must be those of the certificate.
            staged_is_whole: matches(&Staged::temporary_path(path, tag), new)?,
            is_free: !files::occupied(path) || old.map(at_path).transpose()?.unwrap_or(false),
        })
    }

    fn adopt(self, path: &Path, tag: &str) -> StagedFile {
        match Staged::adopt(path, tag) {
            staged if self.in_place => StagedFile::Arrived(staged),
            None => StagedFile::Lost,
            Some(staged) if !self.staged_is_whole => {
                staged.leave();
                StagedFile::Lost
            }
            Some(staged) if self.is_free => StagedFile::Waiting(staged),
            Some(staged) => StagedFile::Blocked(staged),
        }
    }
}
