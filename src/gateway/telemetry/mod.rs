//! Access log, metrics, and the most recent refused handshakes.

pub mod events;
pub mod line_log;
pub mod log_file;
pub mod log_rate_limit;
pub mod metrics;
pub mod refused_handshakes;
pub mod request_record;
pub mod sinks;
