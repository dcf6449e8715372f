//! Rate limit for log lines of refused handshakes, so that a flood does not fill the disk or hide other
//! lines.
//!
//! One limit applies to each address, so that a flood from one does not hide another, and one to all
//! addresses together. Handshakes beyond a limit are counted by reason and logged in one line per second.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::serving::rate_limit::{Quota, RateLimiter, SourcePrefix};

/// Period of both limits.
const MINUTE: Duration = Duration::from_secs(60);

/// Lines of one address per minute.
const LINES_PER_ADDRESS: u32 = 300;

/// Lines of all addresses per minute.
const LINES_TOTAL: u32 = 1_200;

/// Rate limiter of log lines, with counts of suppressed lines.
#[derive(Debug)]
pub struct LogRateLimit {
    epoch: Instant,
    addresses: RateLimiter,
    all: Quota,
    counts: Mutex<Counts>,
    suppressed: AtomicU64,
}

#[derive(Debug, Default)]
struct Counts {
    /// Time since `epoch` at which the quota of all addresses is full again.
    full_at: Duration,
    /// Suppressed lines since the last summary, by reason.
    suppressed: BTreeMap<&'static str, u64>,
}

impl LogRateLimit {
    /// Create the limiter with quotas that are full at `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            addresses: RateLimiter::new(Quota::new(LINES_PER_ADDRESS, MINUTE), now),
            all: Quota::new(LINES_TOTAL, MINUTE),
            counts: Mutex::default(),
            suppressed: AtomicU64::new(0),
        }
    }

    /// Spend a log line on a handshake from `address`, refused for `reason` at `now`. Without one left,
    /// returns `false` and counts the handshake.
    pub fn allows_line(&self, address: IpAddr, reason: &'static str, now: Instant) -> bool {
        let within_limit = self.addresses.spend(SourcePrefix::from(address), now);
        let mut counts = self.counts();
        let now = now.saturating_duration_since(self.epoch);
        if within_limit && self.all.spend(&mut counts.full_at, now) {
            return true;
        }
        *counts.suppressed.entry(reason).or_default() += 1;
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Take the counts of suppressed lines, by reason, since the last call.
    pub fn take_suppressed(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut self.counts().suppressed)
    }

    /// Number of suppressed lines so far.
    #[must_use]
    pub fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};

    fn limit() -> (LogRateLimit, Instant) {
        let now = ManualClock::new(time::OffsetDateTime::UNIX_EPOCH).monotonic();
        (LogRateLimit::new(now), now)
    }

    #[test]
    fn a_flood_from_one_address_does_not_hide_another() {
        let (limit, now) = limit();
        let [flooding, other] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
        let logged = (0..10_000).filter(|_| limit.allows_line(flooding, "tls.closed", now)).count();
        assert_eq!(logged, 300);
        assert!(limit.allows_line(other, "revocation.revoked", now));
        assert_eq!(limit.take_suppressed(), BTreeMap::from([("tls.closed", 9_700)]));
        assert_eq!((limit.take_suppressed().len(), limit.suppressed()), (0, 9_700));
        assert!(limit.allows_line(flooding, "tls.closed", now + MINUTE));
    }

    #[test]
    fn lines_of_all_addresses_are_limited_together() {
        let (limit, now) = limit();
        let addresses = (0..100_000_u32).map(|number| IpAddr::from(number.to_be_bytes()));
        assert_eq!(addresses.filter(|address| limit.allows_line(*address, "tls.closed", now)).count(), 1_200);
    }
}
