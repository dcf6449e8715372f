//! The gateway as a process: configuration in, serving until a signal.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing::subscriber::NoSubscriber;

use crate::clock::{Clock, SystemEntropy, format_duration, rfc3339};
use crate::error::{Code, Coded};
use crate::files::FileError;
use crate::gateway::admin::AdminSocket;
use crate::gateway::config::{AccessLog, ClientCertificate, Config, Limits, Listener};
use crate::gateway::mtls::keys::opener::Keyring;
use crate::gateway::process::demo_upstream;
use crate::gateway::state::loader::{Loader, State};
use crate::gateway::telemetry::line_log::Destination;
use crate::gateway::telemetry::log_file::LogFile;
use crate::gateway::{Gateway, GatewayError, Options};
use crate::keys::Protection;
use crate::x509::X509Error;
use crate::yaml::YamlProblem;

/// Serves what the configuration in `path` says, until SIGTERM or SIGINT; a second signal ends it at
/// once. `started` is told the addresses once connections are accepted.
///
/// # Errors
/// [`RunError`]; then nothing was served.
pub fn run(
    path: &Path,
    with_demo_upstream: bool,
    clock: Arc<dyn Clock>,
    started: impl FnOnce(&[SocketAddr]),
) -> Result<(), RunError> {
    let config = load(path)?;
    let environment = |source| RunError::Environment { source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(environment)?;
    let every_upstream = match with_demo_upstream {
        true => Some(demo_upstream::start().map_err(environment)?),
        false => None,
    };
    // Listened for before anything is served: a signal that comes early is not lost.
    let (mut terminate, mut interrupt, mut hang_up) = {
        let _entered = runtime.enter();
        let listen = |kind| signal(kind).map_err(environment);
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?, listen(SignalKind::hangup())?)
    };
    let access_log = open(&config.access_log)?;
    let keyring = Keyring::default();
    // What opens a key may let us wait; whoever ends us meanwhile does not.
    let opened = runtime.block_on(async {
        tokio::select! {
            biased;
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
            opened = open_keys(&keyring, &config) => Some(opened),
        }
    });
    match opened {
        Some(opened) => opened?,
        None => return Ok(()),
    }
    let options = Options { clock, entropy: Arc::new(SystemEntropy), access_log, every_upstream, keyring };
    let running = Gateway::start(&config, options)?;
    started(running.addresses());
    runtime.block_on(async {
        for shut_down in [crate::gateway::Running::drain, crate::gateway::Running::stop] {
            loop {
                tokio::select! {
                    _ = terminate.recv() => break,
                    _ = interrupt.recv() => break,
                    () = running.stopped() => return,
                    _ = hang_up.recv() => running.want_reload(),
                }
            }
            shut_down(&running);
        }
    });
    Ok(running.join()?)
}

/// Opens the keys of `config` on a thread that nobody waits for longer than they like.
async fn open_keys(keyring: &Keyring, config: &Config) -> Result<(), RunError> {
    let (sender, opened) = oneshot::channel();
    let (keyring, config) = (keyring.clone(), config.clone());
    thread::Builder::new()
        .name("keys".to_owned())
        .spawn(move || sender.send(keyring.wait_for(&config)))
        .map_err(|source| RunError::Environment { source })?;
    match opened.await {
        Ok(opened) => Ok(opened.map_err(GatewayError::from)?),
        Err(_) => Err(RunError::Environment { source: io::Error::other("the thread ended") }),
    }
}

/// Whether private keys are opened to see whether they can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// They are not: what opens them may be out of reach.
    Left,
    /// They are, by whatever it takes; it is tried once.
    Opened,
}

/// Reads the configuration in `path` and everything it names, and says what it comes to. Nothing is
/// served. The keys come last: where one cannot be opened, everything else is good.
///
/// # Errors
/// [`RunError`] with every problem of the configuration, or the first of the files it names.
pub fn check(path: &Path, keys: Keys, clock: &Arc<dyn Clock>) -> Result<Checked, RunError> {
    let config = load(path)?;
    if let Some(admin) = &config.admin {
        AdminSocket::check(admin).map_err(GatewayError::from)?;
    }
    if let AccessLog::File(path) = &config.access_log {
        LogFile::check(path).map_err(|source| RunError::AccessLog { path: path.clone(), source })?;
    }
    let mut state = load_state(&config, clock)?;
    if keys == Keys::Opened {
        let loader = loader(clock);
        loader.keyring().try_once(&config).map_err(GatewayError::from)?;
        // What there is to say of everything else has been said.
        let quietly = || loader.first(&config).map_err(GatewayError::from);
        state = tracing::subscriber::with_default(NoSubscriber::default(), quietly)?;
    }
    let open = |listener: &&Listener| listener.client_certificate == ClientCertificate::Optional;
    let for_anyone = config.policy.routes().filter(|route| route.is_for_anyone());
    Ok(Checked {
        listen: config.listen.iter().map(|listener| listener.address).collect(),
        open: config.listen.iter().filter(open).map(|listener| listener.address).collect(),
        routes_for_anyone: for_anyone.map(|route| route.path.to_string()).collect(),
        shadow_routes: config.shadow.as_ref().map(|shadow| shadow.policy.routes().len()),
        trust_domain: state.verifier.trust_domain().to_string(),
        routes: config.policy.routes().len(),
        upstreams: config.upstreams.len(),
        certificate_not_after: rfc3339(state.own.leaf.not_after),
        crl_grace: config.trust.revocation.grace().as_secs(),
        crl_next_update: state.verifier.crls().map(|crl| crl.next_update).min().map(rfc3339),
        key_protection: state.own.key.map(|key| key.protection),
    })
}

/// What a configuration without a problem comes to.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// Where it lets callers without a certificate in.
    pub open: Vec<SocketAddr>,
    /// The routes that those reach.
    pub routes_for_anyone: Vec<String>,
    /// How many routes there are in the policy that is tried.
    pub shadow_routes: Option<usize>,
    /// Whose callers it lets in.
    pub trust_domain: String,
    /// How many routes there are.
    pub routes: usize,
    /// How many services are behind it.
    pub upstreams: usize,
    /// Until when its own certificate holds.
    pub certificate_not_after: String,
    /// When the first of its CRLs ends; none where revocation is disabled.
    pub crl_next_update: Option<String>,
    /// How many seconds after its end a CRL is still relied on.
    pub crl_grace: u64,
    /// What protects its key, which was opened; none where it was left.
    pub key_protection: Option<Protection>,
}

/// Asks for as many descriptors as the system gives, and gives `limits` as far as they fit: the connections of
/// callers, and those to each of so many services behind. Whoever fills up what is there must not take
/// those to the services from the others, so that nobody may have more than a quarter of either.
pub(crate) fn within_descriptors(limits: &Limits, upstreams: usize) -> Limits {
    let mut limits = limits.clone();
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let behind = limits.connections_per_upstream.saturating_mul(upstreams);
    let wanted = u64::try_from(limits.connections.saturating_add(behind).saturating_add(256));
    let wanted = wanted.unwrap_or(u64::MAX);
    let reachable = maximum.unwrap_or(u64::MAX).min(wanted);
    if current.is_some_and(|current| current < reachable)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(reachable), maximum })
    {
        tracing::warn!(%error, "the limit of open descriptors cannot be raised");
    }
    if reachable == wanted {
        return limits;
    }
    let fitting = usize::try_from((reachable - (reachable / 4).min(256)) / 2).unwrap_or(usize::MAX).max(1);
    let each = (fitting / upstreams.max(1)).max(1);
    limits.connections = limits.connections.min(fitting);
    limits.connections_per_upstream = limits.connections_per_upstream.min(each);
    limits.connections_per_identity = limits.connections_per_identity.min((fitting / 4).max(1));
    limits.requests_per_identity = limits.requests_per_identity.min((each / 4).max(1));
    tracing::warn!(
        descriptors = reachable,
        wanted,
        connections = limits.connections,
        connections_per_upstream = limits.connections_per_upstream,
        connections_per_identity = limits.connections_per_identity,
        requests_per_identity = limits.requests_per_identity,
        "fewer connections fit than the configuration allows"
    );
    limits
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { routes, upstreams, trust_domain, certificate_not_after, .. } = self;
        writeln!(
            f,
            "The configuration is good: {routes} route(s) to {upstreams} upstream(s) for callers of {trust_domain}."
        )?;
        write!(f, "The gateway's certificate holds until {certificate_not_after}; ")?;
        match &self.crl_next_update {
            Some(next_update) => writeln!(f, "the CRL holds until {next_update}{}.", after(self.crl_grace))?,
            None => writeln!(f, "revocation is disabled.")?,
        }
        match &self.key_protection {
            None => writeln!(f, "Its key was not opened, and may not be the certificate's.")?,
            Some(Protection::None) => {}
            Some(protection) => writeln!(f, "Its key was opened; it is protected by: {protection}.")?,
        }
        for address in &self.open {
            let reached = self.routes_for_anyone.join(", ");
            writeln!(f, "On {address}, callers without a certificate reach {reached}.")?;
        }
        if let Some(routes) = self.shadow_routes {
            writeln!(f, "A policy of {routes} route(s) is tried beside it.")?;
        }
        Ok(())
    }
}

/// How long a list is relied on after its end, as a part of a sentence.
fn after(grace: u64) -> String {
    match i64::try_from(grace) {
        Ok(0) => String::new(),
        grace => {
            let grace = time::Duration::seconds(grace.unwrap_or(i64::MAX));
            format!(", and is relied on for {} after that", format_duration(grace))
        }
    }
}

/// Reads the configuration in `path`.
pub(crate) fn load(path: &Path) -> Result<Config, RunError> {
    let bytes = Config::read_guarded(path)?;
    Config::of_file(path, &bytes)
        .map_err(|problems| RunError::Configuration { path: path.to_owned(), problems })
}

/// Reads the configuration in `path` for whoever only asks what it would decide.
pub(crate) fn load_to_ask(path: &Path) -> Result<Config, RunError> {
    let bytes = Config::read(path)?;
    Config::of_file_to_ask(path, &bytes)
        .map_err(|problems| RunError::Configuration { path: path.to_owned(), problems })
}

/// Loads everything that `config` names but the keys, as a gateway that starts now would.
pub(crate) fn load_state(config: &Config, clock: &Arc<dyn Clock>) -> Result<State, RunError> {
    Ok(loader(clock).without_keys(config).map_err(GatewayError::from)?)
}

fn loader(clock: &Arc<dyn Clock>) -> Loader {
    Loader::new(Arc::clone(clock), None, 1, Keyring::default())
}

fn open(access_log: &AccessLog) -> Result<Box<dyn Destination>, RunError> {
    Ok(match access_log {
        AccessLog::File(path) => {
            let failed = |source| RunError::AccessLog { path: path.clone(), source };
            Box::new(LogFile::open(path.clone()).map_err(failed)?)
        }
        AccessLog::Off => Box::new(io::sink()),
        AccessLog::Stdout => Box::new(io::stdout()),
    })
}

/// Why a gateway does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The access log cannot be written, or read.
    #[error("cannot use the access log {}", path.display())]
    AccessLog {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A certificate to be judged is none.
    #[error("the certificate {} cannot be read", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: X509Error,
    },
    /// The configuration has problems.
    #[error("the configuration {} has {} problem{}", path.display(), problems.len(), if problems.len() == 1 { "" } else { "s" })]
    Configuration {
        /// The file.
        path: PathBuf,
        /// All of them, in the order of the file.
        problems: Vec<YamlProblem>,
    },
    /// The system does not give what a process needs.
    #[error("the gateway cannot run here")]
    Environment {
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It does not start.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// What is to be replayed is none.
    #[error("{} has no line of an access log", path.display())]
    NoAccessLog {
        /// The file.
        path: PathBuf,
    },
    /// The configuration has no such listener.
    #[error("the gateway does not listen on {}", address.map_or_else(|| "any address".to_owned(), |address| address.to_string()))]
    NoListener {
        /// The address.
        address: Option<SocketAddr>,
    },
}

impl Coded for RunError {
    fn coded(&self) -> Code {
        match self {
            Self::AccessLog { .. } => Code::environment("gateway.access_log"),
            Self::Certificate { source, .. } => source.coded(),
            Self::Configuration { .. } => Code::refused("gateway.configuration"),
            Self::Environment { .. } => Code::environment("gateway.environment"),
            Self::File(error) => error.coded(),
            Self::Gateway(error) => error.coded(),
            Self::NoAccessLog { .. } => Code::environment("gateway.no_access_log"),
            Self::NoListener { .. } => Code::usage("gateway.no_listener"),
        }
    }
}
