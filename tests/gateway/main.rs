//! The gateway on real sockets: who gets in, what gets through, what the service behind is told.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

#[path = "../common/cluster.rs"]
mod cluster;
#[path = "../common/eventually.rs"]
mod eventually;
mod frames;
mod harness;

mod access;
mod admin;
mod assertion;
mod checklist;
mod clock;
mod cutoff;
mod explain;
mod flood;
mod framing;
mod headers;
mod hello;
mod identity;
mod intermediates;
mod life;
mod metrics;
mod panics;
mod paths;
mod policy;
mod process;
mod push;
mod reload;
mod resumption;
mod revocation;
mod stall;
mod tls;
mod upgrade;
mod upstream;
mod upstreams;
