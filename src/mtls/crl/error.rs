//! Errors of loading and keeping CRLs.

use std::path::PathBuf;

use time::OffsetDateTime;

use crate::clock::rfc3339;
use crate::error::{Code, Coded};
use crate::files::FileError;
use crate::revocation::CrlError;
use crate::x509::KeyIdentifier;

/// A CRL that cannot be put in force or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CrlLoadError {
    /// The record of the newest CRL cannot be parsed.
    #[error("the record {} of the newest CRL is damaged", path.display())]
    DamagedRecord {
        /// Path of the record.
        path: PathBuf,
    },
    /// nextUpdate and the grace period have passed.
    #[error("the CRL of issuer {issuer} expired at {}", rfc3339(*next_update))]
    Expired {
        /// Key identifier of the CRL's issuer.
        issuer: KeyIdentifier,
        /// nextUpdate of the CRL.
        next_update: OffsetDateTime,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A CRL is invalid, or an issuer's is missing.
    #[error("the CRL {} is refused", paths_of(paths))]
    Refused {
        /// Paths of the CRL files.
        paths: Vec<PathBuf>,
        /// Reason of the refusal.
        source: Box<CrlError>,
    },
    /// A newer CRL of the same issuer has been in force.
    #[error("the CRL is older than one that has been in force, recorded in {}", path.display())]
    Superseded {
        /// Path of the record.
        path: PathBuf,
        /// Reason of the refusal.
        source: CrlError,
    },
}

impl Coded for CrlLoadError {
    fn coded(&self) -> Code {
        match self {
            Self::DamagedRecord { .. } => Code::refused("crl.record_damaged"),
            Self::Expired { .. } => Code::refused("revocation.crl_expired"),
            Self::File(error) => error.coded(),
            Self::Refused { source, .. } => source.coded(),
            Self::Superseded { source, .. } => source.coded(),
        }
    }
}

fn paths_of(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
