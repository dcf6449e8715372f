//! Origins of profiles.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::x509::Sha256;

/// Where a profile came from, and the digest of its text: kept with every certificate it allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The file.
    pub source: Source,
    /// SHA-256 of its bytes.
    pub digest: Sha256,
}

/// Where a profile came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is compiled in.
    BuiltIn,
    /// A file of the operator's.
    File(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.pad("built-in"),
            Self::File(path) => f.pad(&path.to_string_lossy()),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
