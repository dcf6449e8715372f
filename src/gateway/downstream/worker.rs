//! One worker: a thread with a runtime, a listening socket and upstream connections of its own. Nothing
//! moves from one worker to another, so that none waits for another.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::error::Coded;
use crate::gateway::downstream::connection::{Http, serve};
use crate::gateway::downstream::handshake::{Refusal, admit};
use crate::gateway::limits::per_address::Place;
use crate::gateway::message::request_id::RequestIds;
use crate::gateway::mtls::server_config::Protocol;
use crate::gateway::sessions::registry::{CutReason, Order};
use crate::gateway::{Phase, Shared, StopOnPanic};

/// How many handshakes of one worker may be under way; further callers wait in the kernel's queue. It is
/// large because a caller who says nothing holds one of them until the deadline.
const HANDSHAKES: usize = 4_096;

/// How often idle connections are looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// How long accepting pauses when the system has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// A thread of the gateway.
#[derive(Debug)]
pub struct Worker {
    /// Its number, from 0.
    pub index: usize,
    /// What all workers share.
    pub gateway: Arc<Shared>,
    /// How HTTP is spoken with callers.
    pub http: Http,
    /// The numbers of its requests.
    pub request_ids: RequestIds,
    handshakes: Arc<Semaphore>,
}

impl Worker {
    /// Worker number `index`.
    #[must_use]
    pub fn new(index: usize, gateway: Arc<Shared>) -> Self {
        let limits = &gateway.limits;
        Self {
            index,
            http: Http::new(limits),
            request_ids: RequestIds::new(Arc::clone(&gateway.entropy)),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
            gateway,
        }
    }

    /// Accepts connections until the gateway drains, and serves them until it stops.
    pub async fn run(
        self: Arc<Self>,
        listeners: Vec<std::net::TcpListener>,
        mut phase: watch::Receiver<Phase>,
    ) {
        for (index, listener) in listeners.into_iter().enumerate() {
            match TcpListener::from_std(listener) {
                Ok(socket) => {
                    tokio::spawn(Arc::clone(&self).accept(index, socket, phase.clone()));
                }
                Err(error) => tracing::error!(%error, "a worker cannot listen"),
            }
        }
        let mut housekeeping = interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = Phase::reached(Phase::Stopped, &mut phase) => return,
                _ = housekeeping.tick() => self.keep_house(),
            }
        }
    }

    /// Ends what has been idle for too long, on both sides.
    fn keep_house(&self) {
        let limits = &self.gateway.limits;
        self.gateway.registry.sweep_worker(self.index, |session| {
            let activity = &session.activity;
            let overdue = activity.header().is_some_and(|header| header >= limits.header_timeout);
            let idle = activity.idle().unwrap_or_default();
            let stalled = activity.stalled().is_some_and(|stalled| stalled >= limits.stall_timeout);
            // On HTTP/2, each stream ends by itself.
            let one_by_one = session.protocol == Protocol::Http1;
            if overdue && one_by_one {
                Order::Cut(CutReason::HeaderTimeout)
            } else if stalled && one_by_one || idle >= limits.idle_timeout + limits.stall_timeout {
                // An idle connection was told to end, and cannot: its last response was never taken.
                Order::Cut(CutReason::Stalled)
            } else if idle >= limits.idle_timeout {
                Order::Drain
            } else {
                Order::Serve
            }
        });
        for upstream in &self.gateway.state.load().upstreams {
            upstream.close_idle(self.index);
        }
    }

    /// Accepts connections at `socket`, which is the listener of this number.
    async fn accept(
        self: Arc<Self>,
        listener: usize,
        socket: TcpListener,
        mut phase: watch::Receiver<Phase>,
    ) {
        let _stop_on_panic = StopOnPanic::new(Arc::clone(&self.gateway));
        loop {
            tokio::select! {
                biased;
                () = Phase::reached(Phase::Draining, &mut phase) => break,
                (permit, accepted) = self.next(&socket) => match accepted {
                    Ok((stream, remote)) => self.take(listener, permit, stream, remote),
                    // The one at the other end has gone already.
                    Err(error) if is_of_one_connection(&error) => {}
                    Err(error) => {
                        tracing::warn!(%error, "no connection can be accepted");
                        sleep(PAUSE).await;
                    }
                }
            }
        }
        self.take_waiting(listener, &socket).await;
    }

    /// The next connection, once there is room for its handshake: until then callers wait in the
    /// kernel's queue, where they cost nothing.
    async fn next(
        &self,
        socket: &TcpListener,
    ) -> (Option<OwnedSemaphorePermit>, io::Result<(TcpStream, SocketAddr)>) {
        let permit = Arc::clone(&self.handshakes).acquire_owned().await.ok();
        (permit, socket.accept().await)
    }

    /// Takes the connections that the kernel has accepted already: closing the socket would reset them.
    async fn take_waiting(self: &Arc<Self>, listener: usize, socket: &TcpListener) {
        std::future::poll_fn(|cx| {
            while let Poll::Ready(Ok((stream, remote))) = socket.poll_accept(cx) {
                self.take(listener, None, stream, remote);
            }
            Poll::Ready(())
        })
        .await;
    }

    fn take(
        self: &Arc<Self>,
        listener: usize,
        permit: Option<OwnedSemaphorePermit>,
        stream: TcpStream,
        remote: SocketAddr,
    ) {
        let slot = match Slot::take(&self.gateway, remote) {
            Ok(slot) => slot,
            Err(refusal) => {
                refusal.log(&self.gateway, remote, self.gateway.clock.monotonic());
                return;
            }
        };
        let worker = Arc::clone(self);
        tokio::spawn(async move {
            let admitted = admit(&worker, listener, stream, remote, slot).await;
            drop(permit);
            if let Some(admitted) = admitted {
                // A task of its own: the one that made the handshake is several times as large.
                tokio::spawn(serve(admitted));
            }
        });
    }
}

/// One of the connections that may be open, at all and from its address; dropped, it is free again.
#[derive(Debug)]
pub struct Slot {
    /// Its place among the connections of its address.
    pub place: Place,
    _one_of_all: OneOfAll,
}

impl Slot {
    fn take(gateway: &Arc<Shared>, remote: SocketAddr) -> Result<Self, Box<Refusal>> {
        let one_of_all = OneOfAll::take(gateway).ok_or_else(|| {
            Refusal::new("connection.limit", "as many connections are open as there may be")
        })?;
        let place = gateway.addresses.admit(remote.ip(), gateway.clock.monotonic());
        let place = place.map_err(|limit| Refusal::new(limit.code(), limit.to_string()))?;
        Ok(Self { place, _one_of_all: one_of_all })
    }
}

/// One of all connections that may be open.
#[derive(Debug)]
struct OneOfAll(Arc<Shared>);

impl OneOfAll {
    fn take(gateway: &Arc<Shared>) -> Option<Self> {
        let taken = gateway.connections.fetch_add(1, Relaxed);
        let one = Self(Arc::clone(gateway));
        (taken < gateway.limits.connections).then_some(one)
    }
}

impl Drop for OneOfAll {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

/// Errors of `accept` that belong to the connection that was waiting, not to the socket (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
    )
}
