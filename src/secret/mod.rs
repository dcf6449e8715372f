//! Secrets in memory: zeroized on drop, never printed, never in a core dump.
//!
//! | file | contents |
//! |---|---|
//! | `bytes` | [`Secret`] |
//! | `process_memory` | protection of the whole process: no core dump, no other process of the same user, no swap |

mod bytes;
mod process_memory;

pub use bytes::Secret;
pub use process_memory::{MemoryLock, forbid_core_dumps, lock_memory};
