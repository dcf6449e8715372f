//! Every open connection, under the certificates it stands on, with a way to end it.
//!
//! A connection is registered after its handshake and before its first request, and judged again if
//! the gateway's state changed in between: whoever swaps the state and then sweeps misses nobody.
//! Nothing here knows why a connection should end; the caller's verdict says so.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use time::OffsetDateTime;
use tokio::sync::Notify;

use super::peer::Peer;

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
    /// The gateway stops, and the time to finish is over.
    Shutdown,
    /// What is trusted has changed, and it is not among it any more.
    TrustChanged,
}

impl CutReason {
    /// The stable code of this reason.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::CertificateExpired => "connection.certificate_expired",
            Self::CertificateRevoked => "connection.certificate_revoked",
            Self::Shutdown => "connection.shutdown",
            Self::TrustChanged => "connection.trust_changed",
        }
    }
}

/// One open, authenticated connection.
#[derive(Debug)]
pub struct Session {
    /// Unique in this process.
    pub id: u64,
    /// Who is at the other end.
    pub peer: Arc<Peer>,
    /// The address at the other end.
    pub remote: SocketAddr,
    /// The TLS version that was agreed.
    pub tls_version: &'static str,
    /// The application protocol that was agreed by ALPN.
    pub protocol: &'static str,
    /// Whether the handshake resumed an earlier session.
    pub resumed: bool,
    order: Mutex<Order>,
    ordered: Notify,
}

impl Session {
    /// Tells the connection what to do; weaker than what it was told before, it changes nothing.
    ///
    /// Returns whether it changed anything.
    pub fn tell(&self, order: Order) -> bool {
        let mut current = lock(&self.order);
        let stronger = order > *current;
        if stronger {
            *current = order;
            self.ordered.notify_one();
        }
        stronger
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

/// What is known of a connection when its handshake is done.
#[derive(Debug)]
pub struct Opening {
    /// Who is at the other end.
    pub peer: Arc<Peer>,
    /// The address at the other end.
    pub remote: SocketAddr,
    /// The TLS version that was agreed.
    pub tls_version: &'static str,
    /// The application protocol that was agreed by ALPN.
    pub protocol: &'static str,
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
}

impl Registry {
    /// An empty registry for `workers` workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self { shards: (0..workers).map(|_| Mutex::default()).collect(), next_id: AtomicU64::new(1) }
    }

    /// Registers a connection of worker `worker` until the returned guard is dropped.
    #[must_use]
    pub fn register(self: &Arc<Self>, worker: usize, opening: Opening) -> Registration {
        let session = Arc::new(Session {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            peer: opening.peer,
            remote: opening.remote,
            tls_version: opening.tls_version,
            protocol: opening.protocol,
            resumed: opening.resumed,
            order: Mutex::new(Order::Serve),
            ordered: Notify::new(),
        });
        if let Some(shard) = self.shards.get(worker) {
            lock(shard).insert((session.peer.expires, session.id), Arc::clone(&session));
        }
        Registration { registry: Arc::clone(self), worker, session }
    }

    /// Tells each open connection what `verdict` says of it; returns those that were told anything new.
    pub fn sweep(&self, verdict: impl Fn(&Session) -> Order) -> Vec<Arc<Session>> {
        let mut told = Vec::new();
        for shard in &self.shards {
            // The verdict is reached outside the lock: a worker is not held up by a long list.
            let sessions: Vec<_> = lock(shard).values().cloned().collect();
            told.extend(sessions.into_iter().filter(|session| session.tell(verdict(session))));
        }
        told
    }

    /// Cuts the connections whose certificate, or an issuer's, is past its end at `now`; returns them.
    pub fn cut_expired(&self, now: OffsetDateTime) -> Vec<Arc<Session>> {
        let mut cut = Vec::new();
        for shard in &self.shards {
            let expired = lock(shard)
                .values()
                .take_while(|session| session.peer.expires < now)
                .cloned()
                .collect::<Vec<_>>();
            cut.extend(
                expired.into_iter().filter(|session| session.tell(Order::Cut(CutReason::CertificateExpired))),
            );
        }
        cut
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
            lock(shard).remove(&(self.session.peer.expires, self.session.id));
        }
    }
}

/// A panic in one connection must not end the others, and none of these locks guards an invariant that
/// a panic could break.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
