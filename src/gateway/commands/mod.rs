//! Command line of `cluster-gateway`.

mod admin;
mod offline;
mod outcome;
mod output;
mod program;
mod run;

pub use program::{main, run};
