//! Origins of profiles.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::x509::Sha256;

/// Source and digest of a profile, kept with every certificate issued by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProfileOrigin {
    /// Source of the text.
    pub source: ProfileSource,
    /// SHA-256 of its bytes.
    pub digest: Sha256,
}

/// Place that a profile was read from: the binary or a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProfileSource {
    /// Compiled into the program.
    BuiltIn,
    /// File in the directory of `--templates`.
    File(PathBuf),
}

impl fmt::Display for ProfileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.pad("built-in"),
            Self::File(path) => f.pad(&path.to_string_lossy()),
        }
    }
}

impl Serialize for ProfileSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
