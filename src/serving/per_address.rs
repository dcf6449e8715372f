//! Limits per client address, applied before the client is known: open connections, handshakes in flight, and
//! failed handshakes.
//!
//! Only addresses with open connections have counts, so memory is bounded by the limit of connections. Failed
//! handshakes are counted by a [`RateLimiter`] of fixed size. A connection takes a sharded lock three times,
//! a request never.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Code, Coded};
use crate::serving::rate_limit::{Quota, RateLimiter, Sharded, SourcePrefix};

/// Number of shards of the counts, each with its own lock.
const SHARDS: usize = 64;

/// Period of `limits.failed_handshakes_per_address`.
const MINUTE: Duration = Duration::from_secs(60);

/// Most connections and handshakes of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressQuotas {
    /// Open connections, handshakes included.
    pub connections: usize,
    /// Handshakes in progress.
    pub handshakes: usize,
    /// Failed handshakes within a minute.
    pub failed_handshakes: usize,
}

/// Count and limit of all client addresses.
#[derive(Debug)]
pub struct PerAddressLimits {
    connections: usize,
    handshakes: usize,
    open: Sharded<HashMap<SourcePrefix, OpenCounts>>,
    failures: RateLimiter,
}

/// Open connections of one address.
#[derive(Clone, Copy, Debug, Default)]
struct OpenCounts {
    connections: usize,
    /// Connections that are still in their handshake.
    handshakes: usize,
}

/// Limit that an address has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressLimit {
    /// `limits.connections_per_address`.
    #[error("its address has as many open connections as `limits.connections_per_address` allows")]
    Connections,
    /// `limits.failed_handshakes_per_address`.
    #[error(
        "its address has as many failed handshakes a minute as `limits.failed_handshakes_per_address` allows"
    )]
    Failures,
    /// `limits.handshakes_per_address`.
    #[error("its address has as many handshakes in flight as `limits.handshakes_per_address` allows")]
    Handshakes,
}

impl Coded for AddressLimit {
    fn coded(&self) -> Code {
        match self {
            Self::Connections => Code::refused("connection.address_limit"),
            Self::Failures => Code::refused("connection.failed_handshakes_limit"),
            Self::Handshakes => Code::refused("connection.handshake_limit"),
        }
    }
}

impl PerAddressLimits {
    /// Start at `now` with no open connections.
    #[must_use]
    pub fn new(quotas: AddressQuotas, now: Instant) -> Self {
        let failures = u32::try_from(quotas.failed_handshakes).unwrap_or(u32::MAX);
        Self {
            connections: quotas.connections,
            handshakes: quotas.handshakes,
            open: Sharded::new(SHARDS),
            failures: RateLimiter::new(Quota::new(failures, MINUTE), now),
        }
    }

    /// Take a permit for a connection from `address` that starts its handshake.
    ///
    /// # Errors
    /// [`AddressLimit`] that the address has reached.
    pub fn admit(self: &Arc<Self>, address: IpAddr, now: Instant) -> Result<AddressPermit, AddressLimit> {
        let source = SourcePrefix::from(address);
        if self.failures.is_spent(source, now) {
            return Err(AddressLimit::Failures);
        }
        self.open.with(source, |open| {
            let OpenCounts { connections, handshakes } = open.get(&source).copied().unwrap_or_default();
            if connections >= self.connections {
                return Err(AddressLimit::Connections);
            }
            if handshakes >= self.handshakes {
                return Err(AddressLimit::Handshakes);
            }
            let more = OpenCounts { connections: connections + 1, handshakes: handshakes + 1 };
            open.insert(source, more);
            Ok(())
        })?;
        Ok(AddressPermit { addresses: Arc::clone(self), source, in_handshake: true })
    }
}

/// Permit of one connection within the limits of its address, released when dropped.
#[derive(Debug)]
pub struct AddressPermit {
    addresses: Arc<PerAddressLimits>,
    source: SourcePrefix,
    in_handshake: bool,
}

impl AddressPermit {
    /// Record that the handshake succeeded.
    pub fn handshake_done(&mut self) {
        if std::mem::replace(&mut self.in_handshake, false) {
            self.addresses.open.with(self.source, |open| {
                if let Some(counts) = open.get_mut(&self.source) {
                    counts.handshakes = counts.handshakes.saturating_sub(1);
                }
            });
        }
    }

    /// Record that the handshake failed after it had cost computation.
    pub fn handshake_failed(&self, now: Instant) {
        self.addresses.failures.spend(self.source, now);
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        self.handshake_done();
        self.addresses.open.with(self.source, |open| match open.get_mut(&self.source) {
            Some(counts) if counts.connections > 1 => counts.connections -= 1,
            _ => drop(open.remove(&self.source)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};

    /// Limits under test, and their clock.
    struct Addresses(Arc<PerAddressLimits>, ManualClock);

    fn addresses(connections: usize, handshakes: usize, failures: usize) -> Addresses {
        let clock = ManualClock::new(time::OffsetDateTime::UNIX_EPOCH);
        let quotas = AddressQuotas { connections, handshakes, failed_handshakes: failures };
        Addresses(Arc::new(PerAddressLimits::new(quotas, clock.monotonic())), clock)
    }

    fn admit(Addresses(limits, clock): &Addresses, from: &str) -> Result<AddressPermit, AddressLimit> {
        limits.admit(from.parse().unwrap(), clock.monotonic())
    }

    #[test]
    fn connections_are_limited_per_address() {
        let addresses = addresses(2, 9, 9);
        let mut held = [admit(&addresses, "::1").unwrap(), admit(&addresses, "::2").unwrap()];
        held.iter_mut().for_each(AddressPermit::handshake_done);
        assert_eq!(admit(&addresses, "::3").unwrap_err(), AddressLimit::Connections);
        assert!(admit(&addresses, "127.0.0.1").is_ok() && admit(&addresses, "0:0:0:1::").is_ok());
        drop(held);
        assert!(admit(&addresses, "::3").is_ok());
    }

    #[test]
    fn only_handshakes_in_flight_are_limited() {
        let addresses = addresses(9, 1, 9);
        let mut first = admit(&addresses, "127.0.0.1").unwrap();
        assert_eq!(admit(&addresses, "127.0.0.1").unwrap_err(), AddressLimit::Handshakes);
        first.handshake_done();
        first.handshake_done();
        let second = admit(&addresses, "127.0.0.1").unwrap();
        assert_eq!(admit(&addresses, "127.0.0.1").unwrap_err(), AddressLimit::Handshakes);
        drop((first, second));
        assert!(admit(&addresses, "127.0.0.1").is_ok());
    }

    #[test]
    fn failed_handshakes_block_their_address_for_a_while() {
        let addresses = addresses(9, 9, 2);
        for _ in 0..2 {
            admit(&addresses, "127.0.0.1").unwrap().handshake_failed(addresses.1.monotonic());
        }
        assert_eq!(admit(&addresses, "127.0.0.1").unwrap_err(), AddressLimit::Failures);
        assert!(admit(&addresses, "127.0.0.2").is_ok());
        // Half of the period regains one of two.
        addresses.1.advance(MINUTE / 2 - Duration::from_millis(1));
        assert_eq!(admit(&addresses, "127.0.0.1").unwrap_err(), AddressLimit::Failures);
        addresses.1.advance(Duration::from_millis(1));
        assert!(admit(&addresses, "127.0.0.1").is_ok());
    }

    #[test]
    fn addresses_without_open_connections_use_no_memory() {
        let addresses = addresses(9, 9, 9);
        for last in 0..=255 {
            drop(admit(&addresses, &format!("192.0.2.{last}")).unwrap());
            let source = SourcePrefix::V4([192, 0, 2, last]);
            assert!(addresses.0.open.with(source, |open| open.is_empty()));
        }
    }
}
