//! Open connections: registry, commands, and activity.

pub mod activity;
pub mod command;
mod linger;
pub mod registry;
pub mod session;
pub mod watched_stream;
