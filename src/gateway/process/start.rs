//! Start of a gateway: bind, load, spawn the threads; and the handle of a running one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use arc_swap::ArcSwap;

use crate::clock::{Clock, Entropy};
use crate::gateway::admin::{self, AdminSocket, metrics_listener};
use crate::gateway::config::{Config, workers};
use crate::gateway::control::changes::Trigger;
use crate::gateway::control::error::ReloadError;
use crate::gateway::control::file_watch::{self, Files};
use crate::gateway::control::housekeeping;
use crate::gateway::control::reload::Control;
use crate::gateway::control::status::Status;
use crate::gateway::downstream::sockets::{self, Sockets};
use crate::gateway::downstream::worker::Worker;
use crate::gateway::limits::per_address::PerAddressLimits;
use crate::gateway::process::descriptors::within_descriptors;
use crate::gateway::process::error::GatewayError;
use crate::gateway::sessions::registry::Registry;
use crate::gateway::shared::{Phase, Shared, StopOnPanic};
use crate::gateway::state::Loader;
use crate::gateway::telemetry::line_log::{Destination, LineLog};
use crate::gateway::telemetry::sinks::Telemetry;
use crate::mtls::keys::KeyOpener;

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
    pub key_opener: KeyOpener,
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
        let loader = Loader::new(clock, options.every_upstream, workers, options.key_opener);
        let state = loader.first(config)?;
        let Sockets { addresses, of_workers } =
            Sockets::bind(config.listen.iter().map(|l| l.address), workers).map_err(GatewayError::bind)?;
        let admin = config.admin.as_deref().map(AdminSocket::bind).transpose()?;
        let metrics = config.metrics.map(sockets::listen).transpose().map_err(GatewayError::bind)?;
        state.record_crls();
        let metrics_address = metrics.as_ref().and_then(|listener| listener.local_addr().ok());
        let log = LineLog::start("access-log", options.access_log)
            .map_err(|source| GatewayError::Thread { source })?;
        // What the configuration says stays what it says: a reload compares with that.
        let limits = within_descriptors(&config.limits, config.upstreams.len());
        let shared = Arc::new(Shared {
            state: ArcSwap::from_pointee(state),
            registry: Arc::new(Registry::new(
                workers,
                limits.connections_per_identity,
                Arc::clone(&options.clock),
            )),
            telemetry: Arc::new(Telemetry::new(log, Arc::clone(&options.clock), workers)),
            entropy: options.entropy,
            limits: limits.clone(),
            workers,
            connections: Arc::new(AtomicUsize::new(0)),
            addresses: Arc::new(PerAddressLimits::new(&limits, options.clock.monotonic())),
            clock: options.clock,
            phase: tokio::sync::watch::Sender::new(Phase::Serving),
            panicked: AtomicBool::new(false),
        });
        let control = Arc::new(Control::new(Arc::clone(&shared), loader, config));
        let mut threads = Vec::with_capacity(workers + 2);
        for (index, listeners) in of_workers.into_iter().enumerate() {
            let worker = Arc::new(Worker::new(index, Arc::clone(&control)));
            let phase = shared.phase.subscribe();
            threads.push(spawn(&format!("worker-{index}"), &shared, worker.run(listeners, phase))?);
        }
        threads.push(spawn("housekeeping", &shared, housekeeping::run(Arc::clone(&shared)))?);
        threads.push(spawn("file-watch", &shared, file_watch::run(Arc::clone(&control), files))?);
        if let Some(socket) = admin {
            threads.push(spawn("admin", &shared, admin::run(Arc::clone(&control), socket))?);
        }
        if let Some(listener) = metrics {
            threads.push(spawn("metrics", &shared, metrics_listener::run(Arc::clone(&control), listener))?);
        }
        Ok(Running { addresses, metrics: metrics_address, control, threads })
    }
}

/// A gateway that runs.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<SocketAddr>,
    metrics: Option<SocketAddr>,
    control: Arc<Control>,
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
        &self.control.shared.telemetry
    }

    /// How many connections are open, those in their handshake included.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.control.shared.connections.load(Ordering::Relaxed)
    }

    /// Loads everything again, as SIGHUP does; does not wait.
    pub fn request_reload(&self) {
        self.control.reload_requested.notify_one();
    }

    /// Loads everything again.
    ///
    /// # Errors
    /// [`ReloadError`]; then nothing has changed.
    pub fn reload(&self) -> Result<(), ReloadError> {
        self.control.reload(Trigger::Admin).map(drop)
    }

    /// How it is.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(&self.control)
    }

    /// Stops accepting and lets what runs come to its end; does not wait.
    pub fn drain(&self) {
        self.control.shared.drain();
    }

    /// Ends at once, whatever runs.
    pub fn stop(&self) {
        self.control.shared.phase.send_replace(Phase::Stopped);
    }

    /// Waits until nothing runs any more.
    pub async fn stopped(&self) {
        Phase::reached(Phase::Stopped, &mut self.control.shared.phase.subscribe()).await;
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
        if self.control.shared.panicked.load(Ordering::Relaxed) {
            Err(GatewayError::Panicked)
        } else {
            Ok(())
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
