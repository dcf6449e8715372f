//! Connection pools of upstreams, and signed assertions about the client.

pub mod assertion;
mod connect;
pub mod connection;
pub mod error;
mod interim_reader;
pub mod limits;
pub mod pool;
pub mod response_check;
mod stream;
