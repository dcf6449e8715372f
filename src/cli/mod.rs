//! The command line of `cluster-ca`: its commands, and what they share.

mod actor;
mod commands;
mod custody;
mod input;
mod password;
mod program;
mod secrets;
mod session;
mod unlock;

pub use program::{Cli, main, run};
