//! The home directory of a CA: file names, locking, crash recovery.

pub(super) mod access;
pub(super) mod directory;
pub(super) mod on_disk;
pub(super) mod recover;
pub(super) mod recovered;
pub(super) mod registrar;
pub(super) mod unfinished;
