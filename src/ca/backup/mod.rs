//! Encrypted online backup of a home, and restore that loses no revocation.
//!
//! A backup is a tar archive (see `Part`) in an age file encrypted with a passphrase. Its contents are
//! used only after the whole file was read and its parts were found to be consistent.

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
