//! Access log, metrics, and the most recent refused handshakes.
//!
//! | file | contents |
//! |---|---|
//! | `events` | Lines of the access log |
//! | `json_text` | JSON written into a buffer without an intermediate value, for the line of a request |
//! | `log_rate_limit` | Rate limit for log lines of refused handshakes |
//! | `metrics` | Metrics: counters and histograms |
//! | `refused_handshakes` | Most recent refused handshakes, in memory |
//! | `request_end` | Reasons for which a request ended without a whole response, as stable codes |
//! | `request_line` | Line of the access log for one request |
//! | `request_record` | Record of one request, written to the access log and the metrics at its end |
//! | `sinks` | Destinations of telemetry: access log, metrics, and recent refused handshakes |

pub mod events;
mod json_text;
pub mod log_rate_limit;
pub mod metrics;
pub mod refused_handshakes;
pub mod request_end;
mod request_line;
pub mod request_record;
pub mod sinks;
