//! The CA as a server: a REST API over TLS, for the commands of `cluster-ca` and for programs.
//!
//! A connection and a request fall through these rooms from top to bottom; a room imports only from those below it.
//!
//! | room | task |
//! |---|---|
//! | `commands` | what `cluster-ca serve` calls |
//! | `process` | start, signals, reload, housekeeping, graceful stop |
//! | `downstream` | TLS handshakes and HTTP connections |
//! | `api` | endpoints, callers, problems, OpenAPI description |
//! | `shared` | state shared by all connections |
//! | `telemetry` | access log and metrics |
//! | `state` | everything that a reload replaces |
//! | `accounts` | tokens of callers, logins in their turn |
//! | `home` | the opened home: queries and changes on threads of their own |
//! | [`config`] | configuration file |
//! | `error` | [`ServerError`] |

mod accounts;
mod api;
mod commands;
pub mod config;
mod downstream;
mod error;
mod home;
mod process;
mod shared;
mod state;
mod telemetry;

pub use commands::FUNCTIONS;
pub use error::ServerError;
