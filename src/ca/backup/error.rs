//! Errors of backup and restore.

use std::io;
use std::path::PathBuf;

use time::OffsetDateTime;

use crate::age_stream::AgeError;
use crate::ca::error::CaError;
use crate::clock::{EntropyError, rfc3339};
use crate::error::{Code, Coded};
use crate::files::FileError;
use crate::keys::KeyError;
use crate::revocation::CrlError;
use crate::store::StoreError;
use crate::x509::crl::{CrlFormatError, CrlNumber};
use crate::x509::trust::TrustError;
use crate::x509::{SerialNumber, X509Error};

/// A backup that could not be created, verified or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// Error of the CA or its home.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// Invalid CRL.
    #[error(transparent)]
    Crl(#[from] CrlError),
    /// The CRL on disk does not match the inventory.
    #[error("{} is not the CRL recorded in the inventory", path.display())]
    CrlDiffers {
        /// Path of the CRL.
        path: PathBuf,
    },
    /// A CRL that gateways would not accept.
    #[error(transparent)]
    CrlFormat(#[from] CrlFormatError),
    /// The random generator failed.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The home has changes that the older backup lacks.
    #[error("the home has changed since the backup of {}: restoring it would lose the changes", rfc3339(*made_at))]
    LosesChanges {
        /// Creation time of the backup.
        made_at: OffsetDateTime,
    },
    /// The backup has another format version.
    #[error("the backup has format {found}; this version supports format {known}")]
    Format {
        /// Format version of the backup.
        found: u32,
        /// Supported format version.
        known: u32,
    },
    /// The parts of the backup contradict each other.
    #[error("the backup is inconsistent: {why}")]
    Inconsistent {
        /// Description of the contradiction.
        why: &'static str,
    },
    /// The private key in the backup cannot be used.
    #[error("the backup's private key cannot be used")]
    Key(#[from] KeyError),
    /// A gateway enforces a newer CRL, which is not available here.
    #[error(
        "gateway {gateway} enforces CRL {number}, but the newest CRL available here is {known}: its revocations are unknown"
    )]
    EnforcedCrlMissing {
        /// Name of the gateway.
        gateway: String,
        /// Number of the CRL that it enforces.
        number: CrlNumber,
        /// Highest CRL number available here.
        known: CrlNumber,
    },
    /// The CRL in the home cannot be read.
    #[error(
        "the CRL {} cannot be read, and may contain revocations made since the backup",
        path.display()
    )]
    CrlUnreadable {
        /// Path of the CRL.
        path: PathBuf,
        /// The cause.
        source: Box<BackupError>,
    },
    /// A part of the backup is missing.
    #[error("the backup has no `{name}`")]
    MissingPart {
        /// Name of the part.
        name: String,
    },
    /// There is no proof that the backup contains the newest CRL.
    #[error(
        "no proof that CRL {number} of the backup is the newest: certificates revoked after {} would become valid again",
        rfc3339(*made_at)
    )]
    NewestCrlUnknown {
        /// Number of the CRL in the backup.
        number: CrlNumber,
        /// Creation time of the backup.
        made_at: OffsetDateTime,
    },
    /// The backup cannot be encrypted, such as with a weak passphrase.
    #[error("the backup cannot be created")]
    NotEncrypted(#[source] AgeError),
    /// The home belongs to another cluster.
    #[error("{} is the home of another cluster", home.display())]
    OtherCluster {
        /// Path of the home.
        home: PathBuf,
    },
    /// A newer CRL revokes certificates for which no record is available.
    #[error(
        "CRL {number} revokes {} certificates that are unknown to the backup: {}",
        serial_numbers.len(),
        serial_numbers.iter().take(10).map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    RevokedUnknown {
        /// CRL number.
        number: CrlNumber,
        /// Serial numbers of the certificates.
        serial_numbers: Vec<SerialNumber>,
    },
    /// Wrong passphrase, or altered contents.
    #[error("the backup cannot be opened")]
    Seal(#[from] AgeError),
    /// An inventory refused a change or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Invalid trust bundle in the backup.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Unexpected or repeated part.
    #[error("the backup has an unexpected part: `{}`", name.escape_debug())]
    UnknownPart {
        /// Name of the part.
        name: String,
    },
    /// The backup file cannot be read.
    #[error("the backup cannot be read")]
    Unreadable {
        /// The cause.
        source: io::Error,
    },
    /// A newer CRL than the backup's exists, and its revocations would be lost.
    #[error(
        "the backup ends with CRL {backup}, but CRL {seen} exists{}: restoring it would lose revocations",
        gateway.as_ref().map(|gateway| format!(" at gateway {gateway}")).unwrap_or_default()
    )]
    LosesRevocations {
        /// Highest CRL number in the backup.
        backup: u64,
        /// Highest CRL number seen.
        seen: CrlNumber,
        /// Gateway that enforces the newer CRL, if any.
        gateway: Option<String>,
    },
    /// Invalid X.509 data.
    #[error(transparent)]
    X509(#[from] X509Error),
}

impl Coded for BackupError {
    fn coded(&self) -> Code {
        match self {
            Self::Ca(error) => error.coded(),
            Self::Crl(error) => error.coded(),
            Self::CrlDiffers { .. } => Code::refused("backup.crl_differs"),
            Self::CrlFormat(error) => error.coded(),
            Self::Entropy(error) => error.coded(),
            Self::File(error) => error.coded(),
            Self::LosesChanges { .. } => Code::refused("restore.forgets"),
            Self::Format { .. } => Code::refused("backup.format"),
            Self::Inconsistent { .. } => Code::environment("backup.inconsistent"),
            Self::Key(error) => error.coded(),
            Self::EnforcedCrlMissing { .. } => Code::refused("restore.crl_missing"),
            Self::CrlUnreadable { .. } => Code::refused("restore.crl_unreadable"),
            Self::MissingPart { .. } => Code::environment("backup.missing_part"),
            Self::NewestCrlUnknown { .. } => Code::refused("restore.newest_crl_unknown"),
            Self::OtherCluster { .. } => Code::refused("restore.other_cluster"),
            Self::RevokedUnknown { .. } => Code::refused("restore.revoked_unknown"),
            Self::NotEncrypted(error) | Self::Seal(error) => error.coded(),
            Self::Store(error) => error.coded(),
            Self::Trust(error) => error.coded(),
            Self::UnknownPart { .. } => Code::environment("backup.unknown_part"),
            Self::Unreadable { .. } => Code::environment("file.backup"),
            Self::LosesRevocations { .. } => Code::refused("restore.unrevokes"),
            Self::X509(error) => error.coded(),
        }
    }
}
