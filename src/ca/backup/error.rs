//! What can go wrong with a backup.

use std::io;
use std::path::PathBuf;

use time::OffsetDateTime;

use crate::ca::error::CaError;
use crate::clock::{EntropyError, rfc3339};
use crate::files::FileError;
use crate::keys::KeyError;
use crate::revocation::CrlError;
use crate::sealed::SealError;
use crate::store::StoreError;
use crate::x509::crl::{CrlFormatError, CrlNumber};
use crate::x509::trust::TrustError;
use crate::x509::{SerialNumber, X509Error};

/// Why a backup was not made or not put back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The home cannot be used.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// A revocation list does not hold.
    #[error(transparent)]
    Crl(#[from] CrlError),
    /// The list on disk is not the one that the inventory knows.
    #[error("{} is not the revocation list that the inventory knows", path.display())]
    CrlDiffers {
        /// The list.
        path: PathBuf,
    },
    /// A revocation list cannot be relied on.
    #[error(transparent)]
    CrlFormatError(#[from] CrlFormatError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The home knows what the backup, which is older, does not.
    #[error("the home has changed since the backup was made, at {}: putting it back would forget what happened since", rfc3339(*made_at))]
    LosesChanges {
        /// When the backup was made.
        made_at: OffsetDateTime,
    },
    /// Another version of this program made it.
    #[error("the backup has format {found}; this version knows format {known}")]
    Format {
        /// The format it has.
        found: u32,
        /// The one that is known.
        known: u32,
    },
    /// Its parts contradict each other.
    #[error("the backup is not fit to be put back: {why}")]
    Inconsistent {
        /// The contradiction.
        why: &'static str,
    },
    /// The key in it cannot be opened.
    #[error("the backup's private key cannot be used")]
    Key(#[from] KeyError),
    /// A gateway enforces a list of which nothing but its number is known.
    #[error(
        "the gateway {gateway} enforces CRL {number}, and the newest list at hand is CRL {known}: nobody here knows what it revokes"
    )]
    EnforcedCrlMissing {
        /// Where the gateway is.
        gateway: String,
        /// The number of the list that it enforces.
        number: CrlNumber,
        /// The highest number that is known here.
        known: CrlNumber,
    },
    /// The list in the home cannot be read.
    #[error(
        "the revocation list {} cannot be read, and it may tell of what was revoked since the backup was made",
        path.display()
    )]
    CrlUnreadable {
        /// The list.
        path: PathBuf,
        /// Why not.
        source: Box<BackupError>,
    },
    /// A part is not in it.
    #[error("the backup has no `{name}`")]
    MissingPart {
        /// Which.
        name: String,
    },
    /// Nobody says that no newer list than the backup's exists.
    #[error(
        "nobody here knows whether a newer revocation list exists than CRL {number}, which the backup has: what was revoked after {} would hold again",
        rfc3339(*made_at)
    )]
    NewestCrlUnknown {
        /// The number of the backup's list.
        number: CrlNumber,
        /// When the backup was made.
        made_at: OffsetDateTime,
    },
    /// The home is another cluster's.
    #[error("{} is the home of another cluster", home.display())]
    OtherCluster {
        /// The home.
        home: PathBuf,
    },
    /// A newer list revokes certificates that are known neither to the backup nor to anybody here.
    #[error(
        "CRL {number} revokes {} certificates that the backup does not know: {}",
        serial_numbers.len(),
        serial_numbers.iter().take(10).map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    RevokedUnknown {
        /// The list's number.
        number: CrlNumber,
        /// Their serial numbers.
        serial_numbers: Vec<SerialNumber>,
    },
    /// It is not sealed as it was, or the passphrase is another.
    #[error("the backup cannot be opened")]
    Seal(#[from] SealError),
    /// An inventory refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The trust bundle in it is not fit to be trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// It has a part that no backup of this version has.
    #[error("the backup has an unexpected part: `{}`", name.escape_debug())]
    UnknownPart {
        /// Its name.
        name: String,
    },
    /// It cannot be read.
    #[error("the backup cannot be read")]
    Unreadable {
        /// Why not.
        source: io::Error,
    },
    /// A newer revocation list than the backup's is known: what it revokes would hold again.
    #[error(
        "the backup ends with CRL {backup}, and CRL {seen} was seen since{}: putting it back would un-revoke",
        gateway.as_ref().map(|gateway| format!(" at the gateway {gateway}")).unwrap_or_default()
    )]
    LosesRevocations {
        /// The highest number that the backup knows.
        backup: u64,
        /// The highest number that was seen.
        seen: CrlNumber,
        /// Where, if a gateway enforces it.
        gateway: Option<String>,
    },
    /// Not the X.509 it should be.
    #[error(transparent)]
    X509(#[from] X509Error),
}

impl BackupError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ca(error) => error.code(),
            Self::Crl(error) => error.code(),
            Self::CrlDiffers { .. } => "backup.crl_differs",
            Self::CrlFormatError(fault) => fault.code(),
            Self::Entropy(error) => error.code(),
            Self::File(error) => error.code(),
            Self::LosesChanges { .. } => "restore.forgets",
            Self::Format { .. } => "backup.format",
            Self::Inconsistent { .. } => "backup.inconsistent",
            Self::Key(error) => error.code(),
            Self::EnforcedCrlMissing { .. } => "restore.list_missing",
            Self::CrlUnreadable { .. } => "restore.list_unreadable",
            Self::MissingPart { .. } => "backup.missing_part",
            Self::NewestCrlUnknown { .. } => "restore.newest_list_unknown",
            Self::OtherCluster { .. } => "restore.other_cluster",
            Self::RevokedUnknown { .. } => "restore.revoked_unknown",
            Self::Seal(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Trust(error) => error.code(),
            Self::UnknownPart { .. } => "backup.unknown_part",
            Self::Unreadable { .. } => "file.backup",
            Self::LosesRevocations { .. } => "restore.unrevokes",
            Self::X509(error) => error.code(),
        }
    }
}
