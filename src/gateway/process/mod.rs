//! The gateway as a process: configuration, start, signals, demo upstream.

pub mod demo_upstream;
mod descriptors;
mod error;
pub(in crate::gateway) mod load;
pub mod run;
mod run_error;
mod start;

pub use error::GatewayError;
pub use run_error::RunError;
pub use start::{Gateway, Options, Running};
