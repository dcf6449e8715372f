//! After a crash: what an earlier process left half done is finished or closed, and said.
//!
//! The order in which things are made durable decides what can be found. A reserved serial number
//! without a certificate was never given to anybody: its files are removed. A certificate that is
//! recorded was made whole: its files get their names. A revocation list that is owed is written.

use std::path::{Path, PathBuf};

use super::recorded_files;
use super::recovery_outcome::RecoveryOutcome;
use crate::ca::authority::Authority;
use crate::ca::error::CaError;
use crate::ca::issuance::pair::StagedPair;
use crate::files::{self, Placement, Staged};
use crate::store::Record;
use crate::x509::Certificate;

/// What a crash left of one file.
enum StagedFile {
    /// It has its name; what it took the place of may still be there under the temporary name.
    Arrived(Option<Staged>),
    /// Something else has its name.
    Blocked(Staged),
    /// It is not there.
    Lost,
    /// It can have its name.
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

/// Whether a file is what belongs to a certificate.
type MatchesCertificate = fn(&Path, &Certificate) -> bool;

impl Authority {
    /// Looks after everything that is open; called once, when the home is opened for writing.
    pub(in crate::ca) fn recover(&mut self) -> Result<Vec<RecoveryOutcome>, CaError> {
        let mut found = Vec::new();
        for record in self.cluster.inventory.reserved()? {
            found.push(self.abandon(&record)?);
        }
        for record in self.cluster.inventory.unplaced()? {
            found.extend(self.resume_placement(&record)?);
        }
        if let Some(because) = self.stale_crl()? {
            let crl = self.publish_crl(None, Some(&because.to_string()))?;
            found.push(RecoveryOutcome::CrlPublished { number: crl.crl_number, because });
        }
        Ok(found)
    }

    fn abandon(&mut self, record: &Record) -> Result<RecoveryOutcome, CaError> {
        let intent = &record.intent;
        let tag = intent.serial_number.to_string();
        for path in intent.key_path.iter().chain([&intent.certificate_path]) {
            // Dropping what was staged removes it: a key that nobody certified has no use.
            drop(Staged::adopt(&self.cluster.locate(path), &tag));
        }
        self.settle(record, "reserved and never signed")?;
        Ok(RecoveryOutcome::Abandoned {
            role: intent.role,
            name: intent.name.clone(),
            serial_number: intent.serial_number,
        })
    }

    fn resume_placement(&mut self, record: &Record) -> Result<Option<RecoveryOutcome>, CaError> {
        let (intent, inventory) = (&record.intent, &self.cluster.inventory);
        let serial_number = intent.serial_number;
        let new = inventory.certificate(&record.issuer, serial_number)?;
        let old = match &intent.supersedes {
            Some(old) => Some(inventory.certificate(&old.issuer, old.serial_number)?),
            None => None,
        };
        // A certificate that was renewed for the key it has left the key alone.
        let moves_key = old.as_ref().is_none_or(|old| old.public_key_info != new.public_key_info);
        let key = intent.key_path.as_ref().filter(|_| moves_key).map(|path| self.cluster.locate(path));
        let certificate = self.cluster.locate(&intent.certificate_path);

        let tag = serial_number.to_string();
        let found = |path: PathBuf, matches: MatchesCertificate| {
            (staged_file(&path, &tag, &new, old.as_ref(), matches), path)
        };
        let mut pair = Vec::new();
        pair.extend(key.map(|path| found(path, recorded_files::holds_key_of)));
        pair.push(found(certificate, recorded_files::holds_certificate));

        let first = |is: fn(&StagedFile) -> bool| {
            pair.iter().find(|(file, _)| is(file)).map(|(_, path)| path.clone())
        };
        if let Some(path) = first(|file| matches!(file, StagedFile::Blocked(_))) {
            // Not settled: it is looked after again when the way is free.
            pair.into_iter().filter_map(|(file, _)| file.staged()).for_each(Staged::leave);
            return Ok(Some(RecoveryOutcome::Blocked { serial_number, path }));
        }
        if let Some(path) = first(|file| matches!(file, StagedFile::Lost)) {
            // What is left of the pair is of no use without the other; dropped, it is removed.
            drop(pair);
            self.settle(record, "issued, a file was not found")?;
            return Ok(Some(RecoveryOutcome::Lost { serial_number, path }));
        }
        if pair.iter().all(|(file, _)| matches!(file, StagedFile::Arrived(None))) {
            self.settle(record, "issued, its files are in their places")?;
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
        let certificate = self.cluster.locate(&record.intent.certificate_path);
        files::sync_directory(files::parent(&certificate))?;
        self.settle(record, "issued, its files are in their places")?;
        Ok(RecoveryOutcome::Placed {
            role: record.intent.role,
            name: record.intent.name.clone(),
            serial_number: record.intent.serial_number,
            certificate,
        })
    }

    fn settle(&mut self, record: &Record, found: &str) -> Result<(), CaError> {
        let provenance = self.cluster.context.provenance(None);
        let transaction = self.cluster.inventory.begin(&provenance)?;
        transaction.settle(&record.issuer, record.intent.serial_number, found)?.commit()?;
        Ok(())
    }
}

/// What a crash left of the file at `path` that belongs to `new`, where one of `old` may be.
fn staged_file(
    path: &Path,
    tag: &str,
    new: &Certificate,
    old: Option<&Certificate>,
    matches: MatchesCertificate,
) -> StagedFile {
    let staged = Staged::adopt(path, tag);
    if matches(path, new) {
        return StagedFile::Arrived(staged);
    }
    // Its name alone says nothing: what is given out under the name of a certificate is the certificate.
    let is_whole = matches(&Staged::temporary_path(path, tag), new);
    match staged {
        Some(staged) if !is_whole => {
            staged.leave();
            StagedFile::Lost
        }
        Some(staged) if !files::occupied(path) || old.is_some_and(|old| matches(path, old)) => {
            StagedFile::Waiting(staged)
        }
        Some(staged) => StagedFile::Blocked(staged),
        None => StagedFile::Lost,
    }
}
