//! Every open connection, under the certificates it stands on, with a way to end it.
//!
//! A connection is registered after its handshake and before its first request, and judged again if
//! the gateway's state changed in between: whoever swaps the state and then sweeps misses nobody.
//! Nothing here knows why a connection should end; the caller's verdict says so.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use time::{Duration, OffsetDateTime};
use tokio::sync::Notify;

use crate::gateway::limits::rate_limit::Origin;
use crate::gateway::message::headers::AddressHeaders;
use crate::gateway::sessions::activity::Activity;
use crate::gateway::sessions::command::{Command, CutReason};
use crate::gateway::sessions::session::{Opening, Session, lock};
use crate::identity::Identity;
use crate::mtls::Peer;

/// The sessions of one worker, those that expire first in front.
type Shard = BTreeMap<(OffsetDateTime, u64), Arc<Session>>;

/// The open connections of the whole gateway; one shard a worker, so that workers never wait for
/// each other.
#[derive(Debug)]
pub struct Registry {
    shards: Box<[Mutex<Shard>]>,
    next_id: AtomicU64,
    counts: Mutex<Counts>,
    most_of_identity: usize,
}

/// How many connections there are, whatever the certificates.
#[derive(Debug, Default)]
struct Counts {
    of_callers: HashMap<Caller, ClientCounts>,
}

/// For whom connections and requests are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Caller {
    /// One that a certificate names.
    Identity(Identity),
    /// All without a certificate that come from one address: together they would let one of them shut out
    /// the others.
    Nobody(Origin),
}

/// What one caller has.
#[derive(Debug, Default)]
struct ClientCounts {
    connections: usize,
    requests: Arc<AtomicUsize>,
}

fn caller(peer: Option<&Peer>, remote: SocketAddr) -> Caller {
    match peer {
        Some(peer) => Caller::Identity(peer.identity.clone()),
        None => Caller::Nobody(remote.ip().into()),
    }
}

impl Registry {
    /// An empty registry for `workers` workers, in which no identity has more than `most_of_identity`
    /// connections; callers without a certificate count as one where they come from one address.
    #[must_use]
    pub fn new(workers: usize, most_of_identity: usize) -> Self {
        Self {
            shards: (0..workers).map(|_| Mutex::default()).collect(),
            next_id: AtomicU64::new(1),
            counts: Mutex::default(),
            most_of_identity,
        }
    }

    /// Registers a connection of worker `worker` until the returned guard is dropped; `None` when its
    /// identity has as many as it may have.
    #[must_use]
    pub fn register(self: &Arc<Self>, worker: usize, opening: Opening) -> Option<Registration> {
        let requests = self.count(caller(opening.peer.as_deref(), opening.remote))?;
        let session = Arc::new(Session {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            worker,
            peer: opening.peer,
            remote: opening.remote,
            tls_version: opening.tls_version,
            protocol: opening.protocol,
            resumed: opening.resumed,
            address: AddressHeaders::new(opening.remote.ip()),
            activity: Activity::new(),
            requests,
            command: Mutex::new(Command::Serve),
            ordered: Notify::new(),
            changed: Notify::new(),
            cut_since: OnceLock::new(),
            ended: AtomicBool::new(false),
            abort_on_close: AtomicBool::new(false),
        });
        if let Some(shard) = self.shards.get(worker) {
            lock(shard).insert((session.expires(), session.id), Arc::clone(&session));
        }
        Some(Registration { registry: Arc::clone(self), worker, session })
    }

    /// Counts a connection; gives where the requests of its caller are counted.
    fn count(&self, caller: Caller) -> Option<Arc<AtomicUsize>> {
        let mut counts = lock(&self.counts);
        let standing = counts.of_callers.entry(caller).or_default();
        if standing.connections >= self.most_of_identity {
            return None;
        }
        standing.connections += 1;
        Some(Arc::clone(&standing.requests))
    }

    fn discount(&self, caller: &Caller) {
        let mut counts = lock(&self.counts);
        match counts.of_callers.get_mut(caller) {
            Some(standing) if standing.connections > 1 => standing.connections -= 1,
            _ => drop(counts.of_callers.remove(caller)),
        }
    }

    /// Tells each open connection what `verdict` says of it; returns those that were told anything new.
    pub fn sweep(&self, noticed: Instant, verdict: impl Fn(&Session) -> Command) -> Vec<Arc<Session>> {
        self.shards.iter().flat_map(|shard| tell(lock(shard).values(), noticed, &verdict)).collect()
    }

    /// The same for the connections of one worker.
    pub fn sweep_worker(&self, worker: usize, verdict: impl Fn(&Session) -> Command) {
        if let Some(shard) = self.shards.get(worker) {
            tell(lock(shard).values(), Instant::now(), &verdict);
        }
    }

    /// Cuts the connections whose certificate, or an issuer's, is past its end at `now`; returns them.
    pub fn cut_expired(&self, now: OffsetDateTime) -> Vec<Arc<Session>> {
        let instant = Instant::now();
        let mut cut = Vec::new();
        for shard in &self.shards {
            for session in lock(shard).values() {
                // Its last second is one in which it holds (RFC 5280, section 4.1.2.5).
                let late = now - session.expires().saturating_add(Duration::SECOND);
                let Ok(late) = std::time::Duration::try_from(late) else { break };
                let since = instant.checked_sub(late).unwrap_or(instant);
                if session.signal(Command::Cut(CutReason::CertificateExpired), since) {
                    cut.push(Arc::clone(session));
                }
            }
        }
        cut
    }

    /// Wakes every request that is under way, so that it looks at the gateway's state again.
    pub fn announce_change(&self) {
        for shard in &self.shards {
            lock(shard).values().for_each(|session| session.changed.notify_waiters());
        }
    }

    /// The open connections, the oldest first.
    #[must_use]
    pub fn sessions(&self) -> Vec<Arc<Session>> {
        let mut sessions: Vec<_> =
            self.shards.iter().flat_map(|shard| lock(shard).values().cloned().collect::<Vec<_>>()).collect();
        sessions.sort_by_key(|session| session.id);
        sessions
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }
}

/// A registered connection; dropped, it is registered no more.
#[derive(Debug)]
pub struct Registration {
    registry: Arc<Registry>,
    worker: usize,
    session: Arc<Session>,
}

impl Registration {
    /// The session itself.
    #[must_use]
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(shard) = self.registry.shards.get(self.worker) {
            lock(shard).remove(&(self.session.expires(), self.session.id));
        }
        self.registry.discount(&caller(self.session.peer.as_deref(), self.session.remote));
        self.session.ended.store(true, Ordering::Release);
    }
}

fn tell<'a>(
    sessions: impl Iterator<Item = &'a Arc<Session>>,
    noticed: Instant,
    verdict: &impl Fn(&Session) -> Command,
) -> Vec<Arc<Session>> {
    sessions.filter(|session| session.signal(verdict(session), noticed)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mtls::tls::Protocol;
    use crate::x509::testing::{Root, client, now};
    use crate::x509::trust::Purpose;
    use rcgen::SanType;
    use time::Duration;

    /// A caller whose certificate ends so long from now.
    fn peer(name: &str, expires: Duration) -> Arc<Peer> {
        let root = Root::new("root");
        let mut params = client(7);
        params.not_after = now() + expires;
        params.subject_alt_names =
            vec![SanType::URI(format!("spiffe://prod/api-user/{name}").try_into().unwrap())];
        let chain = root.bundle().verify(&root.issue(&params), &[], Purpose::Client, now()).unwrap();
        let identity = Identity::of_certificate(&chain.leaf, &"prod".parse().unwrap()).unwrap();
        let headers = crate::mtls::IdentityHeaders::new(&identity, &chain.leaf).unwrap();
        let serial_number = chain.leaf.serial_number;
        let form = crate::mtls::IdentityForm::Spiffe;
        Arc::new(Peer { identity, form, serial_number, expires: chain.expires, headers, chain })
    }

    fn opening(peer: &Arc<Peer>) -> Opening {
        Opening {
            peer: Some(Arc::clone(peer)),
            remote: "192.0.2.1:5000".parse().unwrap(),
            tls_version: "1.3",
            protocol: Protocol::Http1,
            resumed: false,
        }
    }

    #[test]
    fn an_order_is_never_taken_back() {
        let registry = Arc::new(Registry::new(1, 10));
        let registration = registry.register(0, opening(&peer("alice", Duration::DAY))).unwrap();
        let session = registration.session();
        let cut = Command::Cut(CutReason::CertificateRevoked);
        assert!(session.signal(Command::Drain, Instant::now()) && session.signal(cut, Instant::now()));
        assert!(
            !session.signal(cut, Instant::now())
                && !session.signal(Command::Drain, Instant::now())
                && !session.signal(Command::Serve, Instant::now())
        );
        assert_eq!(session.command(), cut);
    }

    #[test]
    fn a_sweep_reaches_exactly_those_it_is_for() {
        let registry = Arc::new(Registry::new(2, 10));
        let (alice, bob) = (peer("alice", Duration::DAY), peer("bob", Duration::DAY));
        let open: Vec<_> = [(0, &alice), (1, &alice), (1, &bob)]
            .map(|(w, p)| registry.register(w, opening(p)).unwrap())
            .into();
        let verdict = |session: &Session| match session.peer.as_ref().unwrap().identity.name.as_str() {
            "alice" => Command::Cut(CutReason::CertificateRevoked),
            _ => Command::Serve,
        };
        assert_eq!(registry.sweep(Instant::now(), verdict).len(), 2);
        assert_eq!(registry.sweep(Instant::now(), verdict).len(), 0, "nobody is told twice");
        assert_eq!(open[2].session().command(), Command::Serve);
        drop(open);
        assert_eq!(registry.open(), 0);
    }

    #[test]
    fn connections_are_cut_once_their_certificate_has_ended() {
        let registry = Arc::new(Registry::new(1, 10));
        let (short, long) = (peer("alice", Duration::HOUR), peer("alice", Duration::DAY));
        let _open = [&long, &short, &long].map(|peer| registry.register(0, opening(peer)).unwrap());
        assert!(registry.cut_expired(now() + Duration::HOUR).is_empty(), "its last second counts");
        let cut = registry.cut_expired(now() + Duration::HOUR + Duration::SECOND);
        assert_eq!(cut.iter().map(|session| session.expires()).collect::<Vec<_>>(), [short.expires]);
    }

    #[test]
    fn an_identity_is_counted_across_workers_and_certificates() {
        let registry = Arc::new(Registry::new(2, 2));
        let first = registry.register(0, opening(&peer("alice", Duration::DAY))).unwrap();
        let _second = registry.register(1, opening(&peer("alice", Duration::HOUR))).unwrap();
        assert!(registry.register(0, opening(&peer("alice", Duration::DAY))).is_none());
        assert!(registry.register(0, opening(&peer("bob", Duration::DAY))).is_some());
        drop(first);
        assert!(registry.register(0, opening(&peer("alice", Duration::DAY))).is_some());
    }

    #[test]
    fn callers_without_a_certificate_are_counted_by_where_they_come_from() {
        let registry = Arc::new(Registry::new(1, 1));
        let from = |remote: &str| {
            let nobody =
                Opening { remote: remote.parse().unwrap(), ..opening(&peer("alice", Duration::DAY)) };
            registry.register(0, Opening { peer: None, ..nobody })
        };
        let first = from("192.0.2.1:5000").unwrap();
        assert!(from("192.0.2.1:5001").is_none());
        assert!(from("192.0.2.2:5000").is_some(), "one does not shut out another");
        let _held = from("[2001:db8::1]:5000").unwrap();
        assert!(from("[2001:db8::2]:5000").is_none(), "of one /64");
        drop(first);
        assert!(from("192.0.2.1:5001").is_some());
    }

    #[test]
    fn requests_are_counted_by_identity_and_not_by_connection() {
        let registry = Arc::new(Registry::new(2, 2));
        let [first, second] = [0, 1].map(|worker| {
            let lasting = Duration::days(worker + 1);
            registry.register(usize::try_from(worker).unwrap(), opening(&peer("alice", lasting))).unwrap()
        });
        let other = registry.register(0, opening(&peer("bob", Duration::DAY))).unwrap();
        let running = first.session().begin_request(2).unwrap();
        let _running = second.session().begin_request(2).unwrap();
        assert!(first.session().begin_request(2).is_none() && second.session().begin_request(2).is_none());
        assert!(other.session().begin_request(2).is_some());
        // It ends whether or not the connection does that it was on.
        drop((first, running));
        assert!(second.session().begin_request(2).is_some());
    }
}
