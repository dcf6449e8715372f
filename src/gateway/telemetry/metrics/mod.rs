//! Metrics: counters and histograms.
//!
//! Each worker has its own counters. Only a scrape contends for their lock, while it copies them. So a
//! request takes one uncontended lock and allocates nothing.
//!
//! Labels are roles, rules, upstreams and codes, whose number is bounded by the configuration and this
//! program. Names and serial numbers are no labels: their number grows with the clients of the cluster.

mod expiries;
pub mod histogram;
mod registry;

pub(in crate::gateway) use registry::{DecisionKey, EventCounts, RequestCounts};
pub use registry::{FinishedRequest, Metrics};
