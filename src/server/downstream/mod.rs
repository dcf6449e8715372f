//! TLS handshakes and HTTP connections.

mod accept;
mod connection;
mod handshake;
mod requests;

pub(super) use accept::run;
