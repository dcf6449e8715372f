//! One worker: a thread with a runtime, a listening socket and upstream connections of its own. Nothing
//! moves from one worker to another, so that none waits for another.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::error::Coded;
use crate::gateway::control::reload::Control;
use crate::gateway::downstream::connection::{Http, serve};
use crate::gateway::downstream::handshake::accept;
use crate::gateway::downstream::refusal::Refusal;
use crate::gateway::limits::connection_permit::ConnectionPermit;
use crate::gateway::request::context::WorkerContext;
use crate::gateway::sessions::command::{Command, CutReason};
use crate::gateway::shared::{Phase, StopOnPanic};
use crate::mtls::tls::Protocol;

/// How many handshakes of one worker may be under way; further callers wait in the kernel's queue. It is
/// large because a caller who says nothing holds one of them until the deadline.
const HANDSHAKES: usize = 4_096;

/// How often idle connections are looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// How long accepting pauses when the system has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// Worker thread: accepts and serves connections.
#[derive(Debug)]
pub struct Worker {
    /// Context of its requests.
    pub context: Arc<WorkerContext>,
    /// HTTP towards clients.
    pub http: Arc<Http>,
    handshakes: Arc<Semaphore>,
}

impl Worker {
    /// Worker number `index`.
    #[must_use]
    pub fn new(index: usize, control: Arc<Control>) -> Self {
        Self {
            http: Arc::new(Http::new(&control.shared.limits)),
            context: Arc::new(WorkerContext::new(index, control)),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
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
        let limits = &self.context.gateway.limits;
        self.context.gateway.registry.sweep_worker(self.context.index, |session| {
            let activity = &session.activity;
            let overdue = activity.header_pending_for().is_some_and(|header| header >= limits.header_timeout);
            let idle = activity.idle_for().unwrap_or_default();
            let stalled = activity.stalled_for().is_some_and(|stalled| stalled >= limits.stall_timeout);
            // On HTTP/2, each stream ends by itself.
            let one_by_one = session.protocol == Protocol::Http1;
            if overdue && one_by_one {
                Command::Cut(CutReason::HeaderTimeout)
            } else if stalled && one_by_one || idle >= limits.idle_timeout + limits.stall_timeout {
                // An idle connection was told to end, and cannot: its last response was never taken.
                Command::Cut(CutReason::Stalled)
            } else if idle >= limits.idle_timeout {
                Command::Drain
            } else {
                Command::Serve
            }
        });
        for upstream in &self.context.gateway.state.load().settings.upstreams {
            upstream.close_idle(self.context.index);
        }
    }

    /// Accepts connections at `socket`, which is the listener of this number.
    async fn accept(
        self: Arc<Self>,
        listener: usize,
        socket: TcpListener,
        mut phase: watch::Receiver<Phase>,
    ) {
        let _stop_on_panic = StopOnPanic::new(Arc::clone(&self.context.gateway));
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
        handshake: Option<OwnedSemaphorePermit>,
        stream: TcpStream,
        remote: SocketAddr,
    ) {
        let gateway = &self.context.gateway;
        let permit = ConnectionPermit::take(
            &gateway.connections,
            gateway.limits.connections,
            &gateway.addresses,
            remote.ip(),
            gateway.clock.monotonic(),
        );
        let permit = match permit {
            Ok(permit) => permit,
            Err(limit) => {
                Refusal::new(limit.code(), limit.to_string()).log(gateway, remote, gateway.clock.monotonic());
                return;
            }
        };
        let worker = Arc::clone(self);
        tokio::spawn(async move {
            let accepted = accept(&worker.context, listener, stream, remote, permit).await;
            drop(handshake);
            if let Some(accepted) = accepted {
                // A task of its own: the one that made the handshake is several times as large.
                tokio::spawn(serve(Arc::clone(&worker.http), Arc::clone(&worker.context), accepted));
            }
        });
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
