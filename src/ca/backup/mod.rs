//! Encrypted online backup of a home, and restore that loses no revocation.
//!
//! A backup is a tar archive (see `Part`) in an age file encrypted with a passphrase. Its contents are
//! used only after the whole file was read and its parts were found to be consistent.
//!
//! | file | contents |
//! |---|---|
//! | `create` | Creation of a backup: a snapshot of the inventory and the files that belong to it |
//! | `error` | Errors of backup and restore |
//! | `inspect` | Verification of a backup without restoring it |
//! | `manifest` | The first part of a backup: its format version and a summary of its contents |
//! | `missing_records` | Records that a backup lacks, recovered from another inventory, CRLs, and issued certificates |
//! | `part` | Parts of a backup: names in the archive, and paths in a home |
//! | `restore` | Restore of a backup |
//! | `staging` | Atomic placement of a restored home |
//! | `unpack` | Reading and verification of a backup |

mod create;
mod error;
mod inspect;
mod manifest;
mod missing_records;
mod part;
mod restore;
pub(super) mod staging;
mod unpack;

pub use create::{CreatedBackup, create};
pub use error::BackupError;
pub use inspect::{BackupContents, inspect, verify_backup};
pub use manifest::Manifest;
pub use restore::{EnforcedCrl, RestoreOptions, Restored, restore};
