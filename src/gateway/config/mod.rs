//! The gateway's configuration: YAML in, a [`Config`] that cannot be wrong out, or every problem with
//! its line.
//!
//! An unknown key is a problem, and so is what can have no effect: a route that no request reaches, an
//! upstream or group that no route uses. Relative paths are relative to the file. Whether certificate,
//! key and bundle fit each other is not judged here.

mod assertion;
mod issuers;
mod key;
mod limits;
mod listen;
mod reader;
mod routes;
pub mod schema;
mod shadow;
mod trust;

pub use assertion::Assertion;
pub use key::KeySource;
pub use limits::Limits;
pub use listen::{ClientCertificate, Listener};
pub use trust::{Resumption, Revocation, Trust};

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderValue;

use self::reader::{Item, KeyFiles, Problems};
use self::routes::Ground;
use super::policy::{Caller, Policy, Route};
use crate::clock::{TimeTextError, parse_duration};
use crate::files::{self, FileError};
use crate::gateway::message::framing::Host;
use crate::identity::TrustDomain;
use crate::yaml::{Document, LIMIT, YamlProblem};

/// Everything a gateway is told when it starts or reloads.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that it was read from, to be read again on a reload.
    pub path: Option<PathBuf>,
    /// The files that are loaded with it.
    loaded: Vec<PathBuf>,
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
    /// A policy that is asked too, and not heeded.
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

/// The files of a certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The certificate, its issuers after it if there are any.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: KeySource,
}

/// One service behind the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// What routes call it.
    pub name: String,
    /// Its host name or address; an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How long connecting to it may take.
    pub connect_timeout: Duration,
    /// From the end of a request to the header of its response.
    pub response_timeout: Duration,
}

impl Upstream {
    /// The default of [`Upstream::connect_timeout`].
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    /// The default of [`Upstream::response_timeout`].
    pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
}

/// A policy that is tried beside the one in force.
#[derive(Clone, Debug)]
pub struct Shadow {
    /// The file of its routes and groups.
    pub path: PathBuf,
    /// The policy itself.
    pub policy: Policy,
}

/// Where a line for each request goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessLog {
    /// To a file, at its end.
    File(PathBuf),
    /// Nowhere.
    Off,
    /// To standard output.
    #[default]
    Stdout,
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

fn identity(item: &Item<'_>, base: &Path) -> Option<IdentityFiles> {
    let mut fields = item.fields(&schema::IDENTITY)?;
    let certificate = fields.required("certificate").and_then(|item| guarded(&item, base));
    let key = fields.required("key");
    let key = KeySource::from(key.as_ref(), &mut fields, base);
    fields.finish();
    Some(IdentityFiles { certificate: certificate?, key: key? })
}

fn upstream((name, item): &(&str, Item<'_>)) -> Option<Upstream> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        item.report(ConfigError::UpstreamName);
    }
    let mut fields = item.fields(&schema::UPSTREAM)?;
    let url = fields.required("url").and_then(|item| item.read(url));
    let mut timeout = |key, default| match fields.optional(key) {
        Some(item) => duration(&item),
        None => Some(default),
    };
    let connect_timeout = timeout("connect_timeout", Upstream::CONNECT_TIMEOUT);
    let response_timeout = timeout("response_timeout", Upstream::RESPONSE_TIMEOUT);
    fields.finish();
    let (host, port) = url?;
    Some(Upstream {
        name: (*name).to_owned(),
        host,
        port,
        connect_timeout: connect_timeout?,
        response_timeout: response_timeout?,
    })
}

/// Host and port of `http://HOST:PORT`.
fn url(text: &str) -> Result<(String, u16), ConfigError> {
    let wrong = || ConfigError::Url { given: text.to_owned() };
    if text.starts_with("https://") {
        return Err(ConfigError::UrlScheme);
    }
    let authority = text.strip_prefix("http://").ok_or_else(wrong)?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let value = HeaderValue::from_str(authority).map_err(|_| wrong())?;
    let host = Host::parse(&value).map_err(|_| wrong())?;
    let port = host.port().unwrap_or(80);
    if port == 0 {
        return Err(wrong());
    }
    Ok((host.name().trim_matches(['[', ']']).to_owned(), port))
}

fn access_log(item: &Item<'_>, base: &Path) -> Option<AccessLog> {
    match item.text()? {
        "stdout" => Some(AccessLog::Stdout),
        "off" => Some(AccessLog::Off),
        _ => file(item, base, in_directory).map(AccessLog::File),
    }
}

/// Whether there is a directory for a file that need not be there.
fn in_directory(path: &Path) -> Result<(), FileError> {
    files::check_directory(files::parent(path))
}

/// The path of a file that passes `check`.
fn file(item: &Item<'_>, base: &Path, check: impl FnOnce(&Path) -> Result<(), FileError>) -> Option<PathBuf> {
    if item.text()?.is_empty() {
        item.report(ConfigError::NoFile);
        return None;
    }
    let path = base.join(item.text()?);
    match check(&path) {
        Ok(()) => Some(path),
        Err(error) => {
            let remedy = error.remedy().map(|remedy| format!(": {remedy}")).unwrap_or_default();
            item.report(format_args!("{}{remedy}", reader::Chain(&error)));
            None
        }
    }
}

/// The same of a file that is loaded with the configuration and says whom to believe: not where anybody may
/// change it.
fn guarded(item: &Item<'_>, base: &Path) -> Option<PathBuf> {
    loaded(item, base, |path| item.key_files().check(path))
}

/// The same of a file that is loaded with the configuration.
fn loaded(
    item: &Item<'_>,
    base: &Path,
    check: impl FnOnce(&Path) -> Result<(), FileError>,
) -> Option<PathBuf> {
    file(item, base, |path| {
        item.names_loaded(path);
        check(path)
    })
}

fn duration(item: &Item<'_>) -> Option<Duration> {
    with_unit(item, duration_of)
}

/// A duration that `parse` understands.
fn with_unit<E: std::error::Error>(
    item: &Item<'_>,
    parse: impl FnOnce(&str) -> Result<Duration, E>,
) -> Option<Duration> {
    if let Some(given) = item.bare_number() {
        item.report(ConfigError::DurationWithoutUnit { given });
        return None;
    }
    item.read(parse)
}

fn duration_of(text: &str) -> Result<Duration, TimeTextError> {
    parse_duration(text).map(time::Duration::unsigned_abs)
}

/// The rules of the configuration that are not another module's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum ConfigError {
    #[error("`{given}` is not an address and port, such as 127.0.0.1:4523 or [::1]:4523")]
    Address { given: String },
    #[error("from 1s to 10m is possible")]
    AssertionLifetime,
    #[error("`{given}`: either `flocker` or `spiffe` was expected")]
    CallerIdentity { given: String },
    #[error("1 to 255 visible ASCII characters were expected")]
    Claim,
    #[error("`{given}`: either `optional` or `required` was expected")]
    ClientCertificate { given: String },
    #[error("`{given}` is not a cluster's UUID, in lower case and with hyphens")]
    Cluster { given: String },
    #[error("only `identity: flocker` reads it")]
    ClusterUnused,
    #[error("`{given}`: either `absent`, `present` or a list of values was expected")]
    Condition { given: String },
    #[error("a whole number from 1 to 1000000 was expected")]
    Count,
    #[error("revocation is disabled, so that nothing depends on this: leave it away")]
    DisabledAnyway,
    #[error("revocation is disabled, yet `trust` has a `crl`: leave one of them away")]
    DisabledWithCrl,
    #[error(
        "`{given}` is not a duration: write a whole number and a unit (s, m, h, d, w or y), such as {given}s or {given}h"
    )]
    DurationWithoutUnit { given: u64 },
    #[error("from 8KiB to 1MiB is possible")]
    HeaderBytes,
    #[error("from 1s to 1h is possible")]
    KmsTimeout,
    #[error("only a key that `kms` opens is waited for")]
    KmsTimeoutUnused,
    #[error(
        "`{given}` is not a method that a route can be for; those are GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS"
    )]
    Method { given: String },
    #[error("`{given}`: methods are written in upper case: {upper}")]
    MethodCase { given: String, upper: String },
    #[error("a listener has this address: choose another one, or another port")]
    MetricsAddress,
    #[error("{method} is never passed on")]
    NeverPassed { method: &'static str },
    #[error("no address is given")]
    NoAddress,
    #[error("`identity: flocker` needs the UUID of the `cluster`")]
    NoCluster,
    #[error("no condition is given")]
    NoConditions,
    #[error("`crl` is missing; a gateway that shall not know what is revoked says `revocation: disabled`")]
    NoCrl,
    #[error("no file is given")]
    NoFile,
    #[error("no issuer is given")]
    NoIssuers,
    #[error("there is no `key` for it to open")]
    NoKey,
    #[error("no method is given")]
    NoMethods,
    #[error("no route is given, so that nobody could do anything")]
    NoRoutes,
    #[error("a CRL that an operator pushes must outlive a restart: `state_directory` says where to keep it")]
    NoStateDirectory,
    #[error("no value is given")]
    NoValues,
    #[error("the path has no variable of this name")]
    NoVariable,
    #[error("callers without a certificate are let in, but no route is for `anyone`")]
    NothingForAnyone,
    #[error("`{given}`: the only word for it is `disabled`")]
    OnlyDisabled { given: String },
    #[error("this stands twice")]
    Repeated,
    #[error("no listener lets callers without a certificate in: one must say `client_certificate: optional`")]
    NobodyIsAnyone,
    #[error("either a `role`, with or without a `name`, or a `group`, or the word `anyone` was expected")]
    RoleOrGroup,
    #[error("`{given}` is not a size: write a whole number and a unit (B, KiB, MiB or GiB), such as 64KiB")]
    Size { given: String },
    #[error("`{given}`: either `refuse` or `{{ grace: 7d }}` was expected")]
    Staleness { given: String },
    #[error("`revocation: disabled` stands by itself, beside `trust`, and not in it")]
    RevocationInTrust,
    #[error("a key is opened by `kms` or by a passphrase: leave one of them away")]
    TwoOpeners,
    #[error("no {what} is called `{name}`")]
    Undeclared { what: &'static str, name: String },
    #[error("no route uses it")]
    Unused,
    #[error("`{given}`: the only upgrade that is passed on is `websocket`")]
    Upgrade { given: String },
    #[error("`{given}` is not `http://HOST:PORT`; a path, a query or user information cannot be given")]
    Url { given: String },
    #[error("https to an upstream is not supported: write http, to a service on this machine or network")]
    UrlScheme,
    #[error("the name of an upstream has 1 to 64 lower-case letters, digits, `-` and `_`")]
    UpstreamName,
    #[error("only a route can name its callers by a variable of its path")]
    VariableInGroup,
}

#[cfg(test)]
mod tests;
