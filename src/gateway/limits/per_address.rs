//! What one address may take before anybody knows who calls from there: open connections, handshakes
//! under way, and handshakes that let nobody in.
//!
//! The counts are of what is open, so that there are never more of them than there may be connections;
//! what has failed is remembered in a [`RateLimiter`], which does not grow. A connection costs three looks at
//! a lock that few share, and a request none.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Code, Coded};
use crate::gateway::config::Limits;
use crate::gateway::limits::rate_limit::{Origin, Quota, RateLimiter, Sharded};

/// How many locks the counts are behind.
const PARTS: usize = 64;

/// The time in which so many handshakes of one address may fail.
const MINUTE: Duration = Duration::from_secs(60);

/// What is open from every address.
#[derive(Debug)]
pub struct PerAddressLimits {
    connections: usize,
    handshakes: usize,
    open: Sharded<HashMap<Origin, Open>>,
    failures: RateLimiter,
}

/// What is open from one address.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    connections: usize,
    /// Those among them that are in their handshake.
    handshakes: usize,
}

/// Why an address gets no further connection now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressLimit {
    /// It has as many open as it may have.
    #[error("its address has as many connections open as it may have")]
    Connections,
    /// Too many of its handshakes have let nobody in.
    #[error("too many handshakes from its address have failed within a minute")]
    Failures,
    /// It has as many handshakes under way as it may have.
    #[error("its address has as many handshakes under way as it may have")]
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
    /// Nothing is open, and this much may be.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let failures = u32::try_from(limits.failed_handshakes_per_address).unwrap_or(u32::MAX);
        Self {
            connections: limits.connections_per_address,
            handshakes: limits.handshakes_per_address,
            open: Sharded::new(PARTS),
            failures: RateLimiter::new(Quota::new(failures, MINUTE)),
        }
    }

    /// A place for a connection from `address` that is about to make its handshake.
    ///
    /// # Errors
    /// [`AddressLimit`] when the address has no further one.
    pub fn admit(self: &Arc<Self>, address: IpAddr, now: Instant) -> Result<AddressPermit, AddressLimit> {
        let origin = Origin::from(address);
        if self.failures.is_spent(origin, now) {
            return Err(AddressLimit::Failures);
        }
        self.open.with(origin, |open| {
            let Open { connections, handshakes } = open.get(&origin).copied().unwrap_or_default();
            if connections >= self.connections {
                return Err(AddressLimit::Connections);
            }
            if handshakes >= self.handshakes {
                return Err(AddressLimit::Handshakes);
            }
            let more = Open { connections: connections + 1, handshakes: handshakes + 1 };
            open.insert(origin, more);
            Ok(())
        })?;
        Ok(AddressPermit { addresses: Arc::clone(self), origin, in_handshake: true })
    }
}

/// The place of one connection among those of its address; dropped, it is free again.
#[derive(Debug)]
pub struct AddressPermit {
    addresses: Arc<PerAddressLimits>,
    origin: Origin,
    in_handshake: bool,
}

impl AddressPermit {
    /// Its handshake has let its caller in.
    pub fn handshake_done(&mut self) {
        if std::mem::replace(&mut self.in_handshake, false) {
            self.addresses.open.with(self.origin, |open| {
                if let Some(counts) = open.get_mut(&self.origin) {
                    counts.handshakes = counts.handshakes.saturating_sub(1);
                }
            });
        }
    }

    /// Its handshake has cost something and let nobody in.
    pub fn handshake_failed(&self, now: Instant) {
        self.addresses.failures.spend(self.origin, now);
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        self.handshake_done();
        self.addresses.open.with(self.origin, |open| match open.get_mut(&self.origin) {
            Some(counts) if counts.connections > 1 => counts.connections -= 1,
            _ => drop(open.remove(&self.origin)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(connections: usize, handshakes: usize, failures: usize) -> Arc<PerAddressLimits> {
        Arc::new(PerAddressLimits::new(&Limits {
            connections_per_address: connections,
            handshakes_per_address: handshakes,
            failed_handshakes_per_address: failures,
            ..Limits::default()
        }))
    }

    fn admit(addresses: &Arc<PerAddressLimits>, from: &str) -> Result<AddressPermit, AddressLimit> {
        addresses.admit(from.parse().unwrap(), Instant::now())
    }

    #[test]
    fn an_address_has_so_many_connections_and_another_one_its_own() {
        let addresses = addresses(2, 9, 9);
        let mut held = [admit(&addresses, "::1").unwrap(), admit(&addresses, "::2").unwrap()];
        held.iter_mut().for_each(AddressPermit::handshake_done);
        assert_eq!(admit(&addresses, "::3").unwrap_err(), AddressLimit::Connections);
        assert!(admit(&addresses, "127.0.0.1").is_ok() && admit(&addresses, "0:0:0:1::").is_ok());
        drop(held);
        assert!(admit(&addresses, "::3").is_ok());
    }

    #[test]
    fn handshakes_under_way_are_limited_and_those_that_are_done_are_not_counted() {
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
    fn whose_handshakes_fail_waits() {
        let addresses = addresses(9, 9, 2);
        for _ in 0..2 {
            admit(&addresses, "127.0.0.1").unwrap().handshake_failed(Instant::now());
        }
        assert_eq!(admit(&addresses, "127.0.0.1").unwrap_err(), AddressLimit::Failures);
        assert!(admit(&addresses, "127.0.0.2").is_ok());
        let later = Instant::now() + MINUTE;
        assert!(addresses.admit("127.0.0.1".parse().unwrap(), later).is_ok());
    }

    #[test]
    fn nothing_is_kept_of_an_address_with_nothing_open() {
        let addresses = addresses(9, 9, 9);
        for last in 0..=255 {
            drop(admit(&addresses, &format!("192.0.2.{last}")).unwrap());
            let origin = Origin::V4([192, 0, 2, last]);
            assert!(addresses.open.with(origin, |open| open.is_empty()));
        }
    }
}
