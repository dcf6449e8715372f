//! What is said about each request and each refused handshake, whatever became of it.
//!
//! A record is opened when the request arrives and written when it is finished or dropped, so that a
//! caller who goes away in the middle leaves a line too.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};
use rustls_pki_types::CertificateDer;
use serde::{Serialize, Serializer};
use time::{OffsetDateTime, UtcOffset};

use crate::clock::Clock;
use crate::error::Coded;
use crate::gateway::message::request_id::RequestId;
use crate::gateway::policy::{Denial, RuleId, Verdict};
use crate::gateway::request::body::Upload;
use crate::gateway::sessions::registry::{CutReason, Session, UnderWay};
use crate::gateway::telemetry::line_log::LineLog;
use crate::gateway::telemetry::log_rate_limit::Flood;
use crate::gateway::telemetry::metrics::{Finished, Metrics};
use crate::gateway::telemetry::refused_handshakes::Rejected;
use crate::identity::{Name, Role};
use crate::x509::{KeyIdentifier, SerialNumber, Sha256};

/// The longest text from outside that a line repeats.
pub const LONGEST: usize = 1_024;

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
    pub rejected: Rejected,
    /// How many of them get a line of their own.
    pub flood: Flood,
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
            rejected: Rejected::default(),
            flood: Flood::new(),
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

/// Why a handshake ended without a connection, and what the other side presented.
#[derive(Clone, Debug, Serialize)]
pub struct HandshakeRefused {
    /// The address at the other end.
    pub remote: SocketAddr,
    /// The stable code of the reason.
    pub reason: &'static str,
    /// The reason in words.
    pub detail: String,
    /// Subject of the certificate that was presented, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Who it says issued it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Its serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<SerialNumber>,
    /// SHA-256 of its DER.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Sha256>,
    /// How long it took.
    pub duration_us: u64,
    /// The certificate itself; the log does without.
    #[serde(skip)]
    pub certificate: Option<CertificateDer<'static>>,
}

/// What became of a request so far.
#[derive(Debug)]
pub struct RequestRecord {
    telemetry: Arc<Telemetry>,
    session: Arc<Session>,
    id: RequestId,
    method: Method,
    target: Option<PathAndQuery>,
    begun: Instant,
    decision: &'static str,
    rule: Option<RuleId>,
    shadow: Option<Verdict>,
    upstream: Option<Arc<str>>,
    status: Option<StatusCode>,
    reason: Option<&'static str>,
    upload: Option<Arc<Upload>>,
    under_way: Option<UnderWay>,
    bytes_up: u64,
    bytes_out: u64,
    written: bool,
}

impl RequestRecord {
    /// Opens the record of a request of `session`.
    pub fn begin(
        telemetry: &Arc<Telemetry>,
        session: &Arc<Session>,
        id: RequestId,
        method: &Method,
        uri: &Uri,
    ) -> Self {
        session.activity.request_begins();
        Self {
            telemetry: Arc::clone(telemetry),
            session: Arc::clone(session),
            id,
            method: method.clone(),
            target: uri.path_and_query().cloned(),
            begun: telemetry.clock.monotonic(),
            decision: "none",
            rule: None,
            shadow: None,
            upstream: None,
            status: None,
            reason: None,
            upload: None,
            under_way: None,
            bytes_up: 0,
            bytes_out: 0,
            written: false,
        }
    }

    /// The number of the request, for headers and error bodies.
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// The policy lets it through, by `rule`.
    pub fn permitted(&mut self, rule: RuleId) {
        self.decision = "permit";
        self.rule = Some(rule);
    }

    /// The policy refuses it, for a reason.
    pub fn denied(&mut self, denial: Denial) {
        self.decision = "deny";
        self.rule = denial.rule;
        self.fail(denial.reason.code());
    }

    /// The policy in force has come to `verdict`, and the one that is tried to `shadow`, which is told
    /// where it makes a difference.
    pub fn compared(&mut self, verdict: Verdict, shadow: Verdict) {
        if !shadow.differs_from(&verdict) {
            return;
        }
        let ShadowDifferences { denied, permitted } = &self.telemetry.shadow;
        let count = if matches!(shadow, Verdict::Deny(_)) { denied } else { permitted };
        count.fetch_add(1, Ordering::Relaxed);
        self.shadow = Some(shadow);
    }

    /// It is on its way to `upstream`, and one of those that are until its record ends.
    pub fn forwarded(&mut self, upstream: &Arc<str>, upload: Arc<Upload>, under_way: UnderWay) {
        self.under_way = Some(under_way);
        self.upstream = Some(Arc::clone(upstream));
        self.upload = Some(upload);
    }

    /// The status that it is answered with.
    pub fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// Why it did not go as asked; the first reason stands.
    pub fn fail(&mut self, reason: &'static str) {
        self.reason.get_or_insert(reason);
    }

    /// `bytes` more of the response's body are on their way.
    pub fn sent(&mut self, bytes: usize) {
        self.bytes_out = self.bytes_out.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Bytes have passed through a tunnel, `up` to the upstream and `down` to the caller.
    pub fn tunnelled(&mut self, up: u64, down: u64) {
        self.bytes_up = up;
        self.bytes_out = self.bytes_out.saturating_add(down);
    }

    /// Writes the line; `complete` says whether all of the response went out.
    pub fn finish(&mut self, complete: bool) {
        if std::mem::replace(&mut self.written, true) {
            return;
        }
        self.session.activity.request_ends();
        if !complete {
            // What still runs on a connection that is cut goes down with it.
            let cut = self.session.cut().map(|(reason, _)| reason.code());
            self.fail(cut.unwrap_or("downstream.aborted"));
        }
        let duration = self.begun.elapsed();
        self.telemetry.metrics.request_finished(
            self.session.worker,
            &Finished {
                role: self.session.peer.as_ref().map(|peer| peer.identity.role),
                decision: self.decision,
                rule: self.rule,
                status: self.status,
                duration,
                upstream: self.upstream.as_ref(),
                reason: self.reason,
            },
        );
        self.telemetry.log.append(&Timed {
            time: Timestamp(self.telemetry.clock.now()),
            event: "request",
            fields: RequestLine {
                request_id: self.id,
                session: self.session.id,
                caller: CallerFields::of(&self.session),
                method: shortened(self.method.as_str()),
                // Without the query, which is where secrets are put.
                path: self.target.as_ref().map(|target| shortened(target.path())),
                decision: self.decision,
                rule: self.rule.map(Rule),
                shadow_decision: self.shadow.map(|shadow| shadow.as_str()),
                shadow_rule: self.shadow.and_then(|shadow| shadow.rule()).map(Rule),
                shadow_reason: self.shadow.and_then(|shadow| shadow.reason()).map(|reason| reason.code()),
                upstream: self.upstream.as_deref(),
                status: self.status.map(|status| status.as_u16()),
                reason: self.reason,
                bytes_in: self.upload.as_ref().map_or(0, |upload| upload.bytes()) + self.bytes_up,
                bytes_out: self.bytes_out,
                duration_us: micros(duration),
            },
        });
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        self.finish(false);
    }
}

/// Microseconds since `begun`.
pub fn micros_since(begun: Instant) -> u64 {
    micros(begun.elapsed())
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[derive(Serialize)]
struct Timed<T> {
    time: Timestamp,
    event: &'static str,
    #[serde(flatten)]
    fields: T,
}

#[derive(Serialize)]
struct RequestLine<'a> {
    request_id: RequestId,
    session: u64,
    #[serde(flatten)]
    caller: CallerFields<'a>,
    method: &'a str,
    path: Option<&'a str>,
    decision: &'static str,
    rule: Option<Rule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow_decision: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow_rule: Option<Rule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow_reason: Option<&'static str>,
    upstream: Option<&'a str>,
    status: Option<u16>,
    reason: Option<&'static str>,
    bytes_in: u64,
    bytes_out: u64,
    duration_us: u64,
}

/// Refused handshakes that have no line of their own.
#[derive(Serialize)]
struct RefusedLine {
    count: u64,
    /// How many for which reason.
    reasons: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct CutLine<'a> {
    session: u64,
    #[serde(flatten)]
    caller: CallerFields<'a>,
    reason: &'static str,
    delay_us: u64,
}

#[derive(Serialize)]
struct MalformedLine<'a> {
    session: u64,
    #[serde(flatten)]
    caller: CallerFields<'a>,
    reason: &'static str,
    detail: &'a str,
}

#[derive(Serialize)]
struct CallerFields<'a> {
    remote: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial_number: Option<SerialNumber>,
    /// The key that signed its certificate: serial numbers are unique under one key.
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer_key: Option<&'a KeyIdentifier>,
    tls_version: &'static str,
    alpn: &'static str,
    resumed: bool,
}

impl<'a> CallerFields<'a> {
    fn of(session: &'a Session) -> Self {
        let peer = session.peer.as_ref();
        Self {
            remote: session.remote,
            role: peer.map(|peer| peer.identity.role),
            name: peer.map(|peer| &peer.identity.name),
            serial_number: peer.map(|peer| peer.serial_number),
            issuer_key: peer.and_then(|peer| peer.chain.links.first()).map(|link| &link.issuer),
            tls_version: session.tls_version,
            alpn: session.protocol.as_str(),
            resumed: session.resumed,
        }
    }
}

/// A rule as it is named to people.
struct Rule(RuleId);

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A time with milliseconds, always three digits of them, so that lines sort as text; RFC 3339, UTC.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp(OffsetDateTime);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = self.0.to_offset(UtcOffset::UTC);
        let (date, (hour, minute, second, millisecond)) = (time.date(), time.time().as_hms_milli());
        serializer.collect_str(&format_args!("{date}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z"))
    }
}

/// Text from outside, bounded; what is dangerous in it is escaped by JSON.
fn shortened(text: &str) -> &str {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => text.get(..end).unwrap_or_default(),
        None => text,
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
