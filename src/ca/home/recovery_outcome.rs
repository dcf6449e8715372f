//! Outcomes of crash recovery.

use std::fmt;
use std::path::PathBuf;

use crate::ca::revocation::republish_reason::RepublishReason;
use crate::identity::{Name, Role};
use crate::x509::{KeyIdentifier, SerialNumber};

/// One piece of work that an interrupted process left, and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecoveryOutcome {
    /// A serial number was reserved, but no certificate was recorded.
    Abandoned {
        /// Role of the intended certificate.
        role: Role,
        /// Name of the intended certificate.
        name: Name,
        /// The serial number, which is never reused.
        serial_number: SerialNumber,
    },
    /// A certificate's files cannot be renamed because another file has the name.
    Blocked {
        /// Serial number of the certificate.
        serial_number: SerialNumber,
        /// Path of the other file.
        path: PathBuf,
    },
    /// The CRL file has no CRL of this issuer any more, because the trust bundle no longer has the issuer.
    CrlLeftOut {
        /// Key of the issuer.
        issuer: KeyIdentifier,
    },
    /// A new CRL was published.
    CrlPublished {
        /// CRL number.
        number: u64,
        /// Reason for publishing it.
        because: RepublishReason,
    },
    /// A hold was lifted, but no CRL was signed without it.
    HoldKept {
        /// Serial number of the certificate.
        serial_number: SerialNumber,
    },
    /// A file of a recorded certificate is missing.
    Lost {
        /// Serial number of the certificate.
        serial_number: SerialNumber,
        /// Path of the missing file.
        path: PathBuf,
    },
    /// The files of a recorded certificate were renamed to their final names.
    Placed {
        /// Role of the certificate.
        role: Role,
        /// Name of the certificate.
        name: Name,
        /// Serial number of the certificate.
        serial_number: SerialNumber,
        /// Path of the certificate.
        certificate: PathBuf,
    },
}

impl RecoveryOutcome {
    /// Number of the CRL that was published because an earlier process had reserved it.
    #[must_use]
    pub fn pending_crl(&self) -> Option<u64> {
        match self {
            Self::CrlPublished { number, because: RepublishReason::Owed } => Some(*number),
            _ => None,
        }
    }
}

impl fmt::Display for RecoveryOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abandoned { role, name, serial_number } => write!(
                f,
                "an interrupted run did not sign {role}/{name}; serial number {serial_number} stays unused"
            ),
            Self::Blocked { serial_number, path } => write!(
                f,
                "an earlier run could not place the files of certificate {serial_number}: {} already exists; move it and run any issuing command",
                path.display()
            ),
            Self::CrlLeftOut { issuer } => {
                write!(f, "cluster.crl no longer has the CRL of key {issuer}, which is not in cluster.crt")
            }
            Self::CrlPublished { number, because } => {
                write!(f, "{because}; published CRL {number}")
            }
            Self::HoldKept { serial_number } => write!(
                f,
                "an interrupted run lifted the hold on certificate {serial_number}, but did not sign a CRL: the hold remains; repeat the release"
            ),
            Self::Lost { serial_number, path } => write!(
                f,
                "an earlier run recorded certificate {serial_number}, but {} is missing; if you have not moved it, revoke the certificate",
                path.display()
            ),
            Self::Placed { role, name, serial_number, certificate } => write!(
                f,
                "completed an interrupted run: placed the files of {role}/{name} at {} (serial {serial_number})",
                certificate.display()
            ),
        }
    }
}
