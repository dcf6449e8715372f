//! Parts of every server process of ours: sockets, limits per address, request IDs, log lines, metrics listener.
//!
//! | part | contents |
//! |---|---|
//! | `sockets`, [`keepalive`], `linger` | listening sockets, TCP keepalive, the end of a refused connection |
//! | [`connection_permit`], [`in_flight`], [`per_address`], [`rate_limit`] | limits of connections, handshakes and rates |
//! | `negotiation`, `plain_http` | TLS handshake, and the answer to plain HTTP on a TLS port |
//! | [`request_id`] | random request IDs |
//! | [`access_log`], [`line_log`], [`log_file`], `logging` | log lines, written by threads of their own |
//! | `metrics_listener` | plain HTTP listener for metrics and health |

pub mod access_log;
pub mod connection_permit;
pub mod in_flight;
pub mod keepalive;
pub mod line_log;
pub(crate) mod linger;
pub mod log_file;
pub(crate) mod logging;
pub(crate) mod metrics_listener;
pub(crate) mod negotiation;
pub mod per_address;
pub(crate) mod plain_http;
pub mod rate_limit;
pub mod request_id;
pub(crate) mod sockets;
