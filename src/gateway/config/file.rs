//! The whole configuration, and the file that it is read from.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use super::assertion::AssertionSettings;
use super::error::ConfigError;
use super::identity::{IdentityFiles, identity};
use super::limits::Limits;
use super::routes::{self, MAX_FILE_BYTES, RouteContext};
use super::shadow::{self, ShadowPolicy};
use super::startup::StartupOptions;
use super::tokens::TokenSettings;
use super::trust::{Resumption, TrustSettings};
use super::upstream::{UpstreamSettings, upstream};
use super::{listen, schema};
use crate::files::{self, FileError};
use crate::gateway::message::forwarding_rules::ForwardingRules;
use crate::gateway::message::reserved_headers::{HeaderPattern, ReservedHeaders};
use crate::gateway::message::via::Via;
use crate::gateway::policy::{Caller, Policy, Route};
use crate::identity::TrustDomain;
use crate::mtls::keys::KeySource;
use crate::mtls::{ClientCertificate, Listener};
use crate::serving::access_log::{AccessLog, access_log};
use crate::serving::sockets::collide;
use crate::yaml::reader::{self, Item, KeyFiles, Problems};
use crate::yaml::values::{count, directory, file, in_directory, socket_address};
use crate::yaml::{Document, YamlProblem};

/// Number of worker threads: as configured, or one for each processor.
pub fn workers(config: &Config) -> usize {
    config.threads.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from)
}

/// Configuration of a gateway, complete and valid.
#[derive(Clone, Debug)]
pub struct Config {
    /// File that it was read from, and that a reload reads again.
    pub path: Option<PathBuf>,
    /// Files that are loaded with it.
    pub(super) loaded: Vec<PathBuf>,
    /// Listeners: at least one, each with another address.
    pub listen: Vec<Listener>,
    /// Certificate and key of the gateway.
    pub identity: IdentityFiles,
    /// Trust anchors and revocation checking.
    pub trust: TrustSettings,
    /// Trust domain of every client; `None` for that of the gateway's certificate.
    pub trust_domain: Option<TrustDomain>,
    /// Resumption of TLS sessions.
    pub resumption: Resumption,
    /// Access tokens; `None` to accept none.
    pub tokens: Option<TokenSettings>,
    /// Identities that may push CRLs and read the status. An empty list permits none.
    pub operators: Vec<Caller>,
    /// Rules for the header fields of forwarded messages.
    pub forwarding: ForwardingRules,
    /// Directory for pushed CRLs and the numbers of the newest CRLs.
    pub state_directory: Option<PathBuf>,
    /// Upstreams; an [`UpstreamId`](crate::gateway::policy::UpstreamId) is an index into this list.
    pub upstreams: Vec<UpstreamSettings>,
    /// Policy in force.
    pub policy: Policy,
    /// Second policy, which is evaluated and logged only.
    pub shadow: Option<ShadowPolicy>,
    /// Limits and timeouts.
    pub limits: Limits,
    /// Assertions to upstreams; `None` to send none.
    pub assertion: Option<AssertionSettings>,
    /// Destination of the access log.
    pub access_log: AccessLog,
    /// Address of the metrics listener, if any.
    pub metrics: Option<SocketAddr>,
    /// Path of the admin socket of `cluster-gateway status` and others, if any.
    pub admin: Option<PathBuf>,
    /// Options that take effect only at the start.
    pub options: StartupOptions,
    /// Number of worker threads; `None` for one per processor.
    pub threads: Option<NonZeroUsize>,
}

impl Config {
    /// Load the configuration from a file that only its owner can write.
    ///
    /// # Errors
    /// Every [`YamlProblem`], in the order of the file.
    pub fn load(path: &Path) -> Result<Self, Vec<YamlProblem>> {
        let unreadable = |error| {
            let text = reader::Chain(&error).to_string();
            vec![YamlProblem::new(&path.display().to_string(), None, &text)]
        };
        Self::of_file(path, &Self::read_guarded(path).map_err(unreadable)?)
    }

    /// Read a configuration file that is to take effect: it must be protected against writing by other users.
    ///
    /// # Errors
    /// As [`Config::read`], and [`FileError`] if another user can write the file.
    pub fn read_guarded(path: &Path) -> Result<Vec<u8>, FileError> {
        files::check_write_protected(path)?;
        Self::read(path)
    }

    /// Read the bytes of a configuration file, at most 16 MiB.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be read; its content is not checked.
    pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
        files::read(path, MAX_FILE_BYTES)
    }

    /// Parse the `bytes` of the configuration file at `path`.
    ///
    /// # Errors
    /// Every [`YamlProblem`], in the order of the file.
    pub fn of_file(path: &Path, bytes: &[u8]) -> Result<Self, Vec<YamlProblem>> {
        Self::of_file_with(path, bytes, KeyFiles::Checked)
    }

    /// Parse the `bytes` of the configuration file at `path` for offline commands: its private keys may be
    /// missing.
    ///
    /// # Errors
    /// Every [`YamlProblem`], in the order of the file.
    pub fn of_file_offline(path: &Path, bytes: &[u8]) -> Result<Self, Vec<YamlProblem>> {
        Self::of_file_with(path, bytes, KeyFiles::Unchecked)
    }

    fn of_file_with(path: &Path, bytes: &[u8], keys: KeyFiles) -> Result<Self, Vec<YamlProblem>> {
        let config = Self::parse_with(&path.display().to_string(), bytes, files::parent(path), keys)?;
        Ok(Self { path: Some(path.to_owned()), ..config })
    }

    /// Path of the `admin` socket in the file at `path`, even if the rest of the file is invalid.
    ///
    /// # Errors
    /// The [`YamlProblem`]s, if the file is not YAML or `admin` is not a path.
    pub fn admin_of(path: &Path, bytes: &[u8]) -> Result<Option<PathBuf>, Vec<YamlProblem>> {
        let file = path.display().to_string();
        let admin = |bytes: &[u8]| -> Result<Option<PathBuf>, Vec<YamlProblem>> {
            let document =
                Document::parse_within(MAX_FILE_BYTES, &file, bytes).map_err(|problem| vec![problem])?;
            let value: serde_yaml::Value = document.deserialize().map_err(|problem| vec![problem])?;
            let Some(admin) = value.get("admin") else { return Ok(None) };
            let problems = Problems::default();
            let named = Item::new(admin, document.at("admin"), &problems).text();
            named.map(|text| Some(files::parent(path).join(text))).ok_or_else(|| problems.into_sorted())
        };
        admin(bytes).or_else(|whole| {
            // The file is not YAML, but its top-level line `admin:` may be.
            let text = String::from_utf8_lossy(bytes);
            let lines: Vec<_> = text.lines().filter(|line| line.starts_with("admin:")).collect();
            match lines.as_slice() {
                [line] => admin(line.as_bytes()).map_err(|_| whole),
                _ => Err(whole),
            }
        })
    }

    /// Files whose change leads to a reload: the configuration file and those that it names. Empty if the
    /// configuration was not read from a file, because it cannot be reloaded then.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let Self { path, loaded, .. } = self;
        path.iter().flat_map(|path| std::iter::once(path).chain(loaded)).cloned().collect()
    }

    /// Files as in [`Config::files`], for the file at `path` as it is now, even if it is invalid. Files that it
    /// names need not exist yet.
    #[must_use]
    pub fn files_of(path: &Path) -> Vec<PathBuf> {
        let mut files = vec![path.to_owned()];
        if let Ok(bytes) = Self::read(path)
            && let Ok(document) = Document::parse_within(MAX_FILE_BYTES, &path.display().to_string(), &bytes)
            && let Ok(value) = document.deserialize()
        {
            let problems = Problems::of(KeyFiles::Unchecked);
            let _ = read(&Item::new(&value, document.root(), &problems), files::parent(path));
            files.extend(problems.loaded_files());
        }
        files
    }

    /// Private key files in the configuration.
    pub fn keys(&self) -> impl Iterator<Item = &KeySource> {
        let assertion = self.assertion.iter().filter_map(|assertion| assertion.key.as_ref());
        std::iter::once(&self.identity.key).chain(assertion)
    }

    /// Parse a configuration. Problems name the source `file`; relative paths are relative to `base`.
    ///
    /// # Errors
    /// Every [`YamlProblem`], in the order of the file.
    pub fn parse(file: &str, bytes: &[u8], base: &Path) -> Result<Self, Vec<YamlProblem>> {
        Self::parse_with(file, bytes, base, KeyFiles::Checked)
    }

    fn parse_with(file: &str, bytes: &[u8], base: &Path, keys: KeyFiles) -> Result<Self, Vec<YamlProblem>> {
        let alone = |problem| vec![problem];
        let document = Document::parse_within(MAX_FILE_BYTES, file, bytes).map_err(alone)?;
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

/// Read all keys. Values that are missing from the result have been reported.
fn read(root: &Item<'_>, base: &Path) -> Option<Config> {
    let mut fields = root.fields(&schema::ROOT)?;
    let listen_item = fields.required("listen");
    let listen = listen_item.as_ref().map(listen::listeners).unwrap_or_default();
    let identity = fields.required("identity").and_then(|item| identity(&item, base));
    let disabled = fields.optional("revocation");
    let trust = fields.required("trust").and_then(|item| TrustSettings::read(&item, disabled.as_ref(), base));
    let trust_domain = fields.optional("trust_domain").and_then(|item| item.read(str::parse));
    let resumption = match fields.optional("resumption") {
        Some(item) => Resumption::read(&item),
        None => Some(Resumption::default()),
    };
    let tokens_item = fields.optional("tokens");
    let tokens = match &tokens_item {
        Some(item) => TokenSettings::read(item, base).map(Some),
        None => Some(None),
    };
    let operators = fields.optional("operators");
    let state_directory = fields.optional("state_directory");
    if let (Some(item), None) = (&operators, &state_directory) {
        item.report(ConfigError::NoStateDirectory);
    }
    // Write access to the state directory is control over revocation.
    let state_directory = state_directory.and_then(|item| {
        directory(&item, base, |path| match item.key_files() {
            KeyFiles::Checked => files::check_unshared_directory(path),
            // Offline commands may run as another user than the gateway.
            KeyFiles::Unchecked => files::check_directory(path),
        })
    });
    let operators = operators.and_then(|item| item.list()).into_iter().flatten();
    let operators = operators.filter_map(|item| routes::member(&item)).collect();
    let services = fields.required("upstreams").map(|item| item.named());
    let upstreams = services.iter().flatten().map(upstream).collect::<Vec<_>>();
    let groups = fields.optional("groups");
    let accepts_anyone = |listener: &Listener| listener.client_certificate == ClientCertificate::Optional;
    let context =
        RouteContext::new(services.as_deref().unwrap_or_default(), listen.iter().any(accepts_anyone))
            .with_users(tokens_item.is_some());
    let routes = fields.required("routes");
    let policy = routes.as_ref().and_then(|item| routes::read(item, groups.as_ref(), &context));
    let shadow = match fields.optional("policy") {
        Some(item) => shadow::read(&item, base, &context).map(Some),
        None => Some(None),
    };
    // Without routes, no upstream is used.
    if routes.is_some() {
        context.report_unused();
    }
    if let (Some(item), Some(policy)) = (&listen_item, &policy)
        && listen.iter().any(accepts_anyone)
        && !policy.routes().any(Route::is_for_anyone)
    {
        item.report(ConfigError::NothingForAnyone);
    }
    let reserved = reserved_headers(fields.optional("remove_headers").as_ref());
    if let (Some(item), Some(policy)) = (&tokens_item, &policy)
        && !policy.routes().any(Route::is_for_users)
    {
        item.report(ConfigError::TokensUnused);
    }
    let via = match fields.optional("via") {
        Some(item) => item.read(|name| match name {
            "off" => Ok(None),
            _ => Via::named(name).map(Some),
        }),
        None => Some(Some(Via::default())),
    };
    let limits = fields.optional("limits").map(|item| Limits::read(&item)).unwrap_or_default();
    let access_log = match fields.optional("access_log") {
        Some(item) => access_log(&item, base),
        None => Some(AccessLog::default()),
    };
    let assertion = fields.optional("assertion").and_then(|item| AssertionSettings::read(&item, base));
    let metrics_item = fields.optional("metrics");
    let metrics = metrics_item.as_ref().and_then(|item| item.read(socket_address));
    if let (Some(item), Some(metrics)) = (&metrics_item, metrics)
        && listen.iter().any(|listener| collide(listener.address, metrics))
    {
        item.report(ConfigError::MetricsAddress);
    }
    let admin = fields.optional("admin").and_then(|item| file(&item, base, in_directory));
    let threads = fields.optional("threads").and_then(|item| count(&item)).and_then(NonZeroUsize::new);
    let options = StartupOptions::read(&mut fields);
    fields.finish();
    Some(Config {
        path: None,
        loaded: Vec::new(),
        listen,
        identity: identity?,
        trust: trust?,
        trust_domain,
        resumption: resumption?,
        tokens: tokens?,
        operators,
        forwarding: ForwardingRules { reserved, via: via? },
        state_directory,
        upstreams: upstreams.into_iter().collect::<Option<_>>()?,
        policy: policy?,
        shadow: shadow?,
        limits,
        assertion,
        access_log: access_log?,
        metrics,
        admin,
        options: options?,
        threads,
    })
}

/// Read names and prefixes of header fields to remove, beside those that are always removed.
fn reserved_headers(item: Option<&Item<'_>>) -> ReservedHeaders {
    let mut patterns: Vec<HeaderPattern> = Vec::new();
    for item in item.and_then(Item::list).unwrap_or_default() {
        let Some(pattern) = item.read(HeaderPattern::parse) else { continue };
        if patterns.contains(&pattern) {
            item.report(ConfigError::Repeated);
        }
        patterns.push(pattern);
    }
    ReservedHeaders::with(&patterns)
}
