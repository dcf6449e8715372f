//! Connection pools of upstreams, and signed assertions about the client.

pub mod assertion;
pub mod body;
pub mod body_decoder;
mod connect;
pub mod connection;
pub mod error;
mod idle;
pub mod limits;
pub mod pool;
pub mod request_writer;
pub mod response_error;
pub mod response_head;
pub mod upgraded;
