//! Commands without a connection: check a configuration, explain a request, replay an access log.

pub mod check;
pub mod explain;
pub mod replay;
