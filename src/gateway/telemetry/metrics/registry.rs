//! Counters, one set per worker.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use time::OffsetDateTime;

use crate::gateway::policy::RuleId;
use crate::gateway::sessions::command::CutReason;
use crate::gateway::telemetry::metrics::expiries::Expiries;
use crate::gateway::telemetry::metrics::histogram::Histogram;
use crate::identity::{Identity, Role};

/// The counters of a gateway.
#[derive(Debug)]
pub struct Metrics {
    /// What requests are counted by, one for each worker.
    workers: Box<[Mutex<Requests>]>,
    /// What is rarer than requests.
    events: Mutex<Events>,
    expiries: Mutex<Expiries>,
}

/// A request that has come to its end.
#[derive(Debug)]
pub struct Finished<'a> {
    /// The caller's role, if it has one.
    pub role: Option<Role>,
    /// What was decided.
    pub decision: &'static str,
    /// The rule that decided.
    pub rule: Option<RuleId>,
    /// What it was answered with, if it was.
    pub status: Option<StatusCode>,
    /// How long it took.
    pub duration: Duration,
    /// Where it went.
    pub upstream: Option<&'a Arc<str>>,
    /// Why it did not go as asked.
    pub reason: Option<&'static str>,
}

impl Metrics {
    /// All at zero, for `workers` workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers).map(|_| Mutex::default()).collect(),
            events: Mutex::new(Events::at_zero()),
            expiries: Mutex::default(),
        }
    }

    /// Counts a request of worker `worker`.
    pub fn request_finished(&self, worker: usize, finished: &Finished<'_>) {
        if let Some(requests) = self.workers.get(worker) {
            lock(requests).count(finished);
        }
    }

    /// Counts bytes that are no request.
    pub fn request_malformed(&self) {
        lock(&self.events).malformed += 1;
    }

    /// Counts a handshake that let `caller` in, whose certificate ends at `expires`; a caller without
    /// one is `None`.
    pub fn handshake_accepted(&self, resumed: bool, caller: Option<(&Identity, OffsetDateTime)>) {
        *lock(&self.events).handshakes.entry(if resumed { "resumed" } else { "full" }).or_default() += 1;
        if let Some((identity, expires)) = caller {
            lock(&self.expiries).note(identity, expires);
        }
    }

    /// Counts a handshake that let nobody in.
    pub fn handshake_refused(&self, reason: &'static str) {
        *lock(&self.events).handshakes.entry(reason).or_default() += 1;
    }

    /// Counts a connection that was cut for `reason`.
    pub fn connection_cut(&self, reason: &'static str) {
        *lock(&self.events).connections_cut.entry(reason).or_default() += 1;
    }

    /// Counts a request under way that a new policy has ended for `reason`, so long after the change was
    /// noticed.
    pub fn request_cut(&self, reason: &'static str, delay: Duration) {
        *lock(&self.events).requests_cut.entry(reason).or_default() += 1;
        self.enforced(reason, delay);
    }

    /// Notes how long it took from the moment when it was known that somebody may not be there any more,
    /// for `reason`, until a connection or a request had ended.
    pub fn enforced(&self, reason: &'static str, delay: Duration) {
        lock(&self.events).delays.entry(reason).or_default().observe(delay);
    }

    /// What all workers have counted together.
    pub(crate) fn requests(&self) -> Requests {
        let mut all = Requests::default();
        for worker in &self.workers {
            // Copied first: nothing is computed while the worker could want it.
            let one = lock(worker).clone();
            all.add(&one);
        }
        all
    }

    pub(crate) fn events(&self) -> Events {
        lock(&self.events).clone()
    }

    /// When the first of the callers seen has to renew, by role.
    pub(crate) fn soonest_expiries(&self, now: OffsetDateTime) -> BTreeMap<Role, OffsetDateTime> {
        lock(&self.expiries).soonest(now)
    }

    /// Forgets what rules have decided that are no more.
    pub(crate) fn retain_rules(&self, still: impl Fn(RuleId) -> bool) {
        for worker in &self.workers {
            lock(worker).decisions.retain(|decided, _| decided.rule.is_none_or(&still));
        }
    }
}

/// What one worker counts; on cache lines of its own.
#[derive(Clone, Debug, Default)]
#[repr(align(128))]
pub(crate) struct Requests {
    pub(crate) decisions: HashMap<Decided, u64>,
    /// By the class of the status, from 1xx to 5xx; the first is for requests without an answer.
    pub(crate) answers: [u64; 6],
    pub(crate) duration: Histogram,
    pub(crate) upstream_errors: HashMap<(Arc<str>, &'static str), u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Decided {
    pub(crate) role: Option<Role>,
    pub(crate) decision: &'static str,
    pub(crate) rule: Option<RuleId>,
}

impl Requests {
    fn count(&mut self, finished: &Finished<'_>) {
        let &Finished { role, decision, rule, status, duration, upstream, reason } = finished;
        *self.decisions.entry(Decided { role, decision, rule }).or_default() += 1;
        let class = status.map_or(0, |status| usize::from(status.as_u16() / 100));
        if let Some(answers) = self.answers.get_mut(class) {
            *answers += 1;
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
        for (sum, count) in self.answers.iter_mut().zip(other.answers) {
            *sum += count;
        }
        self.duration.add(&other.duration);
        for (key, count) in &other.upstream_errors {
            *self.upstream_errors.entry(key.clone()).or_default() += count;
        }
    }
}

/// What all workers count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events {
    /// By `full`, `resumed`, or the code of the refusal.
    pub(crate) handshakes: BTreeMap<&'static str, u64>,
    /// By the code of the reason.
    pub(crate) connections_cut: BTreeMap<&'static str, u64>,
    /// By the code of the reason.
    pub(crate) requests_cut: BTreeMap<&'static str, u64>,
    pub(crate) malformed: u64,
    /// By the code of the reason.
    pub(crate) delays: BTreeMap<&'static str, Histogram>,
}

impl Events {
    /// With what is watched for there from the start: of a count that appears at 1, no increase is seen.
    fn at_zero() -> Self {
        let codes = || CutReason::JUDGEMENTS.into_iter().map(CutReason::code);
        Self {
            connections_cut: codes().map(|code| (code, 0)).collect(),
            delays: codes().map(|code| (code, Histogram::default())).collect(),
            ..Self::default()
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A count that a panic has interrupted is off by one, and not worth the others.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
