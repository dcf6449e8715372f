//! What is said about each request and each refused handshake, whatever became of it.
//!
//! A record is opened when the request arrives and written when it is finished or dropped, so that a
//! caller who goes away in the middle leaves a line too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::clock::Clock;
use crate::gateway::sessions::command::CutReason;
use crate::gateway::sessions::session::Session;
use crate::gateway::telemetry::events::{
    CallerFields, CutLine, HandshakeRefused, MalformedLine, RefusedLine, Timed, Timestamp, micros, shortened,
};
use crate::gateway::telemetry::line_log::LineLog;
use crate::gateway::telemetry::log_rate_limit::LogRateLimit;
use crate::gateway::telemetry::metrics::Metrics;
use crate::gateway::telemetry::refused_handshakes::RefusedHandshakes;

/// Where lines go and what time they bear.
#[derive(Debug)]
pub struct Telemetry {
    /// The access log.
    pub log: LineLog,
    /// The time of a line.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Metrics,
    /// The last refused handshakes.
    pub rejected: RefusedHandshakes,
    /// How many of them get a line of their own.
    pub flood: LogRateLimit,
    /// What the policy that is tried would have done otherwise.
    pub shadow: ShadowDifferences,
}

/// How many requests the policy that is tried would have treated otherwise than the one in force.
#[derive(Debug, Default)]
pub struct ShadowDifferences {
    /// It would have denied them.
    pub denied: AtomicU64,
    /// It would have permitted them, or sent them elsewhere.
    pub permitted: AtomicU64,
}

impl Telemetry {
    /// Tells into `log`, by `clock`, of what `workers` workers do.
    #[must_use]
    pub fn new(log: LineLog, clock: Arc<dyn Clock>, workers: usize) -> Self {
        Self {
            log,
            clock,
            metrics: Metrics::new(workers),
            rejected: RefusedHandshakes::default(),
            flood: LogRateLimit::new(),
            shadow: ShadowDifferences::default(),
        }
    }

    /// Counts a handshake that let a caller in.
    pub fn handshake_accepted(&self, session: &Session) {
        let peer = session.peer.as_ref();
        self.metrics.handshake_accepted(session.resumed, peer.map(|peer| (&peer.identity, peer.expires)));
    }

    /// Counts a handshake that `remote` tried and that was refused for `reason`; writes its line and keeps
    /// it, unless there are so many that nobody would read them.
    pub fn handshake_refused(
        &self,
        remote: SocketAddr,
        reason: &'static str,
        refused: impl FnOnce() -> HandshakeRefused,
    ) {
        self.metrics.handshake_refused(reason);
        if !self.flood.may_tell(remote.ip(), reason, self.clock.monotonic()) {
            return;
        }
        let refused = refused();
        let time = Timestamp(self.clock.now());
        self.log.append(&Timed { time, event: "handshake_refused", fields: &refused });
        self.rejected.keep(time, refused);
    }

    /// Writes one line about all refused handshakes since the last one that had none of their own.
    pub fn tell_untold(&self) {
        let reasons = self.flood.take_untold();
        if !reasons.is_empty() {
            let fields = RefusedLine { count: reasons.values().sum(), reasons };
            let time = Timestamp(self.clock.now());
            self.log.append(&Timed { time, event: "handshakes_refused", fields });
        }
    }

    /// Writes the line of a connection that has been cut while it was open, when nothing goes over it any
    /// more; `delay` is the time since the reason was noticed.
    pub fn connection_cut(&self, session: &Session, reason: CutReason, delay: Duration) {
        self.metrics.connection_cut(reason.code());
        if reason.is_judgement() {
            self.metrics.enforced(reason.code(), delay);
        }
        self.log.append(&Timed {
            time: Timestamp(self.clock.now()),
            event: "connection_cut",
            fields: CutLine {
                session: session.id,
                caller: CallerFields::of(session),
                reason: reason.code(),
                delay_us: micros(delay),
            },
        });
    }

    /// Writes the line of bytes that are no request; no record exists for them.
    pub fn request_malformed(&self, session: &Session, detail: &str) {
        self.metrics.request_malformed();
        self.log.append(&Timed {
            time: Timestamp(self.clock.now()),
            event: "request_malformed",
            fields: MalformedLine {
                session: session.id,
                caller: CallerFields::of(session),
                reason: "request.malformed",
                detail: shortened(detail),
            },
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::{Duration, macros::datetime};

    #[test]
    fn times_sort_as_text() {
        let begun = datetime!(2026-01-02 03:04:05.09 +02:00);
        let told = |ms: i64| serde_json::to_string(&Timestamp(begun + Duration::milliseconds(ms))).unwrap();
        assert_eq!(told(0), "\"2026-01-02T01:04:05.090Z\"");
        let told: Vec<_> = (0..2_000).map(told).collect();
        assert!(told.is_sorted());
    }
}
