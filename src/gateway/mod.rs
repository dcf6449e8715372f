//! The gateway: mutual TLS in front of a REST API, policy per request, identity headers to the upstream.
//!
//! A connection and a request fall through these rooms from top to bottom; a room imports only from those below it.
//!
//! | room | task |
//! |---|---|
//! | [`commands`] | command line of `cluster-gateway` |
//! | [`process`] | start and run the gateway as a process, with a demo upstream |
//! | [`offline`] | check a configuration, explain a decision, replay an access log |
//! | [`downstream`] | sockets, workers, TLS handshakes, HTTP connections |
//! | [`admin`] | admin socket and metrics listener |
//! | [`request`] | one request, from its head to the end of its response |
//! | [`control`] | reload, pushed CRLs, file changes, housekeeping, status |
//! | [`shared`] | state shared by all workers |
//! | [`telemetry`] | access log, metrics, refused handshakes |
//! | [`state`] | everything that a reload replaces |
//! | [`sessions`] | registry of open connections |
//! | [`upstream`] | connections to upstreams, signed assertions |
//! | [`tokens`] | access tokens of users, and the statement that judges them |
//! | [`config`] | configuration file |
//! | [`policy`] | routes, and the decision on a request |
//! | [`message`] | HTTP messages: framing, path, headers, bodies |

pub mod admin;
pub mod commands;
pub mod config;
pub mod control;
pub mod downstream;
pub mod message;
pub mod offline;
pub mod policy;
pub mod process;
pub mod request;
pub mod sessions;
pub mod shared;
pub mod state;
pub mod telemetry;
pub mod tokens;
pub mod upstream;

pub use process::{Gateway, GatewayError, Options, Running};
