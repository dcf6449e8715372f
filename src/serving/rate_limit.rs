//! Rate limit per address, in a table of fixed size.
//!
//! The bucket of an address is one point in time: when its quota is full again (generic cell rate algorithm,
//! ITU-T I.371). The table is set-associative: in a full set, a new address replaces the bucket that is full
//! first. So memory and lookup time do not depend on the number of addresses, even in a flood.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Number of sets in the table, each with its own lock.
const SETS: usize = 4_096;

/// Number of addresses in a set.
const WAYS: usize = 4;

/// Source of connections: an IPv4 address, or the /64 prefix of an IPv6 address, the least that a network
/// assigns to one customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourcePrefix {
    /// IPv4 address.
    V4([u8; 4]),
    /// First 64 bits of an IPv6 address.
    V6([u8; 8]),
}

impl From<IpAddr> for SourcePrefix {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// Number of events allowed within a period.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// Time to regain one event.
    interval: Duration,
    /// Time to regain the whole quota.
    period: Duration,
}

impl Quota {
    /// Allow `amount` events within `period`.
    #[must_use]
    pub fn new(amount: u32, period: Duration) -> Self {
        Self { interval: period / amount.max(1), period }
    }

    /// True if a bucket that is full at `full_at` has nothing left at `now`.
    fn is_spent(&self, full_at: Duration, now: Duration) -> bool {
        full_at.saturating_sub(now) + self.interval > self.period
    }

    /// Spend one event at `now` from the bucket that is full at `full_at`; `false` if it has none left.
    pub fn spend(&self, full_at: &mut Duration, now: Duration) -> bool {
        if self.is_spent(*full_at, now) {
            return false;
        }
        *full_at = (*full_at).max(now) + self.interval;
        true
    }
}

/// Table of addresses in shards, each with its own lock. The hash is keyed, so that a client cannot predict
/// the shard of an address.
#[derive(Debug)]
pub struct Sharded<T> {
    hasher: RandomState,
    shards: Box<[Mutex<T>]>,
}

impl<T: Default> Sharded<T> {
    /// Create a table of `shards` shards.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Self { hasher: RandomState::new(), shards: (0..shards).map(|_| Mutex::default()).collect() }
    }

    /// Call `visit` with the locked shard of `source`.
    pub fn with<R>(&self, source: SourcePrefix, visit: impl FnOnce(&mut T) -> R) -> R {
        let shards = u64::try_from(self.shards.len()).unwrap_or(u64::MAX).max(1);
        let index = usize::try_from(self.hasher.hash_one(source) % shards);
        match index.ok().and_then(|index| self.shards.get(index)) {
            Some(shard) => visit(&mut shard.lock().unwrap_or_else(PoisonError::into_inner)),
            None => visit(&mut T::default()),
        }
    }
}

/// Rate limiter with one bucket per address.
#[derive(Debug)]
pub struct RateLimiter {
    quota: Quota,
    epoch: Instant,
    sets: Sharded<Vec<Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    source: SourcePrefix,
    /// Time since `epoch` at which the quota is full again.
    full_at: Duration,
}

impl RateLimiter {
    /// Create a limiter that gives each address `quota`, full at `now`.
    #[must_use]
    pub fn new(quota: Quota, now: Instant) -> Self {
        Self { quota, epoch: now, sets: Sharded::new(SETS) }
    }

    /// True if `source` has nothing left at `now`.
    #[must_use]
    pub fn is_spent(&self, source: SourcePrefix, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.epoch);
        self.sets.with(source, |set| {
            let bucket = set.iter().find(|bucket| bucket.source == source);
            bucket.is_some_and(|bucket| self.quota.is_spent(bucket.full_at, now))
        })
    }

    /// Spend one event of `source` at `now`; `false` if it has none left.
    pub fn spend(&self, source: SourcePrefix, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.epoch);
        self.sets.with(source, |set| {
            if let Some(bucket) = set.iter_mut().find(|bucket| bucket.source == source) {
                return self.quota.spend(&mut bucket.full_at, now);
            }
            let mut fresh = Bucket { source, full_at: now };
            let allowed = self.quota.spend(&mut fresh.full_at, now);
            if set.len() < WAYS {
                set.push(fresh);
            } else if let Some(first_full) = set.iter_mut().min_by_key(|bucket| bucket.full_at) {
                *first_full = fresh;
            }
            allowed
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};

    const MINUTE: Duration = Duration::from_secs(60);

    fn limiter(amount: u32) -> RateLimiter {
        let clock = ManualClock::new(time::OffsetDateTime::UNIX_EPOCH);
        RateLimiter::new(Quota::new(amount, MINUTE), clock.monotonic())
    }

    fn source(address: &str) -> SourcePrefix {
        SourcePrefix::from(address.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn an_ipv6_prefix_and_a_mapped_ipv4_address_are_one_source() {
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("::1"), source("0.0.0.0"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    }

    #[test]
    fn each_address_has_its_own_quota_that_refills_over_time() {
        let limiter = limiter(3);
        let (one, other, epoch) = (source("192.0.2.1"), source("192.0.2.2"), limiter.epoch);
        assert!((0..3).all(|_| limiter.spend(one, epoch)));
        assert!(!limiter.spend(one, epoch) && limiter.is_spent(one, epoch));
        assert!(!limiter.is_spent(other, epoch) && limiter.spend(other, epoch));
        assert!(limiter.is_spent(one, epoch + MINUTE / 3 - Duration::from_millis(1)));
        // One event is regained, and a refused event spends nothing.
        let later = epoch + MINUTE / 3;
        assert!(limiter.spend(one, later) && !limiter.spend(one, later));
        assert!((0..3).all(|_| limiter.spend(one, later + MINUTE)));
    }

    #[test]
    fn a_flood_of_addresses_does_not_grow_the_table() {
        let limiter = limiter(1);
        let epoch = limiter.epoch;
        for network in 0..200_000_u64 {
            limiter.spend(SourcePrefix::V6(network.to_be_bytes()), epoch);
        }
        for set in &limiter.sets.shards {
            let set = set.lock().unwrap();
            assert!(set.len() <= WAYS && set.capacity() <= WAYS, "{}, {}", set.len(), set.capacity());
        }
    }

    #[test]
    fn a_new_address_does_not_replace_an_exhausted_bucket() {
        let limiter = limiter(1_000);
        let (flooding, epoch) = (source("192.0.2.1"), limiter.epoch);
        while limiter.spend(flooding, epoch) {}
        for network in 0..200_000_u64 {
            limiter.spend(SourcePrefix::V6(network.to_be_bytes()), epoch);
        }
        assert!(limiter.is_spent(flooding, epoch));
    }
}
