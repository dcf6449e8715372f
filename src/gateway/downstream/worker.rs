//! Worker: a thread with its own runtime, listening sockets and upstream connections. Connections never
//! move between workers, so that no worker waits for another.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::clock::begin_turn;
use crate::gateway::control::reload::Control;
use crate::gateway::downstream::connection::{HttpServer, serve};
use crate::gateway::downstream::handshake::accept;
use crate::gateway::downstream::refusal::Refusal;
use crate::gateway::request::context::WorkerContext;
use crate::gateway::sessions::command::{Command, CutReason};
use crate::gateway::shared::{Phase, StopOnPanic};
use crate::mtls::tls::Protocol;
use crate::serving::connection_permit::ConnectionPermit;

/// Most concurrent handshakes of one worker; further clients wait in the kernel's queue. The limit is high,
/// since a silent client holds its handshake until the timeout.
const MAX_HANDSHAKES: usize = 4_096;

/// Interval between sweeps for idle connections.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Time without a request after which a connection gives back its buffers.
const PARK_AFTER: Duration = Duration::from_secs(1);

/// Pause of the accept loop after an error such as too many open files.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Worker: accepts and serves connections.
#[derive(Debug)]
pub struct Worker {
    /// Context of all requests of the worker.
    pub context: Arc<WorkerContext>,
    /// HTTP settings towards clients.
    pub http: Arc<HttpServer>,
    handshakes: Arc<Semaphore>,
}

impl Worker {
    /// Create worker number `index`, from 0.
    #[must_use]
    pub fn new(index: usize, control: Arc<Control>) -> Self {
        Self {
            http: Arc::new(HttpServer::new(&control.shared)),
            context: Arc::new(WorkerContext::new(index, control)),
            handshakes: Arc::new(Semaphore::new(MAX_HANDSHAKES)),
        }
    }

    /// Accept connections until the gateway drains, and serve them until it stops.
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
                Err(error) => tracing::error!(%error, "worker cannot listen"),
            }
        }
        let mut tick = interval(SWEEP_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = Phase::reached(Phase::Stopped, &mut phase) => return,
                _ = tick.tick() => self.sweep(),
            }
        }
    }

    /// Close connections to clients and upstreams that have been idle for too long.
    fn sweep(&self) {
        let _turn = begin_turn();
        let limits = &self.context.gateway.limits;
        self.context.gateway.registry.sweep_worker(self.context.index, |session| {
            let activity = &session.activity;
            let overdue = activity.header_pending_for().is_some_and(|header| header >= limits.header_timeout);
            let idle = activity.idle_for().unwrap_or_default();
            if idle >= SWEEP_INTERVAL {
                session.known_header.forget();
            }
            let stalled = activity.stalled_for().is_some_and(|stalled| stalled >= limits.stall_timeout);
            // On HTTP/2, each stream is aborted by its own task.
            let is_http1 = session.protocol == Protocol::Http1;
            if overdue && is_http1 {
                Command::Cut(CutReason::HeaderTimeout)
            } else if stalled && is_http1 || idle >= limits.idle_timeout + limits.stall_timeout {
                // A drained idle connection that is still open: its last response was never read.
                Command::Cut(CutReason::Stalled)
            } else if idle >= limits.idle_timeout {
                Command::Drain
            } else {
                if is_http1 && idle >= PARK_AFTER {
                    session.park();
                }
                Command::Serve
            }
        });
        for upstream in &self.context.gateway.state.load().settings.upstreams {
            upstream.close_idle(self.context.index);
        }
    }

    /// Accept connections at `socket`, the socket of listener number `listener`.
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
                    Ok((stream, remote)) => self.spawn(listener, permit, stream, remote),
                    // The client has already disconnected.
                    Err(error) if is_connection_error(&error) => {}
                    Err(error) => {
                        tracing::warn!(%error, "accepting a connection failed");
                        sleep(ACCEPT_RETRY_DELAY).await;
                    }
                }
            }
        }
        self.drain_queue(listener, &socket).await;
    }

    /// Next connection, once a handshake permit is free. Until then clients wait in the kernel's queue, where
    /// they cost nothing.
    async fn next(
        &self,
        socket: &TcpListener,
    ) -> (Option<OwnedSemaphorePermit>, io::Result<(TcpStream, SocketAddr)>) {
        let permit = Arc::clone(&self.handshakes).acquire_owned().await.ok();
        (permit, socket.accept().await)
    }

    /// Accept the connections left in the kernel's queue: closing the socket would reset them.
    async fn drain_queue(self: &Arc<Self>, listener: usize, socket: &TcpListener) {
        std::future::poll_fn(|cx| {
            while let Poll::Ready(Ok((stream, remote))) = socket.poll_accept(cx) {
                self.spawn(listener, None, stream, remote);
            }
            Poll::Ready(())
        })
        .await;
    }

    fn spawn(
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
                Refusal::of(&limit).log(gateway, remote, Duration::ZERO);
                return;
            }
        };
        let worker = Arc::clone(self);
        tokio::spawn(async move {
            let accepted = accept(&worker.context, listener, stream, remote, permit).await;
            drop(handshake);
            if let Some(accepted) = accepted {
                // A new task: the task of the handshake is several times as large.
                tokio::spawn(serve(Arc::clone(&worker.http), Arc::clone(&worker.context), accepted));
            }
        });
    }
}

/// Return true for errors of `accept` that concern one connection, not the socket (accept(2)).
fn is_connection_error(error: &io::Error) -> bool {
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
