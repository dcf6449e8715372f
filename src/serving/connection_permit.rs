//! Permit for one connection, within the limit of the process and of its address.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use super::in_flight::InFlight;
use super::per_address::{AddressLimit, AddressPermit, PerAddressLimits};
use crate::error::{Code, Coded};

/// Permit for one open connection, released when dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    /// Permit among the connections of the address.
    pub address: AddressPermit,
    _total: InFlight,
}

/// Limit that a new connection exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionLimit {
    /// Limit of the client's address.
    #[error(transparent)]
    Address(#[from] AddressLimit),
    /// `limits.connections_per_identity`.
    #[error("the caller has reached its limit of open connections")]
    Identity,
    /// `limits.connections`.
    #[error("the process has as many open connections as `limits.connections` allows")]
    Total,
}

impl Coded for ConnectionLimit {
    fn coded(&self) -> Code {
        match self {
            Self::Address(limit) => limit.coded(),
            Self::Identity => Code::refused("connection.identity_limit"),
            Self::Total => Code::refused("connection.limit"),
        }
    }
}

impl ConnectionPermit {
    /// Take a permit for a connection from `address`. `open` counts all connections; `max` limits them.
    ///
    /// # Errors
    /// [`ConnectionLimit`] that the connection would exceed.
    pub fn take(
        open: &Arc<AtomicUsize>,
        max: usize,
        addresses: &Arc<PerAddressLimits>,
        address: IpAddr,
        now: Instant,
    ) -> Result<Self, ConnectionLimit> {
        let total = InFlight::begin(open, max).ok_or(ConnectionLimit::Total)?;
        let address = addresses.admit(address, now)?;
        Ok(Self { address, _total: total })
    }
}
