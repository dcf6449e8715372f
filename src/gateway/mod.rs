//! The gateway: who may make which call, and what the service behind it is told about the caller.

pub mod config;
pub mod framing;
pub mod headers;
pub mod path;
pub mod policy;
