//! Access log, metrics, and the most recent refused handshakes.

pub mod events;
mod json_text;
pub mod log_rate_limit;
pub mod metrics;
pub mod refused_handshakes;
pub mod request_end;
mod request_line;
pub mod request_record;
pub mod sinks;
