//! Connection pools of upstreams, and signed assertions about the client.

pub mod assertion;
pub mod error;
pub mod pool;
pub mod response_check;
