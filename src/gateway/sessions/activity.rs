//! Whether a connection is used: what tells an idle caller, one that never finishes its header, and one
//! that does not take its responses, from one at work. A worker looks at all of its connections every second, which costs less than a timer
//! for each request.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many requests a caller may give up on one connection before it matters how many it did not.
const GIVEN_UP: u64 = 200;

/// What happens on one connection. Its times are milliseconds since it was opened.
#[derive(Debug)]
pub struct Activity {
    opened: Instant,
    /// Requests that are being answered.
    running: AtomicU32,
    /// Requests so far.
    begun: AtomicU64,
    /// Those among them that the caller gave up.
    given_up: AtomicU64,
    /// When the last one ended.
    quiet_since: AtomicU64,
    /// When the first byte came after that; 0 while there was none.
    header_since: AtomicU64,
    /// Responses of which there is something for the caller to take.
    waiting: AtomicU32,
    /// When it last took something of any response.
    taken_at: AtomicU64,
}

impl Activity {
    /// A connection opened just now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            opened: Instant::now(),
            running: AtomicU32::new(0),
            begun: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            quiet_since: AtomicU64::new(0),
            header_since: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            taken_at: AtomicU64::new(0),
        }
    }

    /// The header of a request is complete.
    pub fn request_begins(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.header_since.store(0, Ordering::Relaxed);
    }

    /// A request has been answered, or given up.
    pub fn request_ends(&self) {
        self.quiet_since.store(self.now(), Ordering::Relaxed);
        self.running.fetch_sub(1, Ordering::Relaxed);
    }

    /// The caller has given a request up. Returns whether it does little else: each cost a connection to the
    /// service behind.
    pub fn request_cancelled(&self) -> bool {
        let given_up = self.given_up.fetch_add(1, Ordering::Relaxed) + 1;
        given_up >= GIVEN_UP && given_up > self.begun.load(Ordering::Relaxed) / 2
    }

    /// There is something of a response for the caller to take.
    pub fn response_waits(&self) {
        self.response_moves();
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// The caller has taken some of a response, and there is more.
    pub fn response_moves(&self) {
        self.taken_at.store(self.now(), Ordering::Relaxed);
    }

    /// The caller has taken all that there is of a response.
    pub fn response_taken(&self) {
        self.response_moves();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Bytes went to the caller.
    pub(super) fn bytes_go(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.response_moves();
        }
    }

    /// Bytes came from the caller.
    pub(super) fn bytes_come(&self) {
        if self.running.load(Ordering::Relaxed) == 0 && self.header_since.load(Ordering::Relaxed) == 0 {
            self.header_since.store(self.now().max(1), Ordering::Relaxed);
        }
    }

    /// How long ago it was opened.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// How many requests are being answered.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    /// How long nothing has been asked for; `None` while a request runs.
    #[must_use]
    pub fn idle(&self) -> Option<Duration> {
        (self.running.load(Ordering::Relaxed) == 0)
            .then(|| self.since(self.quiet_since.load(Ordering::Relaxed)))
    }

    /// How long the header of a request has been coming; `None` while none is.
    #[must_use]
    pub fn header(&self) -> Option<Duration> {
        match self.header_since.load(Ordering::Relaxed) {
            0 => None,
            since => Some(self.since(since)),
        }
    }

    /// How long the caller has taken nothing of what waits for it; `None` while nothing does.
    #[must_use]
    pub fn stalled(&self) -> Option<Duration> {
        (self.waiting.load(Ordering::Relaxed) > 0).then(|| self.since(self.taken_at.load(Ordering::Relaxed)))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn since(&self, then: u64) -> Duration {
        Duration::from_millis(self.now().saturating_sub(then))
    }
}

impl Default for Activity {
    fn default() -> Self {
        Self::new()
    }
}
