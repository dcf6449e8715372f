//! Report of what an interrupted process left and how it was finished.

use std::fmt;
use std::path::PathBuf;

use crate::ca::revocation::republish_reason::RepublishReason;
use crate::identity::{Name, Role};
use crate::x509::SerialNumber;

/// One thing that an earlier process left, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecoveryOutcome {
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
    /// A revocation list was due and was written.
    CrlPublished {
        /// Its number.
        number: u64,
        /// Why it was due.
        because: RepublishReason,
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

impl fmt::Display for RecoveryOutcome {
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
            Self::CrlPublished { number, because } => {
                write!(f, "{because}; CRL {number} is in its place now")
            }
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
