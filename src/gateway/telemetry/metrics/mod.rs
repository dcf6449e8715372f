//! What the gateway counts.
//!
//! Each worker has counters of its own, behind a lock that only a scrape contends for, and only while it
//! copies them: a request costs one lock that is free, and no allocation. No label says who: roles,
//! rules, upstreams and codes are as many as the configuration and this program have, names and serial
//! numbers as many as the cluster has callers.

mod expiries;
pub mod histogram;
mod registry;

pub(in crate::gateway) use registry::{Decided, Events, Requests};
pub use registry::{Finished, Metrics};
