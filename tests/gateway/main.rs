//! The gateway on real sockets: who gets in, what gets through, what the service behind is told.

#![expect(clippy::disallowed_methods, reason = "the tests time real processes")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

#[expect(dead_code, reason = "shared with other test binaries, which use more of it")]
#[path = "../common/bao.rs"]
mod bao;
#[path = "../common/cluster.rs"]
mod cluster;
#[path = "../common/eventually.rs"]
mod eventually;
mod frames;
#[expect(dead_code, reason = "shared with other test binaries, which use more of it")]
#[path = "../common/front.rs"]
mod front;
mod harness;
#[expect(dead_code, reason = "shared with other test binaries, which use more of it")]
#[path = "../common/home.rs"]
mod home;

mod access;
mod admin;
mod assertion;
mod checklist;
mod clock;
mod closing;
mod content;
mod crl_model;
mod cutoff;
mod departures;
mod explain;
mod flood;
mod framing;
mod headers;
mod hello;
mod identity;
mod idle;
mod interim;
mod intermediates;
mod life;
mod metrics;
mod narrowing;
mod panics;
mod paths;
mod plain_http;
mod policy;
mod process;
mod push;
mod readings;
mod reload;
mod resumption;
mod reuse;
mod revocation;
mod server_key;
mod stall;
mod streams;
mod system_calls;
mod tls;
mod token_server;
mod token_tools;
mod tokens;
mod trust;
mod upgrade;
mod upstream;
mod upstreams;
