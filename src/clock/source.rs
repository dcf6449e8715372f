//! The clock that every time-dependent component takes as a parameter.

use std::fmt;
use std::time::{Duration, Instant};

use time::OffsetDateTime;

/// Source of wall-clock time, monotonic time and pauses.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The wall clock, in UTC. It can jump either way: use it for what is written down or compared with
    /// certificates, CRLs and records.
    fn now(&self) -> OffsetDateTime;

    /// The monotonic clock, which never goes back: use it for timeouts, rates and elapsed time.
    fn monotonic(&self) -> Instant;

    /// Blocks the calling thread for `pause`. Never call it on a thread that drives connections.
    fn sleep(&self, pause: Duration);
}
