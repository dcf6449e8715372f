//! Backups: a home in one sealed file, made while others work, and put back without forgetting a
//! revocation.
//!
//! A backup is a tar (`Part` says what is in it) in an age file that a passphrase opens. Nothing in it is
//! believed before its end was reached and its parts were found to belong together.

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
