//! Errors of loading and keeping statements about tokens.

use std::path::PathBuf;

use crate::error::{Code, Coded};
use crate::files::FileError;
use crate::mtls::PeerError;
use crate::tokens::StatementError;

/// A statement that cannot be put in force or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenLoadError {
    /// The record of the newest statement cannot be parsed.
    #[error("the record {} of the newest statement is damaged", path.display())]
    DamagedRecord {
        /// Path of the record.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A statement in a file is refused.
    #[error("the statement {} is refused", path.display())]
    InFile {
        /// Path of the file.
        path: PathBuf,
        /// Reason.
        source: Box<TokenLoadError>,
    },
    /// The certificate of the signing key is refused.
    #[error("the certificate of the statement's key is refused")]
    Signer {
        /// Reason.
        source: PeerError,
    },
    /// The statement is invalid, or older than one that has been in force.
    #[error(transparent)]
    Statement(#[from] StatementError),
}

impl Coded for TokenLoadError {
    fn coded(&self) -> Code {
        match self {
            Self::DamagedRecord { .. } => Code::refused("tokens.record_damaged"),
            Self::File(error) => error.coded(),
            Self::InFile { source, .. } => source.coded(),
            Self::Signer { source } => source.coded(),
            Self::Statement(error) => error.coded(),
        }
    }
}
