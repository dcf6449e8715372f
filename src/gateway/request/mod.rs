//! One request, from its head to the end of its response.

pub mod authorization;
pub mod body;
pub mod h2_executor;
pub mod problem;
pub mod service;
pub mod stall_watch;
pub mod tunnel;
pub mod well_known;
