//! Client connections: sockets, accept loop, TLS handshake, HTTP connection.

pub mod connection;
pub mod handshake;
pub mod refusal;
pub mod worker;
