//! Destinations of telemetry: access log, metrics, and recent refused handshakes.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::clock::Clock;
use crate::gateway::sessions::command::CutReason;
use crate::gateway::sessions::session::Session;
use crate::gateway::telemetry::events::{
    ClientFields, CutFields, HandshakeRefused, LogLine, MalformedFields, SuppressedFields, Timestamp, micros,
    truncated,
};
use crate::gateway::telemetry::log_rate_limit::LogRateLimit;
use crate::gateway::telemetry::metrics::Metrics;
use crate::gateway::telemetry::refused_handshakes::RefusedHandshakes;
use crate::gateway::telemetry::request_end::RequestEnd;
use crate::serving::line_log::LineLog;

/// Access log, metrics, and recent refused handshakes of the gateway.
#[derive(Debug)]
pub struct Telemetry {
    /// Access log.
    pub log: LineLog,
    /// Clock for the time of a line.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub metrics: Metrics,
    /// Most recent refused handshakes.
    pub refused_handshakes: RefusedHandshakes,
    /// Rate limit of their log lines.
    pub log_rate_limit: LogRateLimit,
    /// Requests on which the shadow policy differs.
    pub shadow: ShadowDifferences,
}

/// Number of requests on which the shadow policy differs from the policy in force.
#[derive(Debug, Default)]
pub struct ShadowDifferences {
    /// Requests that the shadow policy would deny.
    pub denied: AtomicU64,
    /// Requests that the shadow policy would permit, or send to another upstream.
    pub permitted: AtomicU64,
}

impl Telemetry {
    /// Create telemetry for `workers` workers, which writes to `log`.
    #[must_use]
    pub fn new(log: LineLog, clock: Arc<dyn Clock>, workers: usize) -> Self {
        let log_rate_limit = LogRateLimit::new(clock.monotonic());
        Self {
            log,
            clock,
            metrics: Metrics::new(workers),
            refused_handshakes: RefusedHandshakes::default(),
            log_rate_limit,
            shadow: ShadowDifferences::default(),
        }
    }

    /// Count an accepted handshake.
    pub fn handshake_accepted(&self, session: &Session) {
        let peer = session.peer.as_ref();
        self.metrics.handshake_accepted(session.resumed, peer.map(|peer| (&peer.identity, peer.expires)));
    }

    /// Count and keep a refused handshake. Log it, unless its rate exceeds the limit.
    pub fn handshake_refused(&self, refused: HandshakeRefused) {
        self.metrics.handshake_refused(refused.reason);
        let time = Timestamp(self.clock.now());
        if self.log_rate_limit.allows_line(refused.remote.ip(), refused.reason.name(), self.clock.monotonic())
        {
            self.log.append(&LogLine { time, event: "handshake_refused", fields: &refused });
        }
        self.refused_handshakes.keep(time, refused);
    }

    /// Log one line about the refused handshakes without a line of their own since the last call.
    pub fn log_suppressed_refusals(&self) {
        let reasons = self.log_rate_limit.take_suppressed();
        if !reasons.is_empty() {
            let fields = SuppressedFields { count: reasons.values().sum(), reasons };
            let time = Timestamp(self.clock.now());
            self.log.append(&LogLine { time, event: "handshakes_refused", fields });
        }
    }

    /// Log an open connection that was cut, after it is closed; `delay` is the time since the reason was
    /// noticed.
    pub fn connection_cut(&self, session: &Session, reason: CutReason, delay: Duration) {
        self.metrics.connection_cut(reason.code());
        if reason.is_lapse() {
            self.metrics.enforced(reason.code(), delay);
        }
        self.log.append(&LogLine {
            time: Timestamp(self.clock.now()),
            event: "connection_closed",
            fields: CutFields {
                session: session.id,
                client: ClientFields::of(session),
                reason: reason.code(),
                delay_us: micros(delay),
            },
        });
    }

    /// Log bytes that are not a valid request, for which there is no record.
    pub fn request_malformed(&self, session: &Session, detail: &str) {
        self.metrics.request_malformed();
        self.log.append(&LogLine {
            time: Timestamp(self.clock.now()),
            event: "request_malformed",
            fields: MalformedFields {
                session: session.id,
                client: ClientFields::of(session),
                reason: RequestEnd::Malformed.code(),
                detail: truncated(detail),
            },
        });
    }
}
