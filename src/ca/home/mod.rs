//! The home directory of a CA: file names, locking, crash recovery, records about files.

pub(super) mod access;
pub(super) mod directory;
pub(super) mod inventory_writer;
pub(super) mod recorded_files;
pub(super) mod recover;
pub(super) mod recovery_outcome;
pub(super) mod unfinished;
