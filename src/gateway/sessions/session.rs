//! Session: one open connection after its handshake.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use time::{OffsetDateTime, PrimitiveDateTime};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::gateway::limits::in_flight::InFlight;
use crate::gateway::message::headers::AddressHeaders;
use crate::gateway::sessions::activity::Activity;
use crate::gateway::sessions::command::{Command, CutReason};
use crate::mtls::Peer;
use crate::mtls::tls::Protocol;

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
    pub(super) requests: Arc<AtomicUsize>,
    pub(super) command: Mutex<Command>,
    /// For the connection's own task.
    pub(super) ordered: Notify,
    /// For every request that is under way.
    pub(super) changed: Notify,
    /// When the reason to cut it was noticed.
    pub(super) cut_since: OnceLock<Instant>,
    pub(super) ended: AtomicBool,
    /// Whether what its last response has sent is to be taken back, as far as it can be.
    pub(super) abort_on_close: AtomicBool,
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
    pub fn signal(&self, command: Command, noticed: Instant) -> bool {
        let mut current = lock(&self.command);
        let stronger = command > *current;
        if stronger {
            if let Command::Cut(_) = command {
                // The first reason counts.
                let _ = self.cut_since.set(noticed);
            }
            *current = command;
            drop(current);
            self.ordered.notify_one();
            self.changed.notify_waiters();
        }
        stronger
    }

    /// Notes that the caller has given a request up; a connection on which little else happens is cut.
    pub fn request_cancelled(&self) {
        if self.activity.request_cancelled() {
            self.signal(Command::Cut(CutReason::CancelledRequests), Instant::now());
        }
    }

    /// Counts a request that goes upstream until the guard is dropped; `None` when the caller, on all of
    /// its connections, has `at_most` under way.
    #[must_use]
    pub fn begin_request(&self, at_most: usize) -> Option<InFlight> {
        InFlight::begin(&self.requests, at_most)
    }

    /// Why it is cut, and since when that is known.
    pub fn cut(&self) -> Option<(CutReason, Instant)> {
        match self.command() {
            Command::Cut(reason) => self.cut_since.get().map(|since| (reason, *since)),
            _ => None,
        }
    }

    /// Notes that its caller may not have the response that is under way any more. On HTTP/2 that is one of
    /// several, and the connection goes on.
    pub fn take_back(&self) {
        if self.protocol == Protocol::Http1 {
            self.abort_on_close.store(true, Ordering::Release);
        }
    }

    /// Whether what has been sent, and not been taken by the caller, is not for it any more when the
    /// connection ends.
    pub fn abort_on_close(&self) -> bool {
        let judged = matches!(self.command(), Command::Cut(reason) if reason.is_judgement() || reason == CutReason::Operator);
        judged || self.abort_on_close.load(Ordering::Acquire)
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
    pub fn command(&self) -> Command {
        *lock(&self.command)
    }

    /// Waits for an command stronger than `last_command`; for the connection's own task only.
    pub async fn command_beyond(&self, last_command: Command) -> Command {
        loop {
            let command = self.command();
            if command > last_command {
                return command;
            }
            self.ordered.notified().await;
        }
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

/// A panic in one connection must not end the others, and none of these locks guards an invariant that
/// a panic could break.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
