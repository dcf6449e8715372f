//! Client connections: sockets, accept loop, TLS handshake, HTTP connection.

pub mod connection;
pub mod handshake;
mod plain_http;
pub mod refusal;
pub mod sockets;
pub mod worker;
