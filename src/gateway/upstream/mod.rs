//! Connections to upstreams, and signed assertions about the client.

pub mod assertion;
pub mod pool;
