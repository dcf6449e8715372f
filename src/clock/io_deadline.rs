//! Deadlines of blocking I/O. The kernel measures socket timeouts in real time, so these deadlines cannot be
//! virtual and need no [`Clock`](super::source::Clock).

use std::time::{Duration, Instant};

/// Point in real time at which a series of blocking system calls has to be over.
#[derive(Clone, Copy, Debug)]
pub struct IoDeadline(Instant);

#[expect(clippy::disallowed_methods, reason = "the kernel measures socket timeouts in real time")]
impl IoDeadline {
    /// A deadline `timeout` from now.
    #[must_use]
    pub fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout)
    }

    /// The remaining time, never zero: `set_read_timeout` and its like refuse a zero timeout. `None` once the
    /// deadline has passed.
    #[must_use]
    pub fn remaining(self) -> Option<Duration> {
        self.0.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passed_deadline_leaves_no_time() {
        assert_eq!(IoDeadline::after(Duration::ZERO).remaining(), None);
        let hour = Duration::from_secs(3600);
        assert!(IoDeadline::after(hour).remaining().is_some_and(|left| left <= hour));
    }
}
