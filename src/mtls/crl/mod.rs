//! CRLs of a TLS endpoint: those in force, the files they are read from, and the store of pushed ones.

mod error;
mod files;
mod in_force;
mod newest;
mod store;

pub use error::CrlLoadError;
pub use files::{CrlFiles, LastSeenCrls, newer_in_files};
pub use in_force::{CrlFreshness, CrlsInForce};
pub use newest::NewestCrls;
pub use store::{CrlStore, LOCK_TIMEOUT};
