//! Decisions without a connection: explain one request, replay an access log.

pub mod check;
pub mod explain;
pub mod replay;
