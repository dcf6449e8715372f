//! Limits per address, per identity and per process.

pub mod per_address;
pub mod rate_limit;
