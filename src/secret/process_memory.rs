//! Protection of the memory of this process, in which private keys lie in plain text.

use std::io;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Forbid core dumps of this process, and access to its memory by other processes of the same user.
///
/// Called before a key is opened. Programs that this one starts may write core files again only as far as the limit
/// on their size, which they inherit, permits: not at all.
///
/// # Errors
/// The system's error. Linux refuses neither call.
pub fn forbid_core_dumps() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    // A core dump through a pipe (`core_pattern`) ignores the limit on its size. This flag stops it, and ptrace.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Part of the limit on locked memory that is left to a locked stack, whose growth beyond the limit ends the process.
const STACK_GROWTH: u64 = 16 << 20;

/// Extent of the memory that [`lock_memory`] locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLock {
    /// All memory, now and later.
    Everything,
    /// Memory mapped so far. A memory allocator that returns pages to the system cannot return locked ones.
    Present,
}

/// Locks memory, so that it is never swapped, if the limit on locked memory (`LimitMEMLOCK`) permits it; true if so.
///
/// The system locks all present memory or none. Later memory is locked without a limit only: an allocation beyond the
/// limit would fail. A privileged process (`CAP_IPC_LOCK`) has no limit for its present memory.
pub fn lock_memory(extent: MemoryLock) -> bool {
    let limit = getrlimit(Resource::Memlock);
    let extent = match extent {
        MemoryLock::Everything if limit.current.is_none() => MlockAllFlags::CURRENT | MlockAllFlags::FUTURE,
        MemoryLock::Everything | MemoryLock::Present => MlockAllFlags::CURRENT,
    };
    let lowered = Rlimit { current: limit.current.map(|most| most.saturating_sub(STACK_GROWTH)), ..limit };
    if setrlimit(Resource::Memlock, lowered).is_err() {
        return false;
    }
    // Pages are locked once they are used, not read in for the lock.
    let is_locked = mlockall(extent | MlockAllFlags::ONFAULT).is_ok();
    setrlimit(Resource::Memlock, limit).is_ok() && is_locked
}

#[cfg(test)]
mod tests {
    use rustix::process::dumpable_behavior;

    use super::*;

    #[test]
    fn a_process_with_secrets_leaves_no_core_file() {
        forbid_core_dumps().unwrap();
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
