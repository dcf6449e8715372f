//! The gateway: mutual TLS in front of a REST API, policy per request, identity headers to the upstream.
//!
//! A connection and a request fall through these modules from top to bottom; a module imports only from
//! those below it.
//!
//! | modules | task |
//! |---|---|
//! | [`offline`], [`process`] | decisions without a connection; start and run |
//! | [`downstream`] | sockets, worker, handshake, connection |
//! | [`request`], [`admin`] | one request, from its head to the end of its response; the admin socket and metrics |
//! | [`control`] | reload, pushed CRLs, file changes, housekeeping, status |
//! | [`telemetry`], [`state`] | access log and metrics; everything that a reload replaces |
//! | [`sessions`], [`upstream`] | registry of open connections; connections to upstreams |
//! | [`mtls`] | verification of peers, CRLs in force, resumption, keys |
//! | [`limits`], [`config`], [`policy`], [`message`] | limits, configuration, routes, HTTP messages |

pub mod admin;
pub mod config;
pub mod control;
pub mod downstream;
pub mod limits;
pub mod message;
pub mod mtls;
pub mod offline;
pub mod policy;
pub mod process;
pub mod request;
pub mod sessions;
pub mod state;
pub mod telemetry;
pub mod upstream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use self::admin::{AdminSocket, SocketError};
use self::config::{Config, Limits};
use crate::clock::{Clock, Entropy};
use crate::error::{Code, Coded};
use crate::gateway::control::file_watch::Files;
use crate::gateway::control::push_queue::Pushes;
use crate::gateway::control::reload::{Changes, ReloadError, Trigger};
use crate::gateway::control::status::Status;
use crate::gateway::downstream::sockets::Sockets;
use crate::gateway::downstream::worker::Worker;
use crate::gateway::limits::per_address::Addresses;
use crate::gateway::mtls::keys::opener::Keyring;
use crate::gateway::sessions::registry::{Order, Registry, Session};
use crate::gateway::state::loader::{Loader, State, StateError};
use crate::gateway::telemetry::line_log::{Destination, LineLog};
use crate::gateway::telemetry::sinks::Telemetry;

/// What a gateway is started with, beside its configuration.
pub struct Options {
    /// What the time is.
    pub clock: Arc<dyn Clock>,
    /// Where request numbers come from.
    pub entropy: Arc<dyn Entropy>,
    /// Where the access log goes.
    pub access_log: Box<dyn Destination>,
    /// An address that stands in for every configured upstream.
    pub every_upstream: Option<SocketAddr>,
    /// What opens the gateway's keys; it may have them open already.
    pub keyring: Keyring,
}

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// What every judgement rests on.
    pub state: ArcSwap<State>,
    /// The open connections.
    pub registry: Arc<Registry>,
    /// Wall clock and monotonic clock.
    pub clock: Arc<dyn Clock>,
    /// Where everything is told.
    pub telemetry: Arc<Telemetry>,
    /// Where request numbers come from.
    pub entropy: Arc<dyn Entropy>,
    /// How much of anything there may be.
    pub limits: Limits,
    /// How many workers there are.
    pub workers: usize,
    /// How many connections there are, those in their handshake included.
    pub connections: AtomicUsize,
    /// The same by the address that they come from.
    pub addresses: Arc<Addresses>,
    /// Where the gateway is in its life.
    pub phase: tokio::sync::watch::Sender<Phase>,
    /// Whether a part that cannot be done without has panicked.
    pub panicked: AtomicBool,
    /// What changes the state.
    pub changes: Changes,
    /// Who is pushing CRLs.
    pub pushes: Arc<Pushes>,
    /// Told when everything is to be loaded again.
    pub reload_wanted: Notify,
}

/// Where a gateway is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Connections are accepted.
    Serving,
    /// Those that are open finish what they do.
    Draining,
    /// Nothing runs any more.
    Stopped,
}

impl Phase {
    /// Waits until the gateway is in `wanted` or past it.
    async fn reached(wanted: Self, phase: &mut tokio::sync::watch::Receiver<Self>) {
        // The sender lives as long as anybody waits.
        let _ = phase.wait_for(|phase| *phase >= wanted).await;
    }
}

impl Shared {
    /// Judges a connection again that was registered just now, if anything has changed since
    /// `generation`, under which its handshake was judged: whoever changes it sweeps the registry
    /// afterwards, and so finds every connection that does not find the change here.
    pub fn settle(&self, session: &Session, generation: u64) {
        let state = self.state.load();
        if state.generation != generation
            && let Some(peer) = &session.peer
            && let Err(reason) = state.verifier.recheck(peer, self.clock.now())
        {
            session.tell(Order::Cut(reason), self.clock.monotonic());
        }
        if *self.phase.borrow() != Phase::Serving {
            session.tell(Order::Drain, self.clock.monotonic());
        }
    }

    /// Stops accepting, and tells every connection to finish.
    pub fn drain(&self) {
        self.phase.send_if_modified(|phase| {
            let serving = *phase == Phase::Serving;
            if serving {
                *phase = Phase::Draining;
            }
            serving
        });
        tracing::info!(
            connections = self.registry.open(),
            seconds = self.limits.drain_timeout.as_secs(),
            "told to stop: what is under way may come to its end; a second signal cuts it off"
        );
        self.registry.sweep(self.clock.monotonic(), |_| Order::Drain);
    }
}

/// The gateway, not yet running.
#[derive(Debug)]
pub struct Gateway;

impl Gateway {
    /// Loads everything that `config` names, binds, and starts serving.
    ///
    /// # Errors
    /// [`GatewayError`]; then nothing runs.
    pub fn start(config: &Config, options: Options) -> Result<Running, GatewayError> {
        let workers = workers(config);
        // Before they are loaded: what changes in the meantime is a change.
        let files = Files::new(&config.files());
        let clock = Arc::clone(&options.clock);
        let loader = Loader::new(clock, options.every_upstream, workers, options.keyring);
        let state = loader.first(config)?;
        let Sockets { addresses, of_workers } =
            Sockets::bind(config.listen.iter().map(|l| l.address), workers).map_err(GatewayError::bind)?;
        let admin = config.admin.as_deref().map(AdminSocket::bind).transpose()?;
        let metrics =
            config.metrics.map(downstream::sockets::listen).transpose().map_err(GatewayError::bind)?;
        state.record_crls();
        let metrics_address = metrics.as_ref().and_then(|listener| listener.local_addr().ok());
        let log = LineLog::start("access-log", options.access_log)
            .map_err(|source| GatewayError::Thread { source })?;
        // What the configuration says stays what it says: a reload compares with that.
        let limits = process::run::within_descriptors(&config.limits, config.upstreams.len());
        let shared = Arc::new(Shared {
            state: ArcSwap::from_pointee(state),
            registry: Arc::new(Registry::new(workers, limits.connections_per_identity)),
            telemetry: Arc::new(Telemetry::new(log, Arc::clone(&options.clock), workers)),
            clock: options.clock,
            entropy: options.entropy,
            limits: limits.clone(),
            workers,
            connections: AtomicUsize::new(0),
            addresses: Arc::new(Addresses::new(&limits)),
            phase: tokio::sync::watch::Sender::new(Phase::Serving),
            panicked: AtomicBool::new(false),
            changes: Changes::new(loader, config),
            pushes: Arc::default(),
            reload_wanted: Notify::new(),
        });
        let mut threads = Vec::with_capacity(workers + 2);
        for (index, listeners) in of_workers.into_iter().enumerate() {
            let worker = Arc::new(Worker::new(index, Arc::clone(&shared)));
            let phase = shared.phase.subscribe();
            threads.push(spawn(&format!("worker-{index}"), &shared, worker.run(listeners, phase))?);
        }
        threads.push(spawn("housekeeping", &shared, control::housekeeping::run(Arc::clone(&shared)))?);
        threads.push(spawn("file-watch", &shared, control::file_watch::run(Arc::clone(&shared), files))?);
        if let Some(socket) = admin {
            threads.push(spawn("admin", &shared, admin::run(Arc::clone(&shared), socket))?);
        }
        if let Some(listener) = metrics {
            threads.push(spawn(
                "metrics",
                &shared,
                admin::metrics_listener::run(Arc::clone(&shared), listener),
            )?);
        }
        Ok(Running { addresses, metrics: metrics_address, shared, threads })
    }
}

/// A gateway that runs.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<SocketAddr>,
    metrics: Option<SocketAddr>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    /// The addresses it listens on, with the real port where 0 was asked for.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The address that metrics are fetched at, if they are.
    #[must_use]
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// What is counted and told.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.shared.telemetry
    }

    /// How many connections are open, those in their handshake included.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Loads everything again, as SIGHUP does; does not wait.
    pub fn want_reload(&self) {
        self.shared.reload_wanted.notify_one();
    }

    /// Loads everything again.
    ///
    /// # Errors
    /// [`ReloadError`]; then nothing has changed.
    pub fn reload(&self) -> Result<(), ReloadError> {
        self.shared.reload(Trigger::Admin).map(drop)
    }

    /// How it is.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(&self.shared)
    }

    /// Stops accepting and lets what runs come to its end; does not wait.
    pub fn drain(&self) {
        self.shared.drain();
    }

    /// Ends at once, whatever runs.
    pub fn stop(&self) {
        self.shared.phase.send_replace(Phase::Stopped);
    }

    /// Waits until nothing runs any more.
    pub async fn stopped(&self) {
        Phase::reached(Phase::Stopped, &mut self.shared.phase.subscribe()).await;
    }

    /// Waits until it has stopped, and for its threads.
    ///
    /// # Errors
    /// [`GatewayError::Panicked`] when that is why it stopped.
    pub fn join(self) -> Result<(), GatewayError> {
        for thread in self.threads {
            // A panic has been noted by whoever watched over it.
            let _ = thread.join();
        }
        if self.shared.panicked.load(Ordering::Relaxed) { Err(GatewayError::Panicked) } else { Ok(()) }
    }
}

/// As many as the machine has processors, unless the configuration says otherwise.
fn workers(config: &Config) -> usize {
    config.threads.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from)
}

/// Stops the gateway when a panic drops it: one that accepts no more, or no longer sees what expires, must
/// not look as if it were well.
#[derive(Debug)]
pub struct StopOnPanic(Arc<Shared>);

impl StopOnPanic {
    /// Watches over the scope that it is in.
    #[must_use]
    pub const fn new(gateway: Arc<Shared>) -> Self {
        Self(gateway)
    }
}

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("a part of the gateway panicked that it cannot do without: it stops");
            self.0.panicked.store(true, Ordering::Relaxed);
            self.0.phase.send_replace(Phase::Stopped);
        }
    }
}

/// A thread with a runtime of its own that runs `task`.
fn spawn(
    name: &str,
    gateway: &Arc<Shared>,
    task: impl Future<Output = ()> + Send + 'static,
) -> Result<JoinHandle<()>, GatewayError> {
    let failed = |source| GatewayError::Thread { source };
    let (ready, started) = std::sync::mpsc::sync_channel(1);
    let stop_on_panic = StopOnPanic::new(Arc::clone(gateway));
    let thread = thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                let _ = ready.send(Ok(()));
                let _stop_on_panic = stop_on_panic;
                runtime.block_on(task);
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        })
        .map_err(failed)?;
    started.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended"))).map_err(failed)?;
    Ok(thread)
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// The admin socket cannot be made.
    #[error(transparent)]
    Admin(#[from] SocketError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A part that it cannot do without panicked while it served.
    #[error("a part of the gateway panicked, and it was stopped")]
    Panicked,
    /// What the configuration names is not there, or does not fit.
    #[error(transparent)]
    State(#[from] StateError),
    /// The system has no thread to give.
    #[error("cannot start a thread")]
    Thread {
        /// What the system says.
        source: io::Error,
    },
}

impl GatewayError {
    fn bind((address, source): (SocketAddr, io::Error)) -> Self {
        Self::Bind { address, source }
    }
}

impl Coded for GatewayError {
    fn coded(&self) -> Code {
        match self {
            Self::Admin(error) => error.coded(),
            Self::Bind { .. } => Code::unavailable("gateway.bind"),
            Self::Panicked => Code::environment("gateway.panicked"),
            Self::State(error) => error.coded(),
            Self::Thread { .. } => Code::environment("gateway.thread"),
        }
    }
}
