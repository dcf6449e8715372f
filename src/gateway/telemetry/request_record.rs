//! Record of one request, written to log and metrics when it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};

use crate::error::Coded;
use crate::gateway::limits::in_flight::InFlight;
use crate::gateway::message::request_body::Upload;
use crate::gateway::message::request_id::RequestId;
use crate::gateway::policy::{Denial, RuleId, Verdict};
use crate::gateway::sessions::session::Session;
use crate::gateway::telemetry::events::{
    CallerFields, RequestLine, Rule, Timed, Timestamp, micros, shortened,
};
use crate::gateway::telemetry::metrics::Finished;
use crate::gateway::telemetry::sinks::{ShadowDifferences, Telemetry};

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
    under_way: Option<InFlight>,
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
    pub fn forwarded(&mut self, upstream: &Arc<str>, upload: Arc<Upload>, under_way: InFlight) {
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
