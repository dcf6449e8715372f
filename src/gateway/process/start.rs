//! Start of a gateway (load, bind, spawn threads), and the handle of a running one.

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
use crate::gateway::control::file_watch::{self, WatchedFiles};
use crate::gateway::control::housekeeping;
use crate::gateway::control::reload::Control;
use crate::gateway::control::status::StatusSnapshot;
use crate::gateway::downstream::worker::Worker;
use crate::gateway::process::descriptors::fit_descriptors;
use crate::gateway::process::error::GatewayError;
use crate::gateway::sessions::registry::Registry;
use crate::gateway::shared::{Phase, Shared, StopOnPanic};
use crate::gateway::state::Loader;
use crate::gateway::telemetry::sinks::Telemetry;
use crate::mtls::keys::KeyOpener;
use crate::serving::line_log::{Destination, LineLog};
use crate::serving::per_address::PerAddressLimits;
use crate::serving::sockets::{self, Sockets};

/// Environment of a gateway, beside its configuration.
pub struct Options {
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Source of random request IDs.
    pub entropy: Arc<dyn Entropy>,
    /// Destination of the access log.
    pub access_log: Option<Box<dyn Destination>>,
    /// Address that replaces every configured upstream, for the demo.
    pub every_upstream: Option<SocketAddr>,
    /// Opener of the private keys; it may have opened them already.
    pub key_opener: KeyOpener,
}

/// Entry point of a gateway.
#[derive(Debug)]
pub struct Gateway;

impl Gateway {
    /// Load all files of `config`, bind the sockets, and start serving.
    ///
    /// # Errors
    /// [`GatewayError`]; the gateway does not serve.
    pub fn start(config: &Config, options: Options) -> Result<Running, GatewayError> {
        let workers = workers(config);
        // Recorded before the files are loaded, so that a change in the meantime counts.
        let files = WatchedFiles::new(&config.files());
        let clock = Arc::clone(&options.clock);
        let loader = Loader::new(clock, options.every_upstream, workers, options.key_opener);
        let state = loader.first(config)?;
        let Sockets { addresses, by_worker } =
            Sockets::bind(config.listen.iter().map(|l| l.address), workers).map_err(GatewayError::bind)?;
        let admin = config.admin.as_deref().map(AdminSocket::bind).transpose()?;
        let metrics = config.metrics.map(sockets::listen).transpose().map_err(GatewayError::bind)?;
        state.record_newest();
        let metrics_address = metrics.as_ref().and_then(|listener| listener.local_addr().ok());
        let log = match options.access_log {
            Some(destination) => {
                LineLog::start("access-log", destination).map_err(|source| GatewayError::Thread { source })?
            }
            None => LineLog::off(),
        };
        // A copy: a reload compares the configured limits, not the reduced ones.
        let limits = fit_descriptors(&config.limits, config.upstreams.len());
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
            options: config.options.clone(),
            workers,
            connections: Arc::new(AtomicUsize::new(0)),
            addresses: Arc::new(PerAddressLimits::new(limits.per_address(), options.clock.monotonic())),
            clock: options.clock,
            phase: tokio::sync::watch::Sender::new(Phase::Serving),
            panicked: AtomicBool::new(false),
        });
        let control = Arc::new(Control::new(Arc::clone(&shared), loader, config));
        let mut threads = Vec::with_capacity(workers + 2);
        for (index, listeners) in by_worker.into_iter().enumerate() {
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

/// Handle of a running gateway.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<SocketAddr>,
    metrics: Option<SocketAddr>,
    control: Arc<Control>,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    /// Bound addresses, with the port that the system assigned for port 0.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Address of the metrics listener, if configured.
    #[must_use]
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Access log and metrics.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.control.shared.telemetry
    }

    /// Number of open connections, including those in their handshake.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.control.shared.connections.load(Ordering::Relaxed)
    }

    /// Number of idle connections that have given back their buffers.
    #[must_use]
    pub fn parked_connections(&self) -> usize {
        self.control.shared.registry.sessions().iter().filter(|session| session.is_parked()).count()
    }

    /// Request a reload, as SIGHUP does, and return at once.
    pub fn request_reload(&self) {
        self.control.reload_requested.notify_one();
    }

    /// Reload the configuration and all its files.
    ///
    /// # Errors
    /// [`ReloadError`]; only [`ReloadError::Key`] leaves a new state in force.
    pub fn reload(&self) -> Result<(), ReloadError> {
        self.control.reload(Trigger::Admin).map(drop)
    }

    /// Status report.
    #[must_use]
    pub fn status(&self) -> StatusSnapshot {
        StatusSnapshot::of(&self.control)
    }

    /// Stop accepting connections and let requests in flight finish; returns at once.
    pub fn drain(&self) {
        self.control.shared.drain();
    }

    /// Stop at once, whatever is in flight.
    pub fn stop(&self) {
        self.control.shared.phase.send_replace(Phase::Stopped);
    }

    /// Wait until the gateway has stopped.
    pub async fn stopped(&self) {
        Phase::reached(Phase::Stopped, &mut self.control.shared.phase.subscribe()).await;
    }

    /// Wait until the gateway and its threads have stopped.
    ///
    /// # Errors
    /// [`GatewayError::Panicked`] if a panic stopped the gateway.
    pub fn join(self) -> Result<(), GatewayError> {
        for thread in self.threads {
            // `StopOnPanic` has recorded a panic.
            let _ = thread.join();
        }
        if self.control.shared.panicked.load(Ordering::Relaxed) {
            Err(GatewayError::Panicked)
        } else {
            Ok(())
        }
    }
}

/// Start a thread with its own runtime that runs `task`.
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
