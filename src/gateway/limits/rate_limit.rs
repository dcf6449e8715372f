//! How much each address may do within a time, in memory that does not grow with the number of addresses.
//!
//! What an address has spent is one moment: when it will have been forgiven (the generic cell rate
//! algorithm, ITU-T I.371). The moments stand in a table of a fixed size, in sets of a few; a new address
//! takes the place of the one in its set that is forgiven soonest. So a flood from many addresses costs no
//! more memory than one from a few, and each look takes the same time.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many sets of addresses there are, each behind a lock of its own.
const SETS: usize = 4_096;

/// How many addresses are in a set.
const WAYS: usize = 4;

/// What counts as one address: an IPv4 address, or the /64 of an IPv6 one, which is what one customer
/// of a network has at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// An IPv4 address.
    V4([u8; 4]),
    /// The first half of an IPv6 address.
    V6([u8; 8]),
}

impl From<IpAddr> for Origin {
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

/// So much within so long a time.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// How long one takes to be forgiven.
    interval: Duration,
    /// All of it at once.
    within: Duration,
}

impl Quota {
    /// As many as `amount` within the time `within`.
    #[must_use]
    pub fn new(amount: u32, within: Duration) -> Self {
        Self { interval: within / amount.max(1), within }
    }

    /// Whether there is anything left at `now` for one who is forgiven at `forgiven`.
    fn is_spent(&self, forgiven: Duration, now: Duration) -> bool {
        forgiven.saturating_sub(now) + self.interval > self.within
    }

    /// Spends one at `now`; `false` when there was none left.
    pub fn spend(&self, forgiven: &mut Duration, now: Duration) -> bool {
        if self.is_spent(*forgiven, now) {
            return false;
        }
        *forgiven = (*forgiven).max(now) + self.interval;
        true
    }
}

/// Something of each address, in parts behind a lock of their own; in which part an address is cannot be
/// foreseen from outside.
#[derive(Debug)]
pub struct Sharded<T> {
    hasher: RandomState,
    parts: Box<[Mutex<T>]>,
}

impl<T: Default> Sharded<T> {
    /// In so many parts.
    #[must_use]
    pub fn new(parts: usize) -> Self {
        Self { hasher: RandomState::new(), parts: (0..parts).map(|_| Mutex::default()).collect() }
    }

    /// Looks at the part that `origin` is in.
    pub fn with<R>(&self, origin: Origin, look: impl FnOnce(&mut T) -> R) -> R {
        let parts = u64::try_from(self.parts.len()).unwrap_or(u64::MAX).max(1);
        let index = usize::try_from(self.hasher.hash_one(origin) % parts);
        match index.ok().and_then(|index| self.parts.get(index)) {
            Some(part) => look(&mut part.lock().unwrap_or_else(PoisonError::into_inner)),
            None => look(&mut T::default()),
        }
    }
}

/// What every address has spent.
#[derive(Debug)]
pub struct RateLimiter {
    allowance: Quota,
    begun: Instant,
    sets: Sharded<Vec<Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    origin: Origin,
    /// When it will have been forgiven, counted from the beginning.
    forgiven: Duration,
}

impl RateLimiter {
    /// Gives each address this much.
    #[must_use]
    pub fn new(allowance: Quota) -> Self {
        Self { allowance, begun: Instant::now(), sets: Sharded::new(SETS) }
    }

    /// Whether `origin` has nothing left at `now`.
    #[must_use]
    pub fn is_spent(&self, origin: Origin, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.begun);
        self.sets.with(origin, |set| {
            let known = set.iter().find(|spent| spent.origin == origin);
            known.is_some_and(|spent| self.allowance.is_spent(spent.forgiven, now))
        })
    }

    /// Spends one of `origin`'s at `now`; `false` when there was none left.
    pub fn spend(&self, origin: Origin, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.begun);
        self.sets.with(origin, |set| {
            if let Some(spent) = set.iter_mut().find(|spent| spent.origin == origin) {
                return self.allowance.spend(&mut spent.forgiven, now);
            }
            let mut fresh = Bucket { origin, forgiven: now };
            let allowed = self.allowance.spend(&mut fresh.forgiven, now);
            if set.len() < WAYS {
                set.push(fresh);
            } else if let Some(soonest) = set.iter_mut().min_by_key(|spent| spent.forgiven) {
                *soonest = fresh;
            }
            allowed
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn origin(address: &str) -> Origin {
        Origin::from(address.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn an_ipv6_network_is_one_and_two_spellings_of_an_ipv4_address_are_one() {
        assert_eq!(origin("2001:db8:1:2::1"), origin("2001:db8:1:2:ffff::9"));
        assert_ne!(origin("2001:db8:1:2::1"), origin("2001:db8:1:3::1"));
        assert_eq!(origin("::ffff:192.0.2.1"), origin("192.0.2.1"));
        assert_ne!(origin("::1"), origin("0.0.0.0"));
        assert_ne!(origin("192.0.2.1"), origin("192.0.2.2"));
    }

    #[test]
    fn an_address_spends_its_own_and_is_forgiven_in_time() {
        let budgets = RateLimiter::new(Quota::new(3, MINUTE));
        let (one, other, begun) = (origin("192.0.2.1"), origin("192.0.2.2"), budgets.begun);
        assert!((0..3).all(|_| budgets.spend(one, begun)));
        assert!(!budgets.spend(one, begun) && budgets.is_spent(one, begun));
        assert!(!budgets.is_spent(other, begun) && budgets.spend(other, begun));
        assert!(budgets.is_spent(one, begun + MINUTE / 3 - Duration::from_millis(1)));
        // One is forgiven, and whoever is refused does not spend.
        let later = begun + MINUTE / 3;
        assert!(budgets.spend(one, later) && !budgets.spend(one, later));
        assert!((0..3).all(|_| budgets.spend(one, later + MINUTE)));
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_than_the_table() {
        let budgets = RateLimiter::new(Quota::new(1, MINUTE));
        let begun = budgets.begun;
        for network in 0..200_000_u64 {
            budgets.spend(Origin::V6(network.to_be_bytes()), begun);
        }
        for set in &budgets.sets.parts {
            let set = set.lock().unwrap();
            assert!(set.len() <= WAYS && set.capacity() <= WAYS, "{}, {}", set.len(), set.capacity());
        }
    }

    #[test]
    fn who_has_spent_most_is_remembered_longest() {
        let budgets = RateLimiter::new(Quota::new(1_000, MINUTE));
        let (flooding, begun) = (origin("192.0.2.1"), budgets.begun);
        while budgets.spend(flooding, begun) {}
        for network in 0..200_000_u64 {
            budgets.spend(Origin::V6(network.to_be_bytes()), begun);
        }
        assert!(budgets.is_spent(flooding, begun));
    }
}
