//! Command line of `cluster-ca`: commands and their shared options.

mod actor;
mod commands;
mod environment;
mod group;
mod input;
mod key_protection;
mod password;
mod program;
mod secrets;
mod server_args;
mod session;
mod unlock;

pub use program::{Cli, main, run};
