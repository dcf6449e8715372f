//! The home directory of a CA: file names, locking, crash recovery, records about files.
//!
//! | file | contents |
//! |---|---|
//! | `access` | Checks and locks that precede every use of a home |
//! | `directory` | Path of a CA home and the names of the files in it |
//! | `inventory_writer` | Records about issued files that need no root key |
//! | `recorded_files` | Comparison of files with the certificates that the inventory records |
//! | `recover` | Recovery from an interrupted process |
//! | `recovery_outcome` | Outcomes of crash recovery |
//! | `unfinished` | Files of a home that `initialize` has not completed |

pub(super) mod access;
pub(super) mod directory;
pub(super) mod inventory_writer;
pub(super) mod recorded_files;
pub(super) mod recover;
pub(super) mod recovery_outcome;
pub(super) mod unfinished;
