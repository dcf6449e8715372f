//! Every open connection, under the certificates it stands on, with a way to end it.
//!
//! A connection is registered after its handshake and before its first request, and judged again if
//! the gateway's state changed in between: whoever swaps the state and then sweeps misses nobody.
//! Nothing here knows why a connection should end; the caller's verdict says so.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use time::{Duration, OffsetDateTime, PrimitiveDateTime};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::error::Code;
use crate::gateway::limits::rate_limit::Origin;
use crate::gateway::message::headers::AddressHeaders;
use crate::gateway::mtls::peer::Peer;
use crate::gateway::mtls::server_config::Protocol;
use crate::gateway::sessions::activity::Activity;
use crate::identity::Identity;

/// What a connection has been told to do; a later order never takes back an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// Go on.
    Serve,
    /// Finish the requests that run, take no others.
    Drain,
    /// End now: no further request is answered.
    Cut(CutReason),
}

/// Why an open connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CutReason {
    /// Its certificate, or an issuer's, is past its end.
    CertificateExpired,
    /// Its certificate, or an issuer's, has been revoked.
    CertificateRevoked,
    /// The caller gave up most of its requests.
    GivenUp,
    /// The header of a request did not come to its end in time.
    HeaderTimeout,
    /// A person has closed it, on the admin socket.
    Operator,
    /// The gateway stops, and the time to finish is over.
    Shutdown,
    /// The caller did not take its responses.
    Stalled,
    /// What is trusted has changed, and it is not among it any more.
    TrustChanged,
}

impl CutReason {
    /// Those that say that the caller may not be here any more, whatever it does.
    pub const JUDGEMENTS: [Self; 3] =
        [Self::CertificateExpired, Self::CertificateRevoked, Self::TrustChanged];

    /// The code of it, with its class.
    #[must_use]
    pub const fn coded(self) -> Code {
        match self {
            Self::CertificateExpired => Code::refused("connection.certificate_expired"),
            Self::CertificateRevoked => Code::refused("connection.certificate_revoked"),
            Self::GivenUp => Code::refused("connection.given_up"),
            Self::HeaderTimeout => Code::refused("connection.header_timeout"),
            Self::Operator => Code::refused("connection.operator"),
            Self::Shutdown => Code::refused("connection.shutdown"),
            Self::Stalled => Code::refused("connection.stalled"),
            Self::TrustChanged => Code::refused("connection.trust_changed"),
        }
    }

    /// The code's name.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.coded().name()
    }

    /// Whether it is one of [`CutReason::JUDGEMENTS`].
    #[must_use]
    pub fn is_judgement(self) -> bool {
        Self::JUDGEMENTS.contains(&self)
    }
}

/// One open connection.
#[derive(Debug)]
pub struct Session {
    /// Unique in this process.
    pub id: u64,
    /// The worker that serves it.
    pub worker: usize,
    /// Who is at the other end; `None` for a caller without a certificate.
    pub peer: Option<Arc<Peer>>,
    /// The address at the other end.
    pub remote: SocketAddr,
    /// The TLS version that was agreed.
    pub tls_version: &'static str,
    /// The application protocol that was agreed by ALPN.
    pub protocol: Protocol,
    /// Whether the handshake resumed an earlier session.
    pub resumed: bool,
    /// What the service behind is told about where the caller connects from.
    pub address: AddressHeaders,
    /// Whether it is used.
    pub activity: Activity,
    /// How many requests its identity has under way upstream, on all of its connections.
    requests: Arc<AtomicUsize>,
    order: Mutex<Order>,
    /// For the connection's own task.
    ordered: Notify,
    /// For every request that is under way.
    changed: Notify,
    /// When the reason to cut it was noticed.
    cut_since: OnceLock<Instant>,
    ended: AtomicBool,
    /// Whether what its last response has sent is to be taken back, as far as it can be.
    takes_back: AtomicBool,
}

impl Session {
    /// The last second in which what it stands on holds; without a certificate, the end of time.
    #[must_use]
    pub fn expires(&self) -> OffsetDateTime {
        self.peer.as_ref().map_or(PrimitiveDateTime::MAX.assume_utc(), |peer| peer.expires)
    }

    /// Tells the connection what to do, for a reason that was noticed at `noticed`; weaker than what it
    /// was told before, it changes nothing.
    ///
    /// Returns whether it changed anything.
    pub fn tell(&self, order: Order, noticed: Instant) -> bool {
        let mut current = lock(&self.order);
        let stronger = order > *current;
        if stronger {
            if let Order::Cut(_) = order {
                // The first reason counts.
                let _ = self.cut_since.set(noticed);
            }
            *current = order;
            drop(current);
            self.ordered.notify_one();
            self.changed.notify_waiters();
        }
        stronger
    }

    /// Notes that the caller has given a request up; a connection on which little else happens is cut.
    pub fn request_given_up(&self) {
        if self.activity.request_given_up() {
            self.tell(Order::Cut(CutReason::GivenUp), Instant::now());
        }
    }

    /// Counts a request that goes upstream until the guard is dropped; `None` when the caller, on all of
    /// its connections, has `at_most` under way.
    #[must_use]
    pub fn begin_request(&self, at_most: usize) -> Option<UnderWay> {
        UnderWay::begin(&self.requests, at_most)
    }

    /// Why it is cut, and since when that is known.
    pub fn cut(&self) -> Option<(CutReason, Instant)> {
        match self.order() {
            Order::Cut(reason) => self.cut_since.get().map(|since| (reason, *since)),
            _ => None,
        }
    }

    /// Notes that its caller may not have the response that is under way any more. On HTTP/2 that is one of
    /// several, and the connection goes on.
    pub fn take_back(&self) {
        if self.protocol == Protocol::Http1 {
            self.takes_back.store(true, Ordering::Release);
        }
    }

    /// Whether what has been sent, and not been taken by the caller, is not for it any more when the
    /// connection ends.
    pub fn takes_back(&self) -> bool {
        let judged = matches!(self.order(), Order::Cut(reason) if reason.is_judgement() || reason == CutReason::Operator);
        judged || self.takes_back.load(Ordering::Acquire)
    }

    /// Whether nothing goes over the connection any more.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Is done when the connection is told something, or the gateway's state has changed, after this
    /// call, whenever it is polled.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// What the connection has been told last.
    pub fn order(&self) -> Order {
        *lock(&self.order)
    }

    /// Waits for an order stronger than `heeded`; for the connection's own task only.
    pub async fn ordered_beyond(&self, heeded: Order) -> Order {
        loop {
            let order = self.order();
            if order > heeded {
                return order;
            }
            self.ordered.notified().await;
        }
    }
}

/// One of so many things that may be under way; dropped, it is over.
#[derive(Debug)]
pub struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    /// One more of those that `count` counts; `None` when there are `at_most`.
    #[must_use]
    pub fn begin(count: &Arc<AtomicUsize>, at_most: usize) -> Option<Self> {
        let others = count.fetch_add(1, Ordering::Relaxed);
        let one = Self(Arc::clone(count));
        (others < at_most).then_some(one)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is known of a connection when its handshake is done.
#[derive(Debug)]
pub struct Opening {
    /// Who is at the other end; `None` for a caller without a certificate.
    pub peer: Option<Arc<Peer>>,
    /// The address at the other end.
    pub remote: SocketAddr,
    /// The TLS version that was agreed.
    pub tls_version: &'static str,
    /// The application protocol that was agreed by ALPN.
    pub protocol: Protocol,
    /// Whether the handshake resumed an earlier session.
    pub resumed: bool,
}

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
    of_callers: HashMap<Caller, Standing>,
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
struct Standing {
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
            order: Mutex::new(Order::Serve),
            ordered: Notify::new(),
            changed: Notify::new(),
            cut_since: OnceLock::new(),
            ended: AtomicBool::new(false),
            takes_back: AtomicBool::new(false),
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
    pub fn sweep(&self, noticed: Instant, verdict: impl Fn(&Session) -> Order) -> Vec<Arc<Session>> {
        self.shards.iter().flat_map(|shard| tell(lock(shard).values(), noticed, &verdict)).collect()
    }

    /// The same for the connections of one worker.
    pub fn sweep_worker(&self, worker: usize, verdict: impl Fn(&Session) -> Order) {
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
                if session.tell(Order::Cut(CutReason::CertificateExpired), since) {
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
    verdict: &impl Fn(&Session) -> Order,
) -> Vec<Arc<Session>> {
    sessions.filter(|session| session.tell(verdict(session), noticed)).cloned().collect()
}

/// A panic in one connection must not end the others, and none of these locks guards an invariant that
/// a panic could break.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let headers = crate::gateway::message::headers::IdentityHeaders::new(&identity, &chain.leaf).unwrap();
        let serial_number = chain.leaf.serial_number;
        let form = crate::gateway::mtls::identity_form::IdentityForm::Spiffe;
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
        let cut = Order::Cut(CutReason::CertificateRevoked);
        assert!(session.tell(Order::Drain, Instant::now()) && session.tell(cut, Instant::now()));
        assert!(
            !session.tell(cut, Instant::now())
                && !session.tell(Order::Drain, Instant::now())
                && !session.tell(Order::Serve, Instant::now())
        );
        assert_eq!(session.order(), cut);
    }

    #[test]
    fn a_sweep_reaches_exactly_those_it_is_for() {
        let registry = Arc::new(Registry::new(2, 10));
        let (alice, bob) = (peer("alice", Duration::DAY), peer("bob", Duration::DAY));
        let open: Vec<_> = [(0, &alice), (1, &alice), (1, &bob)]
            .map(|(w, p)| registry.register(w, opening(p)).unwrap())
            .into();
        let verdict = |session: &Session| match session.peer.as_ref().unwrap().identity.name.as_str() {
            "alice" => Order::Cut(CutReason::CertificateRevoked),
            _ => Order::Serve,
        };
        assert_eq!(registry.sweep(Instant::now(), verdict).len(), 2);
        assert_eq!(registry.sweep(Instant::now(), verdict).len(), 0, "nobody is told twice");
        assert_eq!(open[2].session().order(), Order::Serve);
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
