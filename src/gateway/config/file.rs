//! Configuration as a whole.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use super::access_log::{AccessLog, access_log};
use super::assertion::Assertion;
use super::identity::{IdentityFiles, identity};
use super::limits::{self, Limits};
use super::shadow::Shadow;
use super::trust::{Resumption, Trust};
use super::upstream::{Upstream, upstream};
use super::{listen, reader, routes, schema, shadow};
use crate::files::{self, FileError};
use crate::gateway::config::error::ConfigError;
use crate::gateway::config::reader::{Item, KeyFiles, Problems};
use crate::gateway::config::routes::Ground;
use crate::gateway::config::values::{file, in_directory};
use crate::gateway::policy::{Caller, Policy, Route};
use crate::identity::TrustDomain;
use crate::mtls::keys::KeySource;
use crate::mtls::{ClientCertificate, Listener};
use crate::yaml::{Document, LIMIT, YamlProblem};

/// As many as the machine has processors, unless the configuration says otherwise.
pub fn workers(config: &Config) -> usize {
    config.threads.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from)
}

/// Everything a gateway is told when it starts or reloads.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that it was read from, to be read again on a reload.
    pub path: Option<PathBuf>,
    /// The files that are loaded with it.
    pub(super) loaded: Vec<PathBuf>,
    /// Where to listen; at least one address, none twice.
    pub listen: Vec<Listener>,
    /// The gateway's own certificate and key.
    pub identity: IdentityFiles,
    /// Whom to believe.
    pub trust: Trust,
    /// The cluster; without it, that of the gateway's own certificate.
    pub trust_domain: Option<TrustDomain>,
    /// Whether sessions may be resumed.
    pub resumption: Resumption,
    /// Who may push CRLs and ask for the gateway's status; with nobody listed, nobody.
    pub operators: Vec<Caller>,
    /// Where pushed CRLs are kept, and which were the newest.
    pub state_directory: Option<PathBuf>,
    /// The services behind; an [`UpstreamId`](super::policy::UpstreamId) is a position here.
    pub upstreams: Vec<Upstream>,
    /// Who may make which call.
    pub policy: Policy,
    /// A policy that is asked too, and not last_command.
    pub shadow: Option<Shadow>,
    /// How much of anything.
    pub limits: Limits,
    /// What the services behind are told in a form that they can verify; without it, nothing is signed.
    pub assertion: Option<Assertion>,
    /// Where a line for each request goes.
    pub access_log: AccessLog,
    /// Where metrics are fetched; without it, nowhere.
    pub metrics: Option<SocketAddr>,
    /// The socket of `cluster-gateway status` and its like; without it, there is none.
    pub admin: Option<PathBuf>,
    /// How many threads serve; without it, one for each processor.
    pub threads: Option<NonZeroUsize>,
}

impl Config {
    /// Reads the configuration in a file.
    ///
    /// # Errors
    /// Every [`YamlProblem`], in the order of the file.
    pub fn load(path: &Path) -> Result<Self, Vec<YamlProblem>> {
        let unreadable = |error| {
            let words = reader::Chain(&error).to_string();
            vec![YamlProblem::new(&path.display().to_string(), None, &words)]
        };
        Self::of_file(path, &Self::read_guarded(path).map_err(unreadable)?)
    }

    /// What is in the file of a configuration that is to be in force.
    ///
    /// # Errors
    /// As [`Config::read`], or anybody may change it.
    pub fn read_guarded(path: &Path) -> Result<Vec<u8>, FileError> {
        files::check_write_protected(path)?;
        Self::read(path)
    }

    /// What is in the file of a configuration.
    ///
    /// # Errors
    /// [`FileError`] when it cannot be read, which is no problem of what is in it.
    pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
        files::read(path, LIMIT)
    }

    /// Reads the configuration that was in the file.
    ///
    /// # Errors
    /// Every [`YamlProblem`], in the order of the file.
    pub fn of_file(path: &Path, bytes: &[u8]) -> Result<Self, Vec<YamlProblem>> {
        Self::of_file_with(path, bytes, KeyFiles::Checked)
    }

    /// Reads the configuration that was in the file for whoever only asks: the private keys that it names
    /// need not be there.
    ///
    /// # Errors
    /// Every [`YamlProblem`], in the order of the file.
    pub fn of_file_to_ask(path: &Path, bytes: &[u8]) -> Result<Self, Vec<YamlProblem>> {
        Self::of_file_with(path, bytes, KeyFiles::Left)
    }

    fn of_file_with(path: &Path, bytes: &[u8], keys: KeyFiles) -> Result<Self, Vec<YamlProblem>> {
        let config = Self::parse_with(&path.display().to_string(), bytes, files::parent(path), keys)?;
        Ok(Self { path: Some(path.to_owned()), ..config })
    }

    /// The `admin` socket that the file at `path` names, whatever is wrong with the rest of it.
    ///
    /// # Errors
    /// The file cannot be read, or what it says under `admin` is no path.
    pub fn admin_of(path: &Path, bytes: &[u8]) -> Result<Option<PathBuf>, Vec<YamlProblem>> {
        let file = path.display().to_string();
        let admin = |bytes: &[u8]| -> Result<Option<PathBuf>, Vec<YamlProblem>> {
            let document = Document::parse(&file, bytes).map_err(|problem| vec![problem])?;
            let value: serde_yaml::Value = document.deserialize().map_err(|problem| vec![problem])?;
            let Some(admin) = value.get("admin") else { return Ok(None) };
            let problems = Problems::default();
            let named = Item::new(admin, document.at("admin"), &problems).text();
            named.map(|text| Some(files::parent(path).join(text))).ok_or_else(|| problems.into_sorted())
        };
        admin(bytes).or_else(|whole| {
            // Where it is no YAML, its line may be: nothing nests there.
            let text = String::from_utf8_lossy(bytes);
            let lines: Vec<_> = text.lines().filter(|line| line.starts_with("admin:")).collect();
            match lines.as_slice() {
                [line] => admin(line.as_bytes()).map_err(|_| whole),
                _ => Err(whole),
            }
        })
    }

    /// The files whose change is a reason to load everything again: its own, and those it names. None
    /// where it was not read from a file, since then nothing can be loaded again.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let Self { path, loaded, .. } = self;
        path.iter().flat_map(|path| std::iter::once(path).chain(loaded)).cloned().collect()
    }

    /// The same of the configuration in the file at `path`, as it is now and whatever is wrong with it: what
    /// it names may come yet.
    #[must_use]
    pub fn files_of(path: &Path) -> Vec<PathBuf> {
        let mut files = vec![path.to_owned()];
        if let Ok(bytes) = Self::read(path)
            && let Ok(document) = Document::parse(&path.display().to_string(), &bytes)
            && let Ok(value) = document.deserialize()
        {
            let problems = Problems::of(KeyFiles::Left);
            let _ = read(&Item::new(&value, document.root(), &problems), files::parent(path));
            files.extend(problems.loaded_files());
        }
        files
    }

    /// The private keys that it names.
    pub fn keys(&self) -> impl Iterator<Item = &KeySource> {
        let assertion = self.assertion.iter().filter_map(|assertion| assertion.key.as_ref());
        std::iter::once(&self.identity.key).chain(assertion)
    }

    /// Reads a configuration from `bytes`, which messages call `file`; `base` is what its relative paths
    /// are relative to.
    ///
    /// # Errors
    /// Every [`YamlProblem`], in the order of the file.
    pub fn parse(file: &str, bytes: &[u8], base: &Path) -> Result<Self, Vec<YamlProblem>> {
        Self::parse_with(file, bytes, base, KeyFiles::Checked)
    }

    fn parse_with(file: &str, bytes: &[u8], base: &Path, keys: KeyFiles) -> Result<Self, Vec<YamlProblem>> {
        let alone = |problem| vec![problem];
        let document = Document::parse(file, bytes).map_err(alone)?;
        let value = document.deserialize().map_err(alone)?;
        let problems = Problems::of(keys);
        let config = read(&Item::new(&value, document.root(), &problems), base);
        let loaded = problems.loaded_files();
        let problems = problems.into_sorted();
        match config {
            Some(config) if problems.is_empty() => Ok(Self { loaded, ..config }),
            _ => Err(problems),
        }
    }
}

/// Reads all of it; what is missing from the result was reported.
fn read(root: &Item<'_>, base: &Path) -> Option<Config> {
    let mut fields = root.fields(&schema::ROOT)?;
    let listen_item = fields.required("listen");
    let listen = listen_item.as_ref().map(listen::listeners).unwrap_or_default();
    let identity = fields.required("identity").and_then(|item| identity(&item, base));
    let disabled = fields.optional("revocation");
    let trust = fields.required("trust").and_then(|item| Trust::read(&item, disabled.as_ref(), base));
    let trust_domain = fields.optional("trust_domain").and_then(|item| item.read(str::parse));
    let resumption = match fields.optional("resumption") {
        Some(item) => Resumption::read(&item),
        None => Some(Resumption::default()),
    };
    let operators = fields.optional("operators");
    let state_directory = fields.optional("state_directory");
    if let (Some(item), None) = (&operators, &state_directory) {
        item.report(ConfigError::NoStateDirectory);
    }
    // Whoever can write there says what has been revoked.
    let state_directory = state_directory.and_then(|item| {
        file(&item, base, |path| match item.key_files() {
            KeyFiles::Checked => files::check_unshared_directory(path),
            // Whoever only asks may be another user than the gateway's.
            KeyFiles::Left => files::check_directory(path),
        })
    });
    let operators = operators.and_then(|item| item.list()).into_iter().flatten();
    let operators = operators.filter_map(|item| routes::member(&item)).collect();
    let services = fields.required("upstreams").map(|item| item.named());
    let upstreams = services.iter().flatten().map(upstream).collect::<Vec<_>>();
    let groups = fields.optional("groups");
    let open = |listener: &Listener| listener.client_certificate == ClientCertificate::Optional;
    let ground = Ground::new(services.as_deref().unwrap_or_default(), listen.iter().any(open));
    let policy = fields.required("routes").and_then(|item| routes::read(&item, groups.as_ref(), &ground));
    let shadow = match fields.optional("policy") {
        Some(item) => shadow::read(&item, base, &ground).map(Some),
        None => Some(None),
    };
    ground.report_unused();
    if let (Some(item), Some(policy)) = (&listen_item, &policy)
        && listen.iter().any(open)
        && !policy.routes().any(Route::is_for_anyone)
    {
        item.report(ConfigError::NothingForAnyone);
    }
    let limits = fields.optional("limits").map(|item| Limits::read(&item)).unwrap_or_default();
    let access_log = match fields.optional("access_log") {
        Some(item) => access_log(&item, base),
        None => Some(AccessLog::default()),
    };
    let assertion = fields.optional("assertion").and_then(|item| Assertion::read(&item, base));
    let metrics_item = fields.optional("metrics");
    let metrics = metrics_item.as_ref().and_then(|item| item.read(listen::address));
    if let (Some(item), Some(metrics)) = (&metrics_item, metrics)
        && listen.iter().any(|listener| listen::collide(listener.address, metrics))
    {
        item.report(ConfigError::MetricsAddress);
    }
    let admin = fields.optional("admin").and_then(|item| file(&item, base, in_directory));
    let threads =
        fields.optional("threads").and_then(|item| limits::count(&item)).and_then(NonZeroUsize::new);
    fields.finish();
    Some(Config {
        path: None,
        loaded: Vec::new(),
        listen,
        identity: identity?,
        trust: trust?,
        trust_domain,
        resumption: resumption?,
        operators,
        state_directory,
        upstreams: upstreams.into_iter().collect::<Option<_>>()?,
        policy: policy?,
        shadow: shadow?,
        limits,
        assertion,
        access_log: access_log?,
        metrics,
        admin,
        threads,
    })
}
