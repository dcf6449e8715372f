//! One writer per directory.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use super::error::FileError;
use crate::clock::Clock;

/// Pause between two attempts to take a lock that another process holds.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// Exclusive right to change the content of a directory, released on drop.
///
/// It is a `flock` on the directory itself: no lock file can be left behind, and a crash releases it.
#[derive(Debug)]
pub struct DirectoryLock {
    _directory: File,
}

impl DirectoryLock {
    /// Take the lock, waiting up to `timeout` for another process to release it.
    ///
    /// # Errors
    /// [`FileError::Locked`] after the timeout.
    pub fn acquire(path: &Path, timeout: Duration, clock: &dyn Clock) -> Result<Self, FileError> {
        let directory = File::open(path).map_err(|source| FileError::io("open", path, source))?;
        let deadline = clock.monotonic() + timeout;
        loop {
            match directory.try_lock() {
                Ok(()) => return Ok(Self { _directory: directory }),
                Err(TryLockError::WouldBlock) if clock.monotonic() < deadline => clock.sleep(RETRY_PAUSE),
                Err(TryLockError::WouldBlock) => return Err(FileError::Locked { path: path.to_owned() }),
                Err(TryLockError::Error(source)) => return Err(FileError::io("lock", path, source)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::clock::ManualClock;
    use crate::error::Coded;

    #[test]
    fn one_holder_of_the_lock_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(OffsetDateTime::UNIX_EPOCH);
        let start = clock.monotonic();
        let acquire = |timeout| DirectoryLock::acquire(dir.path(), timeout, &clock);
        let first = acquire(Duration::ZERO).unwrap();
        assert_eq!(acquire(Duration::ZERO).unwrap_err().code(), "file.locked");
        assert_eq!(clock.monotonic(), start, "no timeout, no wait");
        // An hour on the clock, not in the test.
        assert_eq!(acquire(Duration::from_secs(3_600)).unwrap_err().code(), "file.locked");
        assert_eq!(clock.monotonic() - start, Duration::from_secs(3_600));
        drop(first);
        assert!(acquire(Duration::ZERO).is_ok());
    }
}
