//! Limits per address, per identity and per process.

pub mod connection_permit;
pub mod in_flight;
pub mod keepalive;
pub mod per_address;
pub mod rate_limit;
