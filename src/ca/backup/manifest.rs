//! The first part of a backup: its format version and a summary of its contents.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

/// The version of what is in the tar.
pub(super) const FORMAT: u32 = 1;

/// What a backup says of itself: its first part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of what follows.
    pub(super) format: u32,
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's UUID.
    pub uuid: Uuid,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub made_at: OffsetDateTime,
    /// The number of the newest CRL in it.
    pub crl_number: u64,
    /// How many certificates it knows.
    pub certificates: u64,
    /// The end of its audit chain: how many entries, and the hash of the last.
    pub audit_head: (u64, String),
}
