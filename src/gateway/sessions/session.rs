//! Session: one open connection after its handshake.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use time::{OffsetDateTime, PrimitiveDateTime};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::gateway::message::known_header::KnownHeader;
use crate::gateway::sessions::activity::Activity;
use crate::gateway::sessions::command::{Command, CutReason};
use crate::mtls::Peer;
use crate::mtls::tls::Protocol;
use crate::serving::in_flight::InFlight;

/// Most bytes of interim responses that wait for the client.
const MAX_INTERIM_BYTES: usize = 64 << 10;

/// Open connection of a client.
#[derive(Debug)]
pub struct Session {
    /// Number, unique in this process.
    pub id: u64,
    /// Worker that serves it.
    pub worker: usize,
    /// Verified peer; `None` for a client without a certificate.
    pub peer: Option<Arc<Peer>>,
    /// Address of the client.
    pub remote: SocketAddr,
    /// Negotiated TLS version.
    pub tls_version: &'static str,
    /// Application protocol negotiated by ALPN.
    pub protocol: Protocol,
    /// True if the handshake resumed an earlier TLS session.
    pub resumed: bool,
    /// Server name of the handshake (RFC 6066, section 3); `None` if the client sent none.
    pub server_name: Option<Arc<str>>,
    /// Header of its last request.
    pub known_header: KnownHeader,
    /// Requests and bytes on the connection.
    pub activity: Activity,
    /// Requests of the client in flight to upstreams, on all of its connections.
    pub(super) requests: Arc<AtomicUsize>,
    pub(super) command: Mutex<Command>,
    /// Wake the task of the connection.
    pub(super) command_changed: Notify,
    /// Wake the requests in flight.
    pub(super) state_changed: Notify,
    /// Time at which the reason for cutting it was noticed.
    pub(super) cut_since: OnceLock<Instant>,
    /// Number and client as members of a JSON object, rendered for the first line of the access log.
    pub log_fields: OnceLock<Box<str>>,
    pub(super) ended: AtomicBool,
    /// True if unsent response data is discarded when the connection closes.
    pub(super) abort_on_close: AtomicBool,
    /// True if a request was answered before its body was read.
    pub(super) unread_request: AtomicBool,
    /// Interim responses to be written.
    pub(super) interims: Mutex<Vec<u8>>,
    /// True if there are any.
    pub(super) has_interims: AtomicBool,
    /// True if the connection is to give back its buffers while it is idle, or has done so.
    pub(super) park_wanted: AtomicBool,
    /// True while it has given them back.
    pub(super) parked: AtomicBool,
}

impl Session {
    /// Last second in which the certificate chain is valid; without a certificate, the end of time.
    #[must_use]
    pub fn expires(&self) -> OffsetDateTime {
        self.peer.as_ref().map_or(PrimitiveDateTime::MAX.assume_utc(), |peer| peer.expires)
    }

    /// Signal a command, for a reason noticed at `noticed`. A command weaker than the current one has no
    /// effect.
    ///
    /// Returns whether the command changed.
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
            self.command_changed.notify_one();
            self.state_changed.notify_waiters();
        }
        stronger
    }

    /// Record that the client cancelled a request. A connection with mostly cancelled requests is cut.
    pub fn request_cancelled(&self) {
        if self.activity.request_cancelled() {
            self.signal(Command::Cut(CutReason::CancelledRequests), self.activity.clock.monotonic());
        }
    }

    /// Count a request to an upstream until the guard is dropped; `None` if the client already has `at_most`
    /// in flight on all of its connections.
    #[must_use]
    pub fn begin_request(&self, at_most: usize) -> Option<InFlight> {
        InFlight::begin(&self.requests, at_most)
    }

    /// Reason for cutting the connection, and the time at which it was noticed; `None` if it is not being
    /// cut.
    pub fn cut(&self) -> Option<(CutReason, Instant)> {
        match self.command() {
            Command::Cut(reason) => self.cut_since.get().map(|since| (reason, *since)),
            _ => None,
        }
    }

    /// Discard unsent response data when the connection closes, because the client lost access to the
    /// response. No effect on HTTP/2, whose connection carries other responses and stays open.
    pub fn mark_abort_on_close(&self) {
        if self.protocol == Protocol::Http1 {
            self.abort_on_close.store(true, Ordering::Release);
        }
    }

    /// True if unsent response data is discarded when the connection closes.
    pub fn abort_on_close(&self) -> bool {
        let denied = matches!(self.command(), Command::Cut(reason) if reason.is_lapse() || reason == CutReason::Operator);
        denied || self.abort_on_close.load(Ordering::Acquire)
    }

    /// Record that a request is answered before its body was read, so that the client may still be sending it.
    pub fn mark_unread_request(&self) {
        self.unread_request.store(true, Ordering::Relaxed);
    }

    /// True if a request was answered before its body was read.
    pub fn has_unread_request(&self) -> bool {
        self.unread_request.load(Ordering::Relaxed)
    }

    /// Queue an interim response for an HTTP/1.1 client, who gets it before the final one. It is dropped if the client
    /// has not read earlier ones.
    pub fn queue_interim(&self, message: &[u8]) {
        let mut queued = lock(&self.interims);
        if queued.len() + message.len() <= MAX_INTERIM_BYTES {
            queued.extend_from_slice(message);
            self.has_interims.store(true, Ordering::Relaxed);
        }
    }

    /// Take the queued interim responses.
    pub(super) fn take_interims(&self) -> Vec<u8> {
        match self.has_interims.swap(false, Ordering::Relaxed) {
            true => std::mem::take(&mut *lock(&self.interims)),
            false => Vec::new(),
        }
    }

    /// True once the connection is closed.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Future that completes when, after this call, the command or the state of the gateway changes. Changes
    /// before its first poll count.
    pub fn changed(&self) -> Notified<'_> {
        self.state_changed.notified()
    }

    /// Strongest command so far.
    pub fn command(&self) -> Command {
        *lock(&self.command)
    }

    /// Ask an idle HTTP/1.1 connection to give back its buffers until its next request.
    pub fn park(&self) {
        if !self.park_wanted.swap(true, Ordering::Relaxed) {
            self.command_changed.notify_one();
        }
    }

    /// Record that the connection has given back its buffers.
    pub fn parked(&self) {
        self.parked.store(true, Ordering::Relaxed);
    }

    /// Record that the connection has its buffers again, or keeps them.
    pub fn unpark(&self) {
        self.parked.store(false, Ordering::Relaxed);
        self.park_wanted.store(false, Ordering::Relaxed);
    }

    /// True while it has given back its buffers.
    pub fn is_parked(&self) -> bool {
        self.parked.load(Ordering::Relaxed)
    }

    /// True if it was asked to give back its buffers, and has nothing to do that needs them.
    pub fn may_park(&self) -> bool {
        self.park_wanted.load(Ordering::Relaxed)
            && self.activity.is_at_rest()
            && !self.has_interims.load(Ordering::Relaxed)
            && self.command() == Command::Serve
    }

    /// Wait for a command stronger than `last_command`. Only for the task of the connection: a signal wakes
    /// one waiter.
    pub async fn stronger_command(&self, last_command: Command) -> Command {
        loop {
            match self.next_signal(last_command).await {
                Signal::Command(command) => return command,
                Signal::Park => {}
            }
        }
    }

    /// Wait for a command stronger than `last_command`, or for [`Session::park`]. Only for the task of the connection.
    pub async fn next_signal(&self, last_command: Command) -> Signal {
        let command = self.command();
        if command > last_command {
            return Signal::Command(command);
        }
        self.command_changed.notified().await;
        match self.command() {
            command if command > last_command => Signal::Command(command),
            _ => Signal::Park,
        }
    }
}

/// Signal to the task of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Stronger command than before.
    Command(Command),
    /// Request to give back its buffers, which may be outdated.
    Park,
}

/// Result of a handshake, from which a session is registered.
#[derive(Debug)]
pub struct NewSession {
    /// Verified peer; `None` for a client without a certificate.
    pub peer: Option<Arc<Peer>>,
    /// Address of the client.
    pub remote: SocketAddr,
    /// Negotiated TLS version.
    pub tls_version: &'static str,
    /// Application protocol negotiated by ALPN.
    pub protocol: Protocol,
    /// True if the handshake resumed an earlier TLS session.
    pub resumed: bool,
    /// Server name of the handshake (RFC 6066, section 3); `None` if the client sent none.
    pub server_name: Option<Arc<str>>,
}

/// Lock, even after a panic: a panic in one connection must not end the others, and none of these locks
/// guards an invariant that a panic could break.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
