//! Results of requests with an `Idempotency-Key`: a request that is sent twice is carried out once.
//!
//! Results are kept in memory. After a restart, a repeated request is a new one, and is refused where it would issue a
//! second certificate of the same name.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::x509::Sha256;

/// Most kept results. The oldest are dropped first.
const CAPACITY: usize = 10_000;

/// Time for which a result is kept.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3_600);

/// Caller, endpoint and key of a request, as a digest.
type RequestKey = Sha256;

/// Results by the key of their request.
#[derive(Debug, Default)]
pub(super) struct IdempotencyStore(Mutex<Results>);

#[derive(Debug, Default)]
struct Results {
    entries: HashMap<RequestKey, Entry>,
    order: VecDeque<(Instant, RequestKey)>,
}

#[derive(Debug)]
struct Entry {
    body: Sha256,
    result: Option<StoredResult>,
}

/// Result of a request that was carried out.
#[derive(Clone, Debug)]
pub(super) struct StoredResult {
    pub(super) body: Vec<u8>,
    pub(super) location: String,
    pub(super) etag: String,
}

/// Outcome of a look for an earlier request.
#[derive(Debug)]
pub(super) enum Earlier {
    /// There was none. The ticket stores the result.
    None(Ticket),
    /// It is in flight.
    InFlight,
    /// It had another body.
    Different,
    /// It was carried out, with this result.
    Done(StoredResult),
}

/// Right to carry out a request. Dropped without a result, the request can be repeated.
#[derive(Debug)]
pub(super) struct Ticket {
    store: Arc<IdempotencyStore>,
    key: RequestKey,
}

impl IdempotencyStore {
    /// Looks for an earlier request of `caller` to `endpoint` with this key.
    pub(super) fn begin(
        self: &Arc<Self>,
        (caller, endpoint, key): (&str, &str, &str),
        body: &[u8],
        now: Instant,
    ) -> Earlier {
        let key = Sha256::of(format!("{caller}\0{endpoint}\0{key}").as_bytes());
        let body = Sha256::of(body);
        let mut results = self.results();
        results.expire(now);
        match results.entries.get(&key) {
            Some(entry) if entry.body != body => Earlier::Different,
            Some(Entry { result: None, .. }) => Earlier::InFlight,
            Some(Entry { result: Some(result), .. }) => Earlier::Done(result.clone()),
            None => {
                results.entries.insert(key, Entry { body, result: None });
                results.order.push_back((now, key));
                Earlier::None(Ticket { store: Arc::clone(self), key })
            }
        }
    }

    fn results(&self) -> MutexGuard<'_, Results> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Results {
    fn expire(&mut self, now: Instant) {
        while let Some((at, key)) = self.order.front().copied()
            && (self.order.len() >= CAPACITY || now.saturating_duration_since(at) >= KEPT_FOR)
        {
            self.order.pop_front();
            self.entries.remove(&key);
        }
    }
}

impl Ticket {
    /// Stores the result.
    pub(super) fn finish(self, result: StoredResult) {
        if let Some(entry) = self.store.results().entries.get_mut(&self.key) {
            entry.result = Some(result);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut results = self.store.results();
        if results.entries.get(&self.key).is_some_and(|entry| entry.result.is_none()) {
            results.entries.remove(&self.key);
            let key = self.key;
            results.order.retain(|(_, other)| *other != key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};

    fn result(text: &str) -> StoredResult {
        StoredResult { body: text.into(), location: String::new(), etag: String::new() }
    }

    #[test]
    fn a_repeated_request_has_the_first_result_for_a_day() {
        let clock = ManualClock::new(time::OffsetDateTime::UNIX_EPOCH);
        let store = Arc::new(IdempotencyStore::default());
        let ask = |caller, key, body: &[u8]| store.begin((caller, "issue", key), body, clock.monotonic());
        let Earlier::None(ticket) = ask("alice", "1", b"a") else { panic!("not the first") };
        assert!(matches!(ask("alice", "1", b"a"), Earlier::InFlight));
        ticket.finish(result("done"));
        assert!(matches!(ask("alice", "1", b"a"), Earlier::Done(result) if result.body == b"done"));
        assert!(matches!(ask("alice", "1", b"b"), Earlier::Different));
        assert!(matches!(ask("bob", "1", b"a"), Earlier::None(_)), "keys belong to their caller");
        clock.advance(KEPT_FOR);
        assert!(matches!(ask("alice", "1", b"b"), Earlier::None(_)));
    }

    #[test]
    fn a_failed_request_can_be_repeated() {
        let clock = ManualClock::new(time::OffsetDateTime::UNIX_EPOCH);
        let store = Arc::new(IdempotencyStore::default());
        drop(store.begin(("alice", "issue", "1"), b"a", clock.monotonic()));
        assert!(matches!(store.begin(("alice", "issue", "1"), b"b", clock.monotonic()), Earlier::None(_)));
    }

    #[test]
    fn keys_never_fill_the_memory() {
        let clock = ManualClock::new(time::OffsetDateTime::UNIX_EPOCH);
        let store = Arc::new(IdempotencyStore::default());
        for number in 0..CAPACITY * 2 {
            if let Earlier::None(ticket) =
                store.begin(("alice", "issue", &number.to_string()), b"", clock.monotonic())
            {
                ticket.finish(result(""));
            }
        }
        assert!(store.results().entries.len() <= CAPACITY && store.results().order.len() <= CAPACITY);
    }
}
