//! The machine's clock. Only the binaries create it; everything below takes a [`Clock`].

use std::thread;
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::source::Clock;

/// The machine's wall clock and monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "the one implementation that reads the machine's clocks")]
impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, pause: Duration) {
        thread::sleep(pause);
    }
}
