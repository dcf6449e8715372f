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
mod harness;

mod access;
mod framing;
mod headers;
mod identity;
mod life;
mod paths;
mod policy;
mod process;
mod upstream;
mod upstreams;
