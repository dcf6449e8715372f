//! Virtual time for tests: no test waits for a timeout that it can pass in one step.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::source::Clock;

/// Clock that moves only by [`advance`](Self::advance) and [`sleep`](Clock::sleep). Clones share one time.
#[derive(Clone, Debug)]
pub struct ManualClock {
    start: OffsetDateTime,
    monotonic_start: Instant,
    elapsed: Arc<Mutex<Duration>>,
}

impl ManualClock {
    /// Start a clock at the wall time `start`.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "an `Instant` can only be made from the machine's clock")]
    pub fn new(start: OffsetDateTime) -> Self {
        Self { start, monotonic_start: Instant::now(), elapsed: Arc::default() }
    }

    /// Moves wall clock and monotonic clock forward by `by`.
    pub fn advance(&self, by: Duration) {
        let mut elapsed = self.elapsed.lock().unwrap_or_else(PoisonError::into_inner);
        *elapsed = elapsed.saturating_add(by);
    }

    fn elapsed(&self) -> Duration {
        *self.elapsed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        self.start + self.elapsed()
    }

    fn monotonic(&self) -> Instant {
        self.monotonic_start + self.elapsed()
    }

    /// Return at once, `pause` later on this clock.
    fn sleep(&self, pause: Duration) {
        self.advance(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_move_together_and_only_when_told() {
        let clock = ManualClock::new(OffsetDateTime::UNIX_EPOCH);
        let (wall, monotonic) = (clock.now(), clock.monotonic());
        let shared = clock.clone();
        shared.advance(Duration::from_secs(60));
        shared.sleep(Duration::from_secs(1));
        assert_eq!(clock.now() - wall, time::Duration::seconds(61));
        assert_eq!(clock.monotonic() - monotonic, Duration::from_secs(61));
        assert_eq!(clock.monotonic(), clock.monotonic());
    }
}
