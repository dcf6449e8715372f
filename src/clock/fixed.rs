//! A fixed wall clock, for commands that evaluate the state as of another time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::source::Clock;

/// Clock with a fixed wall time, for `--at TIME`. Monotonic time and pauses are those of another clock, so
/// that timeouts still end.
#[derive(Clone, Debug)]
pub struct FixedClock {
    now: OffsetDateTime,
    running: Arc<dyn Clock>,
}

impl FixedClock {
    /// Fix the wall time of `running` at `now`.
    #[must_use]
    pub fn new(now: OffsetDateTime, running: Arc<dyn Clock>) -> Self {
        Self { now, running }
    }
}

impl Clock for FixedClock {
    fn now(&self) -> OffsetDateTime {
        self.now
    }

    fn monotonic(&self) -> Instant {
        self.running.monotonic()
    }

    fn sleep(&self, pause: Duration) {
        self.running.sleep(pause);
    }
}
