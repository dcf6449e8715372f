//! The server as a process: start, signals, reload, housekeeping, graceful stop.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, io};

use arc_swap::ArcSwap;
use http::StatusCode;
use sd_notify::NotifyState;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::accounts::AccountService;
use super::config::ServerConfig;
use super::downstream;
use super::error::ServerError;
use super::home::OpenedHome;
use super::shared::ServerShared;
use super::state::ServerState;
use super::telemetry::ServerTelemetry;
use crate::ca::{Cluster, RootKey, ServiceCertificate};
use crate::error::{Coded, with_causes};
use crate::identity::{AccountRole, Name, Role};
use crate::keys::Protection;
use crate::secret::{MemoryLock, lock_memory};
use crate::serving::access_log::AccessLog;
use crate::serving::line_log::LineLog;
use crate::serving::metrics_listener::{self, METRICS, PlainResponse, TEXT, response};
use crate::serving::per_address::PerAddressLimits;
use crate::serving::request_id::RequestIds;
use crate::serving::sockets;
use crate::store::RecordStatus;
use crate::terminal::serve::ServeRequest;

/// Warning about a root key that a thief of the disk could use.
pub(super) const UNPROTECTED: &str = "the root key is not protected: a thief of this disk can issue certificates; protect it with cluster-ca key protect, or use a key management service";

/// Interval between two looks for changed files.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// Interval between two looks at the server certificate and the age of the CRL.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(3_600);

/// Remaining validity of the presented certificate below which each look logs a warning. One that was issued here is
/// renewed long before.
const EXPIRY_WARNING: time::Duration = time::Duration::days(7);

/// Checked configuration and home.
pub(super) struct CheckedServer {
    pub(super) config: ServerConfig,
    /// Expiry of the server certificate; `None` if there is none yet.
    pub(super) certificate: Option<OffsetDateTime>,
    pub(super) key_protected: bool,
}

/// Check the configuration, the home and its root key. Nothing is issued.
pub(super) fn check(request: &ServeRequest) -> Result<CheckedServer, ServerError> {
    let config = load(&request.config)?;
    let root_key = RootKey::open(&request.home, &request.context)?;
    let cluster = Cluster::open(&request.home, &request.context)?;
    let now = request.context.clock.now();
    cluster.trust_bundle(now)?;
    let name = config.hosts.first().map(Name::of_host);
    let records = match &name {
        Some(name) => cluster.certificates_of(Role::ControlService, name).unwrap_or_default(),
        None => Vec::new(),
    };
    let is_current = |record: &&crate::store::Record| {
        record.status(now) == RecordStatus::Valid && record.superseded_by.is_none()
    };
    let certificate = records.iter().find(is_current).and_then(|record| record.issue);
    Ok(CheckedServer {
        certificate: certificate.map(|issue| issue.not_after),
        key_protected: *root_key.protection() != Protection::None,
        config,
    })
}

/// Serve until SIGTERM or SIGINT; a second signal stops at once. `started` gets the address once connections are
/// accepted.
pub(super) fn run(request: ServeRequest, started: impl FnOnce(SocketAddr)) -> Result<(), ServerError> {
    let environment = |source| ServerError::Environment { source };
    let ServeRequest { config: path, home, context, profiles, verbose: _ } = request;
    let config = load(&path)?;
    let home = OpenedHome::open(home, context, profiles)?;
    if *home.root_key().protection() == Protection::None {
        tracing::warn!("{UNPROTECTED}");
    }
    lock_memory(MemoryLock::Present);
    let accounts = Arc::new(AccountService::open(home.home(), home.context())?);
    ensure_statement(&home, &accounts)?;
    let has_operator = config.operators.iter().any(|one| one.role == AccountRole::ClusterAdmin);
    if !has_operator && let Some(file) = accounts.create_first_administrator()? {
        tracing::warn!(file = %file.display(), "created the user admin: its one-time password is in the file; the first login must change it");
    }
    let service = ensure_certificate(&home, &config)?;
    let sessions = Arc::default();
    let state = ServerState::load(&home, config.clone(), service, &sessions, None)?;
    let log = open_log(&config.access_log)?;
    let listener =
        sockets::listen(config.listen).map_err(|(address, source)| ServerError::Bind { address, source })?;
    let metrics = config.metrics.map(sockets::listen).transpose();
    let metrics = metrics.map_err(|(address, source)| ServerError::Bind { address, source })?;
    let address = listener.local_addr().map_err(environment)?;
    let clock = Arc::clone(&home.context().clock);
    let shared = Arc::new(ServerShared {
        accounts,
        state: ArcSwap::from_pointee(state),
        sessions,
        telemetry: ServerTelemetry::new(log),
        connections: Arc::new(AtomicUsize::new(0)),
        addresses: Arc::new(PerAddressLimits::new(config.limits.per_address, clock.monotonic())),
        limits: config.limits,
        request_ids: RequestIds::new(Arc::clone(&home.context().entropy)),
        home: Arc::new(home),
        draining: watch::Sender::new(false),
        clock,
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(environment)?;
    runtime.block_on(async {
        let server = Server { shared: Arc::clone(&shared), path, turn: Mutex::new(()) };
        let listener = TcpListener::from_std(listener).map_err(environment)?;
        if let Some(metrics) = metrics {
            tracing::info!(address = ?metrics.local_addr().ok(), "metrics are served");
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                let Err(error) = metrics_listener::serve(metrics, move |path| answer(&shared, path)).await;
                tracing::error!(%error, "metrics cannot be served");
            });
        }
        server.serve(listener, || started(address)).await.map_err(environment)
    })?;
    // A change that is still running may finish; it would be recovered otherwise.
    runtime.shutdown_timeout(Duration::from_secs(10));
    shared.telemetry.close();
    Ok(())
}

/// A running server.
struct Server {
    shared: Arc<ServerShared>,
    /// Configuration file.
    path: PathBuf,
    /// Reload one after the other.
    turn: Mutex<()>,
}

impl Server {
    async fn serve(&self, listener: TcpListener, started: impl FnOnce()) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut watch = ticks(WATCH_INTERVAL);
        let mut housekeeping = ticks(HOUSEKEEPING_INTERVAL);
        housekeeping.tick().await;
        let mut files = self.versions();
        let mut accepting = tokio::spawn(downstream::run(Arc::clone(&self.shared), listener));
        started();
        notify_systemd(&[NotifyState::Ready]);
        loop {
            tokio::select! {
                biased;
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => {
                    self.shared.telemetry.reopen();
                    self.reload().await;
                    files = self.versions();
                }
                _ = housekeeping.tick() => self.housekeep().await,
                _ = watch.tick() => {
                    let now = self.versions();
                    if now != files {
                        files = now;
                        self.refresh().await;
                    }
                }
            }
        }
        notify_systemd(&[NotifyState::Stopping]);
        self.shared.draining.send_replace(true);
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = &mut accepting => {}
        }
        Ok(())
    }

    /// Read the configuration and all files again. On a failure, all stays as it is.
    async fn reload(&self) {
        let _turn = self.turn.lock().await;
        let (shared, path) = (Arc::clone(&self.shared), self.path.clone());
        let result = spawn_blocking(move || {
            let config = load(&path)?;
            let before = shared.state.load_full();
            warn_of_restart(before.config(), &config);
            let fixed = before.config();
            let config = ServerConfig {
                listen: fixed.listen,
                limits: fixed.limits.clone(),
                access_log: fixed.access_log.clone(),
                metrics: fixed.metrics,
                ..config
            };
            let service = match config.hosts == before.config().hosts {
                true => before.service().clone(),
                false => ensure_certificate(&shared.home, &config)?,
            };
            replace(&shared, config, service, &before)
        });
        self.report("configuration", result.await);
    }

    /// Read the CRL, the trust bundle and the server certificate again.
    async fn refresh(&self) {
        let _turn = self.turn.lock().await;
        let shared = Arc::clone(&self.shared);
        let result = spawn_blocking(move || {
            let before = shared.state.load_full();
            replace(&shared, before.config().clone(), before.service().clone(), &before)
        });
        self.report("files of the home", result.await);
    }

    /// Renew the server certificate and the statement about tokens when that is due. Opening the home signs a CRL that
    /// is past half of its validity.
    async fn housekeep(&self) {
        let _turn = self.turn.lock().await;
        let shared = Arc::clone(&self.shared);
        let result = spawn_blocking(move || {
            let before = shared.state.load_full();
            ensure_statement(&shared.home, &shared.accounts)?;
            let service = ensure_certificate(&shared.home, before.config())?;
            match service.serial_number == before.service().serial_number {
                true => Ok(()),
                false => replace(&shared, before.config().clone(), service, &before),
            }
        });
        let left = self.shared.state.load().not_after - self.shared.clock.now();
        if left < EXPIRY_WARNING {
            tracing::warn!("the certificate of the server expires in {} hours", left.whole_hours());
        }
        if let Ok(Err(error)) = result.await {
            tracing::error!(code = error.code(), "housekeeping failed: {}", with_causes(&error));
        }
    }

    fn report(&self, what: &str, result: Result<Result<(), ServerError>, tokio::task::JoinError>) {
        let succeeded = matches!(result, Ok(Ok(())));
        self.shared.telemetry.reloaded(succeeded);
        match result {
            Ok(Ok(())) => tracing::info!("{what} reloaded"),
            Ok(Err(error)) => {
                tracing::error!(
                    code = error.code(),
                    "{what} not reloaded, the state in force stays: {}",
                    with_causes(&error)
                );
                if let ServerError::Configuration { problems, .. } = &error {
                    problems.iter().for_each(|problem| tracing::error!("{problem}"));
                }
            }
            Err(_) => tracing::error!("{what} not reloaded: the thread ended"),
        }
    }

    /// Versions of the files whose change leads to a reload.
    fn versions(&self) -> [Option<(u64, u64, i64, i64)>; 4] {
        let files = ServerState::files(&self.shared.home, self.shared.state.load().service());
        files.map(|file| {
            let metadata = fs::metadata(file).ok()?;
            Some((metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec()))
        })
    }
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Read the configuration at `path`, which only its owner may be able to write.
fn load(path: &Path) -> Result<ServerConfig, ServerError> {
    let bytes = ServerConfig::read_guarded(path)?;
    ServerConfig::parse(path, &bytes)
        .map_err(|problems| ServerError::Configuration { path: path.to_owned(), problems })
}

/// Open the home as a command does, which recovers from an interrupted one, and return a valid server certificate.
fn ensure_certificate(home: &OpenedHome, config: &ServerConfig) -> Result<ServiceCertificate, ServerError> {
    let actor = home.context().actor.clone();
    let service = home.change_now(actor, |authority, profiles| {
        Ok::<_, ServerError>(authority.ensure_service_certificate(profiles, &config.hosts)?)
    })?;
    if service.is_new {
        tracing::info!(serial_number = %service.serial_number, not_after = %service.not_after, "server certificate issued");
    }
    Ok(service)
}

/// Keep the certificate of the key for tokens valid, and the statement about tokens current.
fn ensure_statement(home: &OpenedHome, accounts: &AccountService) -> Result<(), ServerError> {
    let actor = home.context().actor.clone();
    home.change_now(actor, |authority, _| {
        let key = accounts.token_key().public_key_info();
        Ok::<_, ServerError>(authority.ensure_token_certificate(key).map(drop)?)
    })?;
    if let Some(statement) = accounts.publish_statement()?.filter(|statement| statement.is_new) {
        tracing::info!(number = statement.number, expires = %statement.expires, "statement about tokens signed");
    }
    Ok(())
}

fn replace(
    shared: &ServerShared,
    config: ServerConfig,
    service: ServiceCertificate,
    before: &ServerState,
) -> Result<(), ServerError> {
    let next = ServerState::load(&shared.home, config, service, &shared.sessions, Some(before))?;
    shared.state.store(Arc::new(next));
    Ok(())
}

/// Warns of changed keys that are in force only after a restart.
fn warn_of_restart(before: &ServerConfig, next: &ServerConfig) {
    let changed = [
        ("listen", before.listen != next.listen),
        ("limits", before.limits != next.limits),
        ("access_log", before.access_log != next.access_log),
        ("metrics", before.metrics != next.metrics),
    ];
    for (key, _) in changed.iter().filter(|(_, is_changed)| *is_changed) {
        tracing::warn!("`{key}` has changed: restart the server");
    }
}

fn open_log(access_log: &AccessLog) -> Result<LineLog, ServerError> {
    let path = match access_log {
        AccessLog::File(path) => path.clone(),
        AccessLog::Off | AccessLog::Stdout => PathBuf::new(),
    };
    let destination = access_log.open().map_err(|source| ServerError::AccessLog { path, source })?;
    match destination {
        Some(destination) => {
            LineLog::start("access-log", destination).map_err(|source| ServerError::Environment { source })
        }
        None => Ok(LineLog::off()),
    }
}

/// Answer of the metrics listener.
fn answer(shared: &ServerShared, path: &str) -> PlainResponse {
    match path {
        "/healthz" if shared.is_draining() => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, "draining\n"),
        "/healthz" => response(StatusCode::OK, TEXT, "serving\n"),
        "/metrics" => {
            let open = shared.connections.load(Ordering::Relaxed);
            response(StatusCode::OK, METRICS, shared.telemetry.scrape(open, shared.state.load().not_after))
        }
        _ => response(StatusCode::NOT_FOUND, TEXT, "not found: /metrics and /healthz are served\n"),
    }
}

/// Report a state to the service manager, if there is one.
fn notify_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be notified");
    }
}
