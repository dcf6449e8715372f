//! Activity of one connection, from which a worker detects idle clients, slow request headers and unread
//! responses.
//!
//! A worker checks all of its connections every second, which costs less than a timer for each request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::clock::{Clock, turn_time};

/// Number of cancelled requests on a connection from which their share of all requests matters.
const CANCELLED_THRESHOLD: u64 = 200;

/// Activity of one connection. Times are milliseconds since it was opened.
#[derive(Debug)]
pub struct Activity {
    pub(super) clock: Arc<dyn Clock>,
    opened: Instant,
    /// Requests in flight.
    in_flight: AtomicU32,
    /// Requests so far.
    started: AtomicU64,
    /// Requests that the client cancelled.
    cancelled: AtomicU64,
    /// End of the last request.
    idle_since: AtomicU64,
    /// First byte after the last request; 0 if there was none.
    header_since: AtomicU64,
    /// Responses with data that the client has not read yet.
    pending_responses: AtomicU32,
    /// Time at which the client last read data of any response.
    last_progress: AtomicU64,
    /// True if bytes may wait to be written to the socket.
    unsent: AtomicBool,
}

impl Activity {
    /// Start with a connection opened now.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            opened: clock.monotonic(),
            clock,
            in_flight: AtomicU32::new(0),
            started: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            idle_since: AtomicU64::new(0),
            header_since: AtomicU64::new(0),
            pending_responses: AtomicU32::new(0),
            last_progress: AtomicU64::new(0),
            unsent: AtomicBool::new(false),
        }
    }

    /// Record that the header of a request is complete.
    pub fn request_started(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.started.fetch_add(1, Ordering::Relaxed);
        self.header_since.store(0, Ordering::Relaxed);
    }

    /// Record that a request was answered or cancelled.
    pub fn request_finished(&self, now: Instant) {
        self.idle_since.store(self.millis_at(now), Ordering::Relaxed);
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Record that the client cancelled a request. Returns whether it cancels most of its requests: each
    /// costs a connection to the upstream.
    pub fn request_cancelled(&self) -> bool {
        let cancelled = self.cancelled.fetch_add(1, Ordering::Relaxed) + 1;
        cancelled >= CANCELLED_THRESHOLD && cancelled > self.started.load(Ordering::Relaxed) / 2
    }

    /// Record that a response has data for the client.
    pub fn response_pending(&self) {
        self.response_progressed();
        self.pending_responses.fetch_add(1, Ordering::Relaxed);
    }

    /// Record that the client read some data of a response, and that there is more.
    pub fn response_progressed(&self) {
        self.last_progress.store(self.now(), Ordering::Relaxed);
    }

    /// Record that the client read all available data of a response.
    pub fn response_drained(&self) {
        self.response_progressed();
        self.pending_responses.fetch_sub(1, Ordering::Relaxed);
    }

    /// Record that bytes were written to the client.
    pub(super) fn bytes_written(&self) {
        if self.pending_responses.load(Ordering::Relaxed) > 0 {
            self.response_progressed();
        }
    }

    /// Record that bytes were read from the client.
    pub(super) fn bytes_read(&self) {
        if self.in_flight.load(Ordering::Relaxed) == 0 && self.header_since.load(Ordering::Relaxed) == 0 {
            self.header_since.store(self.now().max(1), Ordering::Relaxed);
        }
    }

    /// Record whether bytes may wait to be written to the socket.
    pub(super) fn set_unsent(&self, unsent: bool) {
        self.unsent.store(unsent, Ordering::Relaxed);
    }

    /// True if no request has begun, and every response was written to the socket.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0
            && self.header_since.load(Ordering::Relaxed) == 0
            && !self.unsent.load(Ordering::Relaxed)
    }

    /// Time since the connection was opened.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.clock.monotonic().saturating_duration_since(self.opened)
    }

    /// Number of requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// True if a request may be on its way: the first one, or one whose header has begun.
    #[must_use]
    pub fn awaits_request(&self) -> bool {
        self.started.load(Ordering::Relaxed) == 0 || self.header_since.load(Ordering::Relaxed) != 0
    }

    /// Time since the last request; `None` while one is in flight.
    #[must_use]
    pub fn idle_for(&self) -> Option<Duration> {
        (self.in_flight.load(Ordering::Relaxed) == 0)
            .then(|| self.since(self.idle_since.load(Ordering::Relaxed)))
    }

    /// Time since the first byte of an incomplete request header; `None` if there is none.
    #[must_use]
    pub fn header_pending_for(&self) -> Option<Duration> {
        match self.header_since.load(Ordering::Relaxed) {
            0 => None,
            since => Some(self.since(since)),
        }
    }

    /// Time since the client last read response data; `None` while no data is pending.
    #[must_use]
    pub fn stalled_for(&self) -> Option<Duration> {
        (self.pending_responses.load(Ordering::Relaxed) > 0)
            .then(|| self.since(self.last_progress.load(Ordering::Relaxed)))
    }

    fn now(&self) -> u64 {
        self.millis_at(turn_time(&*self.clock))
    }

    fn millis_at(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.opened).as_millis()).unwrap_or(u64::MAX)
    }

    fn since(&self, then: u64) -> Duration {
        Duration::from_millis(self.now().saturating_sub(then))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn idle_time_counts_from_the_end_of_the_last_request() {
        let clock = ManualClock::new(time::OffsetDateTime::UNIX_EPOCH);
        let activity = Activity::new(Arc::new(clock.clone()));
        clock.advance(Duration::from_secs(5));
        assert_eq!(activity.idle_for(), Some(Duration::from_secs(5)));
        activity.request_started();
        assert_eq!(activity.idle_for(), None);
        activity.request_finished(clock.monotonic());
        clock.advance(Duration::from_secs(2));
        assert_eq!(activity.idle_for(), Some(Duration::from_secs(2)));
        assert_eq!(activity.age(), Duration::from_secs(7));
    }

    #[test]
    fn an_incomplete_header_counts_from_its_first_byte() {
        let clock = ManualClock::new(time::OffsetDateTime::UNIX_EPOCH);
        let activity = Activity::new(Arc::new(clock.clone()));
        clock.advance(Duration::from_secs(5));
        assert_eq!(activity.header_pending_for(), None);
        activity.bytes_read();
        clock.advance(Duration::from_secs(3));
        activity.bytes_read();
        assert_eq!(activity.header_pending_for(), Some(Duration::from_secs(3)));
        activity.request_started();
        assert_eq!(activity.header_pending_for(), None);
        assert!(!activity.awaits_request());
        activity.request_finished(clock.monotonic());
        activity.bytes_read();
        assert!(activity.awaits_request());
    }

    #[test]
    fn a_response_stalls_from_the_last_byte_written() {
        let clock = ManualClock::new(time::OffsetDateTime::UNIX_EPOCH);
        let activity = Activity::new(Arc::new(clock.clone()));
        activity.response_pending();
        clock.advance(Duration::from_secs(9));
        assert_eq!(activity.stalled_for(), Some(Duration::from_secs(9)));
        activity.bytes_written();
        clock.advance(Duration::from_secs(1));
        assert_eq!(activity.stalled_for(), Some(Duration::from_secs(1)));
        activity.response_drained();
        assert_eq!(activity.stalled_for(), None);
    }
}
