//! The gateway as a process: configuration, start, signals, demo upstream.
//!
//! | file | contents |
//! |---|---|
//! | `demo_upstream` | Embedded echo service, to try the gateway without an upstream |
//! | `descriptors` | Limit of open file descriptors, and the connections that fit into it |
//! | `error` | Errors of a gateway while it starts and runs |
//! | `load` | Loading of the configuration, state and access log of a command |
//! | `run` | Run of the gateway: start, and serve until a signal |
//! | `run_error` | Errors of the commands that load a configuration |
//! | `start` | Start of a gateway (load, bind, spawn threads), and the handle of a running one |

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
