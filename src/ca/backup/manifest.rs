//! The first part of a backup: its format version and a summary of its contents.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

/// Format version of the archive.
pub(super) const FORMAT: u32 = 1;

/// Summary of a backup, its first part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Format version of the following parts.
    pub(super) format: u32,
    /// Cluster name.
    pub cluster: String,
    /// Cluster UUID.
    pub uuid: Uuid,
    /// Creation time.
    #[serde(with = "time::serde::rfc3339")]
    pub made_at: OffsetDateTime,
    /// Number of the newest CRL in the backup.
    pub crl_number: u64,
    /// Number of certificates in the inventory.
    pub certificates: u64,
    /// Head of the audit chain: number of entries, and hash of the last one.
    pub audit_head: (u64, String),
}
