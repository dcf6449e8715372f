//! Which refused handshakes get a line of their own: all of them, until there are so many that the log
//! would fill the disk and nobody could read it.
//!
//! Each address has its share, so that one that floods does not hide what happens at another; and all
//! together have theirs. What is over is counted by its reason and told in one line a second.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::gateway::limits::rate_limit::{Origin, Quota, RateLimiter};

/// The time in which so many lines are written.
const MINUTE: Duration = Duration::from_secs(60);

/// How many lines one address gets.
const OF_ADDRESS: u32 = 300;

/// How many lines there are for all of them.
const OF_ALL: u32 = 1_200;

/// What has been told, and what has not.
#[derive(Debug)]
pub struct LogRateLimit {
    begun: Instant,
    addresses: RateLimiter,
    all: Quota,
    counts: Mutex<Counts>,
    untold: AtomicU64,
}

#[derive(Debug, Default)]
struct Counts {
    /// When all together will have been forgiven, counted from the beginning.
    forgiven: Duration,
    /// Since they were summed up last, by reason.
    untold: BTreeMap<&'static str, u64>,
}

impl LogRateLimit {
    /// Nothing has been told.
    #[must_use]
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            addresses: RateLimiter::new(Quota::new(OF_ADDRESS, MINUTE)),
            all: Quota::new(OF_ALL, MINUTE),
            counts: Mutex::default(),
            untold: AtomicU64::new(0),
        }
    }

    /// Whether a handshake from `address`, refused for `reason` at `now`, gets a line; else it is counted.
    pub fn may_tell(&self, address: IpAddr, reason: &'static str, now: Instant) -> bool {
        let within_its_own = self.addresses.spend(Origin::from(address), now);
        let mut counts = self.counts();
        let now = now.saturating_duration_since(self.begun);
        if within_its_own && self.all.spend(&mut counts.forgiven, now) {
            return true;
        }
        *counts.untold.entry(reason).or_default() += 1;
        self.untold.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// How many had no line, by reason, since this was asked last.
    pub fn take_untold(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut self.counts().untold)
    }

    /// How many had no line so far.
    #[must_use]
    pub fn untold(&self) -> u64 {
        self.untold.load(Ordering::Relaxed)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for LogRateLimit {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_floods_does_not_hide_another_one() {
        let flood = LogRateLimit::new();
        let now = Instant::now();
        let [flooding, other] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
        let told = (0..10_000).filter(|_| flood.may_tell(flooding, "tls.closed", now)).count();
        assert_eq!(told, 300);
        assert!(flood.may_tell(other, "revocation.revoked", now));
        assert_eq!(flood.take_untold(), BTreeMap::from([("tls.closed", 9_700)]));
        assert_eq!((flood.take_untold().len(), flood.untold()), (0, 9_700));
        assert!(flood.may_tell(flooding, "tls.closed", now + MINUTE));
    }

    #[test]
    fn all_addresses_together_have_so_many_lines_and_no_more() {
        let flood = LogRateLimit::new();
        let now = Instant::now();
        let addresses = (0..100_000_u32).map(|number| IpAddr::from(number.to_be_bytes()));
        assert_eq!(addresses.filter(|address| flood.may_tell(*address, "tls.closed", now)).count(), 1_200);
    }
}
