//! After a crash: what an earlier process left half done is finished or closed, and said.
//!
//! The order in which things are made durable decides what can be found. A reserved serial number
//! without a certificate was never given to anybody: its files are removed. A certificate that is
//! recorded was made whole: its files get their names. A revocation list that is owed is written.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::files::{self, FileError, Placement, Staged};
use crate::identity::{Name, Role};
use crate::keys::PrivateKey;
use crate::store::Record;
use crate::x509::{Certificate, SerialNumber, pem};

use super::{Authority, CaError};

/// One thing that an earlier process left, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recovered {
    /// A serial number was set aside and no certificate recorded under it.
    Abandoned {
        /// Whose certificate it should have been.
        role: Role,
        /// Whose certificate it should have been.
        name: Name,
        /// The serial number; it is never used again.
        serial_number: SerialNumber,
    },
    /// A certificate's files cannot get their names because something is there.
    Blocked {
        /// Its serial number.
        serial_number: SerialNumber,
        /// What is in the way.
        path: PathBuf,
    },
    /// The revocation list was behind the inventory and was written again.
    CrlPublished {
        /// Its number.
        number: u64,
    },
    /// A recorded certificate's files are not where they were to be.
    Lost {
        /// Its serial number.
        serial_number: SerialNumber,
        /// What is missing.
        path: PathBuf,
    },
    /// A recorded certificate's files got their names.
    Placed {
        /// Whose certificate it is.
        role: Role,
        /// Whose certificate it is.
        name: Name,
        /// Its serial number.
        serial_number: SerialNumber,
        /// Its file.
        certificate: PathBuf,
    },
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abandoned { role, name, serial_number } => write!(
                f,
                "an earlier run ended before {role}/{name} was signed; serial number {serial_number} stays reserved and unused"
            ),
            Self::Blocked { serial_number, path } => write!(
                f,
                "an earlier run could not place the files of certificate {serial_number}: {} is in the way; move it and run any issuing command",
                path.display()
            ),
            Self::CrlPublished { number } => write!(
                f,
                "an earlier run ended before its revocation list was written; CRL {number} is in its place now"
            ),
            Self::Lost { serial_number, path } => write!(
                f,
                "an earlier run recorded certificate {serial_number}, but {} is not there; if you have not moved it, revoke the certificate",
                path.display()
            ),
            Self::Placed { role, name, serial_number, certificate } => write!(
                f,
                "an earlier run ended before the files of {role}/{name} had their names; they are in place now: {} (serial {serial_number})",
                certificate.display()
            ),
        }
    }
}

/// What became of one file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Blocked,
    Lost,
    Placed,
    WasThere,
}

impl Authority {
    /// Looks after everything that is open; called once, when the home is opened for writing.
    pub(super) fn recover(&mut self) -> Result<Vec<Recovered>, CaError> {
        let mut found = Vec::new();
        for record in self.cluster.inventory.reserved()? {
            found.push(self.abandon(&record)?);
        }
        for record in self.cluster.inventory.unplaced()? {
            found.extend(self.place_again(&record)?);
        }
        if self.cluster.inventory.active_issuer()?.owes_crl() {
            let provenance =
                self.cluster.context.provenance(Some("the list was owed by a run that ended early"));
            let (transaction, number) =
                self.cluster.inventory.begin(&provenance)?.reserve_crl_number(&self.cluster.issuer)?;
            transaction.commit()?;
            self.publish_crl(number, &provenance)?;
            found.push(Recovered::CrlPublished { number });
        }
        Ok(found)
    }

    fn abandon(&mut self, record: &Record) -> Result<Recovered, CaError> {
        let intent = &record.intent;
        let tag = intent.serial_number.to_string();
        for path in intent.key_path.iter().chain([&intent.certificate_path]) {
            // Dropping what was staged removes it: a key that nobody certified has no use.
            drop(Staged::adopt(path, &tag));
        }
        self.settle(record, "reserved and never signed")?;
        Ok(Recovered::Abandoned {
            role: intent.role,
            name: intent.name.clone(),
            serial_number: intent.serial_number,
        })
    }

    fn place_again(&mut self, record: &Record) -> Result<Option<Recovered>, CaError> {
        let intent = &record.intent;
        let certificate = self.cluster.inventory.certificate(&record.issuer, intent.serial_number)?;
        let tag = intent.serial_number.to_string();
        let mut fates = Vec::new();
        if let Some(path) = &intent.key_path {
            fates.push((path, place_file(path, &tag, |path| is_key_of(path, &certificate))?));
        }
        let path = &intent.certificate_path;
        fates.push((path, place_file(path, &tag, |path| holds(path, &certificate))?));

        let serial_number = intent.serial_number;
        let with =
            |fate: Fate| fates.iter().find(|(_, found)| *found == fate).map(|(path, _)| (*path).clone());
        if let Some(path) = with(Fate::Blocked) {
            // Not settled: it is looked after again when the way is free.
            return Ok(Some(Recovered::Blocked { serial_number, path }));
        }
        if let Some(path) = with(Fate::Lost) {
            self.settle(record, "issued, a file was not found")?;
            return Ok(Some(Recovered::Lost { serial_number, path }));
        }
        let moved = with(Fate::Placed).is_some();
        if moved {
            files::sync_directory(files::parent(path))?;
        }
        self.settle(record, "issued, its files are in their places")?;
        Ok(moved.then(|| Recovered::Placed {
            role: intent.role,
            name: intent.name.clone(),
            serial_number,
            certificate: intent.certificate_path.clone(),
        }))
    }

    fn settle(&mut self, record: &Record, found: &str) -> Result<(), CaError> {
        let provenance = self.cluster.context.provenance(None);
        let transaction = self.cluster.inventory.begin(&provenance)?;
        transaction.settle(&record.issuer, record.intent.serial_number, found)?.commit()?;
        Ok(())
    }
}

fn place_file(path: &Path, tag: &str, is_ours: impl Fn(&Path) -> bool) -> Result<Fate, FileError> {
    match Staged::adopt(path, tag) {
        Some(staged) if files::occupied(path) => {
            staged.leave();
            Ok(Fate::Blocked)
        }
        Some(staged) => staged.place(Placement::New).map(|()| Fate::Placed),
        None if is_ours(path) => Ok(Fate::WasThere),
        None => Ok(Fate::Lost),
    }
}

fn holds(path: &Path, certificate: &Certificate) -> bool {
    files::read(path, files::SMALL_FILE)
        .ok()
        .and_then(|bytes| pem::certificates(&bytes).ok())
        .is_some_and(|found| found.first() == Some(certificate))
}

fn is_key_of(path: &Path, certificate: &Certificate) -> bool {
    PrivateKey::open(path).is_ok_and(|key| key.public_key_info() == certificate.public_key_info)
}
