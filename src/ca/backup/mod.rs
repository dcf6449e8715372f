//! Backups: a home in one sealed file, made while others work, and put back without forgetting a
//! revocation.
//!
//! A backup is a tar (`Part` says what is in it) in an age file that a passphrase opens. Nothing in it is
//! believed before its end was reached and its parts were found to belong together.

mod error;
mod inspect;
mod make;
mod manifest;
mod part;
pub(super) mod place;
mod reconcile;
mod restore;
mod unpack;

pub use error::BackupError;
pub use inspect::{Inside, look_into, verify_backup};
pub use make::{BackedUp, back_up};
pub use manifest::Manifest;
pub use restore::{EnforcedCrl, Restore, Restored, restore};
