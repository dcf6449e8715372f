//! Counters of requests, one set per worker, and counters of rarer events.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use time::OffsetDateTime;

use crate::error::Code;
use crate::gateway::policy::RuleId;
use crate::gateway::sessions::command::CutReason;
use crate::gateway::telemetry::metrics::expiries::Expiries;
use crate::gateway::telemetry::metrics::histogram::Histogram;
use crate::identity::{Identity, Role};

/// Counters of the gateway.
#[derive(Debug)]
pub struct Metrics {
    /// Counters of requests, one set per worker.
    workers: Box<[Mutex<RequestCounts>]>,
    /// Counters of events that are rarer than requests.
    events: Mutex<EventCounts>,
    expiries: Mutex<Expiries>,
}

/// Outcome of one request, from which its counters are updated.
#[derive(Debug)]
pub struct FinishedRequest<'a> {
    /// Role of the client; `None` without a certificate.
    pub role: Option<Role>,
    /// True if an access token names a user.
    pub has_user: bool,
    /// Decision of the policy.
    pub decision: &'static str,
    /// Rule that decided.
    pub rule: Option<RuleId>,
    /// Status of the response, if there was one.
    pub status: Option<StatusCode>,
    /// Time from the request header to the end of the response.
    pub duration: Duration,
    /// Upstream that it was forwarded to.
    pub upstream: Option<&'a Arc<str>>,
    /// Code of the failure.
    pub reason: Option<&'static str>,
}

impl Metrics {
    /// Create counters at zero for `workers` workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers).map(|_| Mutex::default()).collect(),
            events: Mutex::new(EventCounts::at_zero()),
            expiries: Mutex::default(),
        }
    }

    /// Count a request of worker `worker`.
    pub fn request_finished(&self, worker: usize, finished: &FinishedRequest<'_>) {
        if let Some(requests) = self.workers.get(worker) {
            lock(requests).count(finished);
        }
    }

    /// Count bytes that are not a valid request.
    pub fn request_malformed(&self) {
        lock(&self.events).malformed += 1;
    }

    /// Count an accepted handshake. `client` is the identity and expiry of the client certificate, if there
    /// is one.
    pub fn handshake_accepted(&self, resumed: bool, client: Option<(&Identity, OffsetDateTime)>) {
        *lock(&self.events).handshakes.entry(if resumed { "resumed" } else { "full" }).or_default() += 1;
        if let Some((identity, expires)) = client {
            lock(&self.expiries).record(identity, expires);
        }
    }

    /// Count a refused handshake.
    pub fn handshake_refused(&self, reason: Code) {
        *lock(&self.events).handshakes.entry(reason.name()).or_default() += 1;
    }

    /// Count a connection that was cut for `reason`.
    pub fn connection_cut(&self, reason: &'static str) {
        *lock(&self.events).connections_cut.entry(reason).or_default() += 1;
    }

    /// Count a request in flight that a new policy cancelled for `reason`; `delay` is the time since the
    /// change was noticed.
    pub fn request_cut(&self, reason: &'static str, delay: Duration) {
        *lock(&self.events).requests_cut.entry(reason).or_default() += 1;
        self.enforced(reason, delay);
    }

    /// Record the delay from the notice that a client lost access, for `reason`, to the end of its connection
    /// or request.
    pub fn enforced(&self, reason: &'static str, delay: Duration) {
        lock(&self.events).delays.entry(reason).or_default().observe(delay);
    }

    /// Sum of the counters of all workers.
    pub(crate) fn requests(&self) -> RequestCounts {
        let mut all = RequestCounts::default();
        for worker in &self.workers {
            // Copied first, so that the worker does not wait for the sum.
            let one = lock(worker).clone();
            all.add(&one);
        }
        all
    }

    pub(crate) fn events(&self) -> EventCounts {
        lock(&self.events).clone()
    }

    /// Next expiry of a client certificate, by role.
    pub(crate) fn soonest_expiries(&self, now: OffsetDateTime) -> BTreeMap<Role, OffsetDateTime> {
        lock(&self.expiries).soonest(now)
    }

    /// Drop the counters of rules that no longer exist.
    pub(crate) fn retain_rules(&self, still: impl Fn(RuleId) -> bool) {
        for worker in &self.workers {
            lock(worker).decisions.retain(|decided, _| decided.rule.is_none_or(&still));
        }
    }
}

/// Counters of one worker, aligned to cache lines of their own.
#[derive(Clone, Debug, Default)]
#[repr(align(128))]
pub(crate) struct RequestCounts {
    pub(crate) decisions: HashMap<DecisionKey, u64, BuildHasherDefault<RuleHasher>>,
    /// By class of the status, 1xx to 5xx; the first entry counts requests without a response.
    pub(crate) responses: [u64; 6],
    pub(crate) duration: Histogram,
    /// Requests of users with an access token.
    pub(crate) with_user: u64,
    /// By code of the refusal.
    pub(crate) tokens_refused: BTreeMap<&'static str, u64>,
    pub(crate) upstream_errors: HashMap<(Arc<str>, &'static str), u64>,
}

/// Labels of a counter of decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DecisionKey {
    pub(crate) role: Option<Role>,
    pub(crate) decision: &'static str,
    pub(crate) rule: Option<RuleId>,
}

impl Hash for DecisionKey {
    /// The rule tells most keys apart.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.rule.map_or(0, |rule| rule.index + 1));
    }
}

/// Hasher of the numbers of rules. The configuration alone decides what they are, so that no client can choose keys
/// that collide.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RuleHasher(u64);

impl Hasher for RuleHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_usize(usize::from(*byte)));
    }

    fn write_usize(&mut self, number: usize) {
        // The golden ratio spreads consecutive numbers over the upper bits, which the rotation makes the lower ones.
        let mixed = self.0 ^ u64::try_from(number).unwrap_or(u64::MAX);
        self.0 = mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(20);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl RequestCounts {
    fn count(&mut self, finished: &FinishedRequest<'_>) {
        let &FinishedRequest { role, has_user, decision, rule, status, duration, upstream, reason } =
            finished;
        self.with_user += u64::from(has_user);
        if let Some(reason) = reason.filter(|code| code.starts_with("token.")) {
            *self.tokens_refused.entry(reason).or_default() += 1;
        }
        *self.decisions.entry(DecisionKey { role, decision, rule }).or_default() += 1;
        let class = status.map_or(0, |status| usize::from(status.as_u16() / 100));
        if let Some(responses) = self.responses.get_mut(class) {
            *responses += 1;
        }
        self.duration.observe(duration);
        if let (Some(upstream), Some(reason)) =
            (upstream, reason.filter(|code| code.starts_with("upstream.")))
        {
            *self.upstream_errors.entry((Arc::clone(upstream), reason)).or_default() += 1;
        }
    }

    fn add(&mut self, other: &Self) {
        for (decided, count) in &other.decisions {
            *self.decisions.entry(*decided).or_default() += count;
        }
        for (sum, count) in self.responses.iter_mut().zip(other.responses) {
            *sum += count;
        }
        self.duration.add(&other.duration);
        self.with_user += other.with_user;
        for (reason, count) in &other.tokens_refused {
            *self.tokens_refused.entry(reason).or_default() += count;
        }
        for (key, count) in &other.upstream_errors {
            *self.upstream_errors.entry(key.clone()).or_default() += count;
        }
    }
}

/// Counters shared by all workers.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventCounts {
    /// By `full`, `resumed`, or code of the refusal.
    pub(crate) handshakes: BTreeMap<&'static str, u64>,
    /// By code of the reason.
    pub(crate) connections_cut: BTreeMap<&'static str, u64>,
    /// By code of the reason.
    pub(crate) requests_cut: BTreeMap<&'static str, u64>,
    pub(crate) malformed: u64,
    /// By code of the reason.
    pub(crate) delays: BTreeMap<&'static str, Histogram>,
}

impl EventCounts {
    /// Create counters with the series that alerts depend on already at zero: a series that appears at 1
    /// shows no increase.
    fn at_zero() -> Self {
        let codes = || CutReason::LAPSES.into_iter().map(CutReason::code);
        Self {
            connections_cut: codes().map(|code| (code, 0)).collect(),
            delays: codes().map(|code| (code, Histogram::default())).collect(),
            ..Self::default()
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // After a panic, a counter may be off by one; the others stay usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
