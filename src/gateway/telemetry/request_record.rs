//! Record of one request, written to the access log and the metrics at its end.
//!
//! A record is opened when the request arrives, and written when it is finished or dropped. So a request that
//! the client cancels is logged too.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Method, StatusCode, Uri};

use crate::clock::turn_time_now;
use crate::error::Coded;
use crate::gateway::message::framing::RequestHost;
use crate::gateway::message::request_body::Upload;
use crate::gateway::policy::{Denial, RuleId, Verdict};
use crate::gateway::sessions::session::Session;
use crate::gateway::telemetry::events::micros;
use crate::gateway::telemetry::metrics::FinishedRequest;
use crate::gateway::telemetry::request_end::RequestEnd;
use crate::gateway::telemetry::request_line::{self, RequestFields};
use crate::gateway::telemetry::sinks::{ShadowDifferences, Telemetry};
use crate::gateway::tokens::TokenHolder;
use crate::serving::in_flight::InFlight;
use crate::serving::request_id::RequestId;

/// Record of one request.
#[derive(Debug)]
pub struct RequestRecord {
    telemetry: Arc<Telemetry>,
    session: Arc<Session>,
    id: RequestId,
    method: Method,
    host: Option<HeaderValue>,
    user: Option<Arc<TokenHolder>>,
    plain_scheme: bool,
    target: Option<PathAndQuery>,
    started: Instant,
    decision: &'static str,
    rule: Option<RuleId>,
    shadow: Option<Verdict>,
    upstream: Option<Arc<str>>,
    status: Option<StatusCode>,
    reason: Option<&'static str>,
    upload: Option<Arc<Upload>>,
    in_flight: Option<InFlight>,
    bytes_up: u64,
    bytes_out: u64,
    written: bool,
}

impl RequestRecord {
    /// Open the record of a request of `session`. It is boxed, since it is handed on from the head to the end of the
    /// response.
    pub fn begin(
        telemetry: &Arc<Telemetry>,
        session: &Arc<Session>,
        id: RequestId,
        method: &Method,
        uri: &Uri,
    ) -> Box<Self> {
        session.activity.request_started();
        Box::new(Self {
            telemetry: Arc::clone(telemetry),
            session: Arc::clone(session),
            id,
            method: method.clone(),
            host: None,
            user: None,
            plain_scheme: uri.scheme() == Some(&Scheme::HTTP),
            target: uri.path_and_query().cloned(),
            started: turn_time_now(&*telemetry.clock),
            decision: "none",
            rule: None,
            shadow: None,
            upstream: None,
            status: None,
            reason: None,
            upload: None,
            in_flight: None,
            bytes_up: 0,
            bytes_out: 0,
            written: false,
        })
    }

    /// ID of the request.
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// Start of the request on the monotonic clock.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Record the host that it names, as it was sent.
    pub fn addressed_to(&mut self, host: &RequestHost) {
        self.host = Some(host.value().clone());
    }

    /// Record the user of its access token.
    pub fn has_user(&mut self, user: &Arc<TokenHolder>) {
        self.user = Some(Arc::clone(user));
    }

    /// User of its access token.
    pub fn user(&self) -> Option<&TokenHolder> {
        self.user.as_deref()
    }

    /// Record that the policy permits it by `rule`.
    pub fn permitted(&mut self, rule: RuleId) {
        self.decision = "permit";
        self.rule = Some(rule);
    }

    /// Record that the policy denies it.
    pub fn denied(&mut self, denial: Denial) {
        self.decision = "deny";
        self.rule = denial.rule;
        self.fail(denial.reason.code());
    }

    /// Record the verdict of the shadow policy, if it differs from `verdict` of the policy in force.
    pub fn compared(&mut self, verdict: Verdict, shadow: Verdict) {
        if !shadow.differs_from(&verdict) {
            return;
        }
        let ShadowDifferences { denied, permitted } = &self.telemetry.shadow;
        let count = if matches!(shadow, Verdict::Deny(_)) { denied } else { permitted };
        count.fetch_add(1, Ordering::Relaxed);
        self.shadow = Some(shadow);
    }

    /// Record that it is forwarded to `upstream`. It counts as in flight until the record ends.
    pub fn forwarded(&mut self, upstream: &Arc<str>, upload: Arc<Upload>, in_flight: InFlight) {
        self.in_flight = Some(in_flight);
        self.upstream = Some(Arc::clone(upstream));
        self.upload = Some(upload);
    }

    /// Record the status of the response.
    pub fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// Record the reason of a failure; only the first one is kept.
    pub fn fail(&mut self, reason: &'static str) {
        self.reason.get_or_insert(reason);
    }

    /// Add `bytes` of the response body.
    pub fn sent(&mut self, bytes: usize) {
        self.bytes_out = self.bytes_out.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Record the bytes of a tunnel, `up` to the upstream and `down` to the client.
    pub fn tunnelled(&mut self, up: u64, down: u64) {
        self.bytes_up = up;
        self.bytes_out = self.bytes_out.saturating_add(down);
    }

    /// Write the record; `complete` states whether the whole response was sent.
    pub fn finish(&mut self, complete: bool) {
        if std::mem::replace(&mut self.written, true) {
            return;
        }
        let now = turn_time_now(&*self.telemetry.clock);
        self.session.activity.request_finished(now);
        if !complete {
            // A cut of the connection is the reason for all of its requests in flight.
            let cut = self.session.cut().map(|(reason, _)| reason.code());
            self.fail(cut.unwrap_or(RequestEnd::Aborted.code()));
        }
        let duration = now.saturating_duration_since(self.started);
        self.telemetry.metrics.request_finished(
            self.session.worker,
            &FinishedRequest {
                role: self.session.peer.as_ref().map(|peer| peer.identity.role),
                has_user: self.user.is_some(),
                decision: self.decision,
                rule: self.rule,
                status: self.status,
                duration,
                upstream: self.upstream.as_ref(),
                reason: self.reason,
            },
        );
        self.telemetry.log.append_with(|line| {
            let fields = RequestFields {
                request_id: self.id,
                user: self.user.as_deref().map(|user| &*user.log_fields),
                method: self.method.as_str(),
                host: self.host.as_ref().and_then(|host| host.to_str().ok()),
                plain_scheme: self.plain_scheme,
                // The query may contain secrets.
                path: self.target.as_ref().map(PathAndQuery::path),
                decision: self.decision,
                rule: self.rule,
                shadow: self.shadow,
                upstream: self.upstream.as_deref(),
                status: self.status.map(|status| status.as_u16()),
                reason: self.reason,
                bytes_in: self.upload.as_ref().map_or(0, |upload| upload.bytes()) + self.bytes_up,
                bytes_out: self.bytes_out,
                duration_us: micros(duration),
            };
            request_line::write(line, self.telemetry.clock.now(), &self.session, &fields);
        });
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        self.finish(false);
    }
}
