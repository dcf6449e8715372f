//! Access log, metrics, and the most recent refused handshakes.

pub mod events;
mod json_text;
pub mod log_rate_limit;
pub mod metrics;
pub mod refused_handshakes;
mod request_line;
pub mod request_record;
pub mod sinks;
