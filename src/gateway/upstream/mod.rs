//! Connection pools of upstreams, and signed assertions about the client.

pub mod assertion;
mod connect;
mod connection;
pub mod error;
pub mod pool;
pub mod response_check;
mod stream;
