//! The gateway as a process: start, signals, demo upstream.

pub mod demo_upstream;
pub mod run;
