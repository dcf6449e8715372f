//! Status of certificates.

use std::fmt;

use super::error::StoreError;
use crate::error::excerpt;

/// Status of a certificate at a given time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordStatus {
    /// Serial number reserved, never recorded as signed.
    Reserved,
    /// Issued, neither expired nor revoked.
    Valid,
    /// Past its notAfter, not revoked.
    Expired,
    /// Revoked or on hold, expired or not.
    Revoked,
}

impl RecordStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Reserved, Self::Valid, Self::Expired, Self::Revoked];

    /// The word on the command line and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl std::str::FromStr for RecordStatus {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| StoreError::Status { given: excerpt(text) })
    }
}

impl serde::Serialize for RecordStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for RecordStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Number of certificates of each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordCounts {
    /// Serial numbers drawn and never signed, as an interrupted command leaves them.
    pub reserved: u64,
    /// Issued, before `notAfter`, not revoked.
    pub valid: u64,
    /// Past `notAfter`, not revoked.
    pub expired: u64,
    /// Revoked or on hold, whether expired or not.
    pub revoked: u64,
}
