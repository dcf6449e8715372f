//! Registry of open connections, ordered by expiry, with per-connection shutdown.
//!
//! A connection is registered after its handshake and before its first request. If the state of the gateway
//! changed in between, the certificate is verified again. So a swap of the state followed by a sweep reaches
//! every connection. The function passed to a sweep decides which connections are closed, and why.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use time::{Duration, OffsetDateTime};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::gateway::message::known_header::KnownHeader;
use crate::gateway::sessions::activity::Activity;
use crate::gateway::sessions::command::{Command, CutReason};
use crate::gateway::sessions::session::{NewSession, Session, lock};
use crate::identity::Identity;
use crate::mtls::Peer;
use crate::serving::rate_limit::SourcePrefix;

/// Sessions of one worker, by expiry and session number.
type Shard = BTreeMap<(OffsetDateTime, u64), Arc<Session>>;

/// Open connections of the whole gateway, in one shard per worker, so that workers do not contend for a lock.
#[derive(Debug)]
pub struct Registry {
    shards: Box<[Mutex<Shard>]>,
    next_id: AtomicU64,
    clients: Mutex<HashMap<ClientKey, ClientCounts>>,
    max_per_client: usize,
    clock: Arc<dyn Clock>,
}

/// Key under which connections and requests of a client are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ClientKey {
    /// Identity of the client certificate.
    Identity(Identity),
    /// Source of a client without a certificate. One key for all such clients would let one lock out the
    /// others.
    Anonymous(SourcePrefix),
}

/// Connections and requests of one client.
#[derive(Debug, Default)]
struct ClientCounts {
    connections: usize,
    requests: Arc<AtomicUsize>,
}

fn client_key(peer: Option<&Peer>, remote: SocketAddr) -> ClientKey {
    match peer {
        Some(peer) => ClientKey::Identity(peer.identity.clone()),
        None => ClientKey::Anonymous(remote.ip().into()),
    }
}

impl Registry {
    /// Create an empty registry for `workers` workers and at most `max_per_client` connections per client. A
    /// client is an identity, or a [`SourcePrefix`] for clients without a certificate.
    #[must_use]
    pub fn new(workers: usize, max_per_client: usize, clock: Arc<dyn Clock>) -> Self {
        Self {
            shards: (0..workers).map(|_| Mutex::default()).collect(),
            next_id: AtomicU64::new(1),
            clients: Mutex::default(),
            max_per_client,
            clock,
        }
    }

    /// Register a connection of worker `worker` until the returned guard is dropped; `None` if the client has
    /// reached its limit.
    #[must_use]
    pub fn register(self: &Arc<Self>, worker: usize, new: NewSession) -> Option<Registration> {
        let requests = self.count(client_key(new.peer.as_deref(), new.remote))?;
        let session = Arc::new(Session {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            worker,
            peer: new.peer,
            remote: new.remote,
            tls_version: new.tls_version,
            protocol: new.protocol,
            resumed: new.resumed,
            server_name: new.server_name,
            known_header: KnownHeader::default(),
            activity: Activity::new(Arc::clone(&self.clock)),
            requests,
            command: Mutex::new(Command::Serve),
            command_changed: Notify::new(),
            state_changed: Notify::new(),
            cut_since: OnceLock::new(),
            log_fields: OnceLock::new(),
            ended: AtomicBool::new(false),
            abort_on_close: AtomicBool::new(false),
            unread_request: AtomicBool::new(false),
            interims: Mutex::default(),
            has_interims: AtomicBool::new(false),
            park_wanted: AtomicBool::new(false),
            parked: AtomicBool::new(false),
        });
        if let Some(shard) = self.shards.get(worker) {
            lock(shard).insert((session.expires(), session.id), Arc::clone(&session));
        }
        Some(Registration { registry: Arc::clone(self), worker, session })
    }

    /// Count a connection of `client`; returns its request counter.
    fn count(&self, client: ClientKey) -> Option<Arc<AtomicUsize>> {
        let mut clients = lock(&self.clients);
        let counts = clients.entry(client).or_default();
        if counts.connections >= self.max_per_client {
            return None;
        }
        counts.connections += 1;
        Some(Arc::clone(&counts.requests))
    }

    fn uncount(&self, client: &ClientKey) {
        let mut clients = lock(&self.clients);
        match clients.get_mut(client) {
            Some(counts) if counts.connections > 1 => counts.connections -= 1,
            _ => drop(clients.remove(client)),
        }
    }

    /// Signal `command_for` to each open connection, for a reason noticed at `noticed`; returns the
    /// connections whose command changed.
    pub fn sweep(&self, noticed: Instant, command_for: impl Fn(&Session) -> Command) -> Vec<Arc<Session>> {
        self.shards.iter().flat_map(|shard| signal_all(lock(shard).values(), noticed, &command_for)).collect()
    }

    /// Signal `command_for` to each open connection of one worker.
    pub fn sweep_worker(&self, worker: usize, command_for: impl Fn(&Session) -> Command) {
        if let Some(shard) = self.shards.get(worker) {
            signal_all(lock(shard).values(), self.clock.monotonic(), &command_for);
        }
    }

    /// Cut the connections whose certificate, or an issuer's, has expired at `now`; returns them.
    pub fn cut_expired(&self, now: OffsetDateTime) -> Vec<Arc<Session>> {
        let instant = self.clock.monotonic();
        let mut cut = Vec::new();
        for shard in &self.shards {
            for session in lock(shard).values() {
                // The second of notAfter is still valid (RFC 5280, section 4.1.2.5).
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

    /// Wake every request in flight, so that it checks the state of the gateway again.
    pub fn notify_change(&self) {
        for shard in &self.shards {
            lock(shard).values().for_each(|session| session.state_changed.notify_waiters());
        }
    }

    /// Open connections, oldest first.
    #[must_use]
    pub fn sessions(&self) -> Vec<Arc<Session>> {
        let mut sessions: Vec<_> =
            self.shards.iter().flat_map(|shard| lock(shard).values().cloned().collect::<Vec<_>>()).collect();
        sessions.sort_by_key(|session| session.id);
        sessions
    }

    /// Number of open connections.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }
}

/// Registration of an open connection, removed when dropped.
#[derive(Debug)]
pub struct Registration {
    registry: Arc<Registry>,
    worker: usize,
    session: Arc<Session>,
}

impl Registration {
    /// Registered session.
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
        self.registry.uncount(&client_key(self.session.peer.as_deref(), self.session.remote));
        self.session.ended.store(true, Ordering::Release);
    }
}

fn signal_all<'a>(
    sessions: impl Iterator<Item = &'a Arc<Session>>,
    noticed: Instant,
    command_for: &impl Fn(&Session) -> Command,
) -> Vec<Arc<Session>> {
    sessions.filter(|session| session.signal(command_for(session), noticed)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::mtls::tls::Protocol;
    use crate::x509::testing::{Root, client, now};
    use crate::x509::trust::Purpose;
    use rcgen::SanType;
    use time::Duration;

    fn registry(workers: usize, max_per_client: usize) -> Arc<Registry> {
        Arc::new(Registry::new(workers, max_per_client, Arc::new(ManualClock::new(now()))))
    }

    /// Peer whose certificate expires after `expires`.
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

    fn new_session(peer: &Arc<Peer>) -> NewSession {
        NewSession {
            peer: Some(Arc::clone(peer)),
            remote: "192.0.2.1:5000".parse().unwrap(),
            tls_version: "1.3",
            protocol: Protocol::Http1,
            resumed: false,
            server_name: None,
        }
    }

    #[test]
    fn a_weaker_command_never_replaces_a_stronger_one() {
        let registry = registry(1, 10);
        let registration = registry.register(0, new_session(&peer("alice", Duration::DAY))).unwrap();
        let session = registration.session();
        let cut = Command::Cut(CutReason::CertificateRevoked);
        let noticed = registry.clock.monotonic();
        assert!(session.signal(Command::Drain, noticed) && session.signal(cut, noticed));
        assert!(
            !session.signal(cut, noticed)
                && !session.signal(Command::Drain, noticed)
                && !session.signal(Command::Serve, noticed)
        );
        assert_eq!(session.command(), cut);
    }

    #[test]
    fn a_sweep_signals_only_the_connections_it_selects() {
        let registry = registry(2, 10);
        let (alice, bob) = (peer("alice", Duration::DAY), peer("bob", Duration::DAY));
        let open: Vec<_> = [(0, &alice), (1, &alice), (1, &bob)]
            .map(|(w, p)| registry.register(w, new_session(p)).unwrap())
            .into();
        let command_for = |session: &Session| match session.peer.as_ref().unwrap().identity.name.as_str() {
            "alice" => Command::Cut(CutReason::CertificateRevoked),
            _ => Command::Serve,
        };
        assert_eq!(registry.sweep(registry.clock.monotonic(), command_for).len(), 2);
        assert_eq!(
            registry.sweep(registry.clock.monotonic(), command_for).len(),
            0,
            "a repeated sweep changes nothing"
        );
        assert_eq!(open[2].session().command(), Command::Serve);
        drop(open);
        assert_eq!(registry.open(), 0);
    }

    #[test]
    fn connections_are_cut_when_their_certificate_has_expired() {
        let registry = registry(1, 10);
        let (short, long) = (peer("alice", Duration::HOUR), peer("alice", Duration::DAY));
        let _open = [&long, &short, &long].map(|peer| registry.register(0, new_session(peer)).unwrap());
        assert!(
            registry.cut_expired(now() + Duration::HOUR).is_empty(),
            "valid through the second of notAfter"
        );
        let cut = registry.cut_expired(now() + Duration::HOUR + Duration::SECOND);
        assert_eq!(cut.iter().map(|session| session.expires()).collect::<Vec<_>>(), [short.expires]);
    }

    #[test]
    fn an_identity_is_counted_across_workers_and_certificates() {
        let registry = registry(2, 2);
        let first = registry.register(0, new_session(&peer("alice", Duration::DAY))).unwrap();
        let _second = registry.register(1, new_session(&peer("alice", Duration::HOUR))).unwrap();
        assert!(registry.register(0, new_session(&peer("alice", Duration::DAY))).is_none());
        assert!(registry.register(0, new_session(&peer("bob", Duration::DAY))).is_some());
        drop(first);
        assert!(registry.register(0, new_session(&peer("alice", Duration::DAY))).is_some());
    }

    #[test]
    fn clients_without_a_certificate_are_counted_by_source_address() {
        let registry = registry(1, 1);
        let from = |remote: &str| {
            let anonymous =
                NewSession { remote: remote.parse().unwrap(), ..new_session(&peer("alice", Duration::DAY)) };
            registry.register(0, NewSession { peer: None, ..anonymous })
        };
        let first = from("192.0.2.1:5000").unwrap();
        assert!(from("192.0.2.1:5001").is_none());
        assert!(from("192.0.2.2:5000").is_some(), "one source does not lock out another");
        let _held = from("[2001:db8::1]:5000").unwrap();
        assert!(from("[2001:db8::2]:5000").is_none(), "both in one /64");
        drop(first);
        assert!(from("192.0.2.1:5001").is_some());
    }

    #[test]
    fn requests_are_counted_per_identity_not_per_connection() {
        let registry = registry(2, 2);
        let [first, second] = [0, 1].map(|worker| {
            let lasting = Duration::days(worker + 1);
            registry.register(usize::try_from(worker).unwrap(), new_session(&peer("alice", lasting))).unwrap()
        });
        let other = registry.register(0, new_session(&peer("bob", Duration::DAY))).unwrap();
        let running = first.session().begin_request(2).unwrap();
        let _running = second.session().begin_request(2).unwrap();
        assert!(first.session().begin_request(2).is_none() && second.session().begin_request(2).is_none());
        assert!(other.session().begin_request(2).is_some());
        // The count drops although the connection of the request was closed first.
        drop((first, running));
        assert!(second.session().begin_request(2).is_some());
    }
}
