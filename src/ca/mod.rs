//! What is done: a cluster's root made, certificates issued, renewed and revoked, revocation lists
//! written.
//!
//! [`Cluster`] looks at a home without changing it; [`Authority`] holds the right to change it and
//! the root's key. Everything about the directory itself is in [`Home`]. Nothing here prints, asks,
//! or knows that there is a network.

mod authority;
pub mod backup;
mod cluster;
mod context;
pub mod doctor;
mod error;
mod export;
mod forecast;
mod home;
mod initialize;
mod issuance;
mod keys;
mod revocation;
mod signing;
mod target;
mod verify;

pub use authority::Authority;
pub use cluster::Cluster;
pub use context::{Context, random_uuid};
pub use error::CaError;
pub use export::{HandOver, TrustFiles};
pub use forecast::{Breakage, Forecast, Gauges, Outage};
pub use home::directory::Home;
pub use home::recovered::Recovered;
pub use home::registrar::Registrar;
pub use initialize::{Initialized, NewCluster, initialize};
pub use issuance::renew::{NotRenewed, PlannedRenewal, Renewal, Renewed, RenewedKey};
pub use issuance::request::{Fulfilled, KeySource, LeafOrder, Planned};
pub use keys::kms::{Instead, RewrapOutcome, Rewrapped, Secrets};
pub use keys::protect::{Custody, Protected};
pub use revocation::crl::PublishedCrl;
pub use revocation::revoke::{Bulk, Released, Revoked};
pub use revocation::stale::Stale;
pub use target::{Target, TargetError};
pub use verify::{BrokenRule, Expectation, Verdict};
