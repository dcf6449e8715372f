//! Loader of new states, the lock that serializes changes, and the results of earlier changes.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use time::OffsetDateTime;

use crate::clock::rfc3339;
use crate::error::{Code, Coded, with_causes};
use crate::gateway::config::{Config, Limits, StartupOptions};
use crate::gateway::state::Loader;
use crate::mtls::Listener;
use crate::mtls::keys::{KeyOpener, KeyProgress};
use crate::serving::access_log::AccessLog;

/// Delay before the first retry of a key whose KMS cannot be reached; it doubles with each retry.
const FIRST_RETRY_DELAY: Duration = Duration::from_secs(2);

/// Longest delay between retries.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(60);

/// Trigger of a reload or push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Command on the admin socket.
    Admin,
    /// Change of the configuration file or of a file it names.
    FileChange,
    /// Key of an earlier reload that is now open, or due for a retry.
    Key,
    /// CRL pushed by an operator.
    Push,
    /// SIGHUP.
    Signal,
}

impl Trigger {
    /// Name in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::FileChange => "file_change",
            Self::Key => "key",
            Self::Push => "push",
            Self::Signal => "signal",
        }
    }
}

/// Serialized loading of new states, with its results.
#[derive(Debug)]
pub struct Changes {
    pub(super) loader: Loader,
    /// Configuration file; `None` if the configuration was not read from a file, which excludes reloads.
    pub(super) config: Option<PathBuf>,
    /// Settings that take effect only at the start.
    startup: StartupSettings,
    pub(super) turn: Mutex<()>,
    pub(super) results: Mutex<ReloadResults>,
    key: Mutex<PendingKey>,
    pub(super) needs_restart: Mutex<Vec<&'static str>>,
}

/// Key of the last reload that is not in force yet.
#[derive(Debug, Default)]
struct PendingKey {
    /// Set while the key is being opened.
    opening: bool,
    /// Time of the next retry, and the delay before it.
    retry: Option<(Instant, Duration)>,
    /// Code, and message with causes, if the key could not be opened.
    failed: Option<(Code, String)>,
}

impl PendingKey {
    fn is_due(&self, now: Instant) -> bool {
        self.opening || self.retry.is_some_and(|(at, _)| at <= now)
    }

    /// State after an attempt that has made `progress` at `now`. The delay doubles with each temporary failure.
    fn after(&self, progress: &KeyProgress, now: Instant) -> Self {
        let previous = self.retry.map(|(_, delay)| delay);
        let delay = match &progress.failed {
            Some(error) if error.is_temporary() => {
                Some(previous.map_or(FIRST_RETRY_DELAY, |delay| (delay * 2).min(MAX_RETRY_DELAY)))
            }
            // Checked when the opener is done, and no later than the scheduled retry.
            None if progress.pending => previous,
            _ => None,
        };
        let failed = progress.failed.as_ref().map(|error| (error.coded(), with_causes(error)));
        Self { opening: progress.pending, retry: delay.map(|delay| (now + delay, delay)), failed }
    }
}

impl Changes {
    /// Create the loader of a gateway that was started with `config`.
    #[must_use]
    pub fn new(loader: Loader, config: &Config) -> Self {
        Self {
            loader,
            config: config.path.clone(),
            startup: StartupSettings::of(config),
            turn: Mutex::default(),
            results: Mutex::default(),
            key: Mutex::default(),
            needs_restart: Mutex::default(),
        }
    }

    /// Configuration keys that changed since the start and take effect only after a restart.
    #[must_use]
    pub fn needs_restart(&self) -> Vec<&'static str> {
        self.needs_restart.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Record and log the settings that need a restart.
    pub(super) fn record_restart_needed(&self, config: &Config) {
        let differences = self.startup.differences(config);
        for key in &differences {
            tracing::warn!(key, "this configuration change takes effect only after a restart");
        }
        *self.needs_restart.lock().unwrap_or_else(PoisonError::into_inner) = differences;
    }

    /// Opener of the gateway's private keys.
    #[must_use]
    pub const fn key_opener(&self) -> &KeyOpener {
        self.loader.key_opener()
    }

    /// Return true while a key of the last reload is being opened.
    #[must_use]
    pub fn awaits_key(&self) -> bool {
        self.pending_key().opening
    }

    /// Code and message if a key of the last reload could not be opened; `None` if it is open or being opened.
    #[must_use]
    pub fn key_failure(&self) -> Option<(Code, String)> {
        self.pending_key().failed.clone()
    }

    /// Return true if a key is being opened, or its retry is due.
    #[must_use]
    pub fn is_key_due(&self, now: Instant) -> bool {
        self.pending_key().is_due(now)
    }

    fn pending_key(&self) -> MutexGuard<'_, PendingKey> {
        self.key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn record_key(&self, progress: &KeyProgress, now: Instant) {
        let mut pending = self.pending_key();
        *pending = pending.after(progress, now);
    }

    /// Files that the next reload will read, as far as the configuration can be parsed.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.config.as_deref().map(Config::files_of).unwrap_or_default()
    }

    /// Configuration file.
    #[must_use]
    pub const fn config(&self) -> Option<&PathBuf> {
        self.config.as_ref()
    }

    /// Results of earlier changes.
    #[must_use]
    pub fn results(&self) -> ReloadResults {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn record(&self, trigger: Trigger, at: OffsetDateTime, error: Option<(&'static str, String)>) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = results.counts.entry(trigger).or_default();
        match error {
            None => {
                counts.succeeded += 1;
                results.last_success = Some(at);
                results.last_error = None;
            }
            Some((code, message)) => {
                counts.failed += 1;
                results.last_error = Some(LastReloadError { at, trigger, code, message });
            }
        }
    }

    /// Count a push. It leaves the results of reloads alone, since it reads none of their files.
    pub(super) fn record_push(&self, succeeded: bool) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = results.counts.entry(Trigger::Push).or_default();
        if succeeded {
            counts.succeeded += 1;
        } else {
            counts.failed += 1;
        }
    }
}

/// Results of the changes since the start.
#[derive(Clone, Debug, Default)]
pub struct ReloadResults {
    /// Counts by trigger.
    pub counts: std::collections::BTreeMap<Trigger, ReloadCounts>,
    /// Time of the last successful reload.
    pub last_success: Option<OffsetDateTime>,
    /// Error of the last reload; `None` if it succeeded.
    pub last_error: Option<LastReloadError>,
}

/// Counts of changes by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReloadCounts {
    /// Changes that put a new state in force.
    pub succeeded: u64,
    /// Changes that failed, in whole or in part: an unopened key keeps the old certificate, not the old policy.
    pub failed: u64,
}

/// Failure of a reload, kept until the next success.
#[derive(Clone, Debug, Serialize)]
pub struct LastReloadError {
    /// Time of the failure.
    #[serde(serialize_with = "as_rfc3339")]
    pub at: OffsetDateTime,
    /// Trigger of the reload.
    pub trigger: Trigger,
    /// Code of the error.
    pub code: &'static str,
    /// Message with causes.
    pub message: String,
}

fn as_rfc3339<S: serde::Serializer>(time: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&rfc3339(*time))
}

/// Settings that take effect only at the start.
#[derive(Debug, PartialEq, Eq)]
struct StartupSettings {
    listen: Vec<Listener>,
    threads: Option<NonZeroUsize>,
    limits: Limits,
    access_log: AccessLog,
    metrics: Option<SocketAddr>,
    admin: Option<PathBuf>,
    options: StartupOptions,
}

impl StartupSettings {
    fn of(config: &Config) -> Self {
        Self {
            listen: config.listen.clone(),
            threads: config.threads,
            limits: config.limits.clone(),
            access_log: config.access_log.clone(),
            metrics: config.metrics,
            admin: config.admin.clone(),
            options: config.options.clone(),
        }
    }

    /// Configuration keys whose value differs in `config`.
    fn differences(&self, config: &Config) -> Vec<&'static str> {
        let differs = [
            ("listen", self.listen != config.listen),
            ("threads", self.threads != config.threads),
            ("limits", self.limits != config.limits),
            ("access_log", self.access_log != config.access_log),
            ("metrics", self.metrics != config.metrics),
            ("admin", self.admin != config.admin),
        ];
        let differs = differs.into_iter().filter_map(|(key, differs)| differs.then_some(key));
        differs.chain(self.options.differences(&config.options)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::gateway::config::schema;
    use crate::keys::KeyError;
    use crate::keys::kms::KmsError;
    use crate::mtls::keys::KeyLoadError;

    const RELOADED: &str = r#"identity: { certificate: gateway.crt, key: gateway.key }
trust: { bundle: cluster.crt, crl: cluster.crl }
upstreams:
  api: { url: "http://127.0.0.1:8080" }
routes:
  - { path: "/**", methods: [GET], allow: [{ role: api-user }], upstream: api }
"#;

    #[test]
    fn the_manual_page_marks_the_keys_that_need_a_restart() {
        let home = tempfile::tempdir().unwrap();
        for name in ["gateway.crt", "gateway.key", "cluster.crt", "cluster.crl"] {
            std::fs::write(home.path().join(name), "").unwrap();
        }
        let parse = |keys: &str| {
            let text = format!("{keys}{RELOADED}");
            Config::of_file_offline(&home.path().join("gateway.yaml"), text.as_bytes()).unwrap()
        };
        let before = parse("listen: 127.0.0.1:1\n");
        let after = parse(
            "listen: 127.0.0.1:2\nlimits: { connections: 1 }\naccess_log: off\nmetrics: 127.0.0.1:3\n\
             admin: admin.sock\nhttp1_title_case: true\nthreads: 1\ntrust_domain: other\nresumption: disabled\nassertion: {}\n\
             state_directory: .\noperators: [{ role: api-user }]\n",
        );
        let mut startup = StartupSettings::of(&before).differences(&after);
        let (root, others) = schema::FILE.mappings.split_first().unwrap();
        let marked = root.keys.iter().filter(|key| key.needs_restart).map(|key| key.name);
        let mut marked = marked.collect::<Vec<_>>();
        startup.sort_unstable();
        marked.sort_unstable();
        assert_eq!(startup, marked);
        assert!(others.iter().flat_map(|mapping| mapping.keys).all(|key| !key.needs_restart));
        assert!(StartupSettings::of(&before).differences(&before).is_empty());
    }

    fn failure(cause: KmsError) -> KeyProgress {
        let source = Box::new(KeyError::Kms(cause));
        KeyProgress { pending: false, failed: Some(KeyLoadError::Open { path: "tls.key".into(), source }) }
    }

    fn unavailable() -> KeyProgress {
        failure(KmsError::Sealed { address: "https://vault.example".to_owned() })
    }

    #[test]
    fn retries_of_a_temporary_failure_slow_down_to_a_minute() {
        let clock = ManualClock::new(OffsetDateTime::UNIX_EPOCH);
        let mut key = PendingKey::default();
        for seconds in [2, 4, 8, 16, 32, 60, 60] {
            key = key.after(&unavailable(), clock.monotonic());
            clock.advance(Duration::from_secs(seconds) - Duration::from_millis(1));
            assert!(!key.is_due(clock.monotonic()), "{seconds}");
            clock.advance(Duration::from_millis(1));
            assert!(key.is_due(clock.monotonic()), "{seconds}");
        }
    }

    #[test]
    fn an_open_key_resets_the_delay_and_a_permanent_failure_ends_the_retries() {
        let now = ManualClock::new(OffsetDateTime::UNIX_EPOCH).monotonic();
        let later = now + MAX_RETRY_DELAY;
        let twice = PendingKey::default().after(&unavailable(), now).after(&unavailable(), now);
        // The delay survives an attempt that is still going on.
        let opening = twice.after(&KeyProgress { pending: true, failed: None }, now);
        assert!(opening.is_due(now) && opening.retry == twice.retry);
        let open = opening.after(&KeyProgress::default(), now);
        assert!(!open.is_due(later) && open.failed.is_none());
        assert_eq!(open.after(&unavailable(), now).retry, Some((now + FIRST_RETRY_DELAY, FIRST_RETRY_DELAY)));
        let permanent = twice.after(&failure(KmsError::CaCertificate { why: "test".to_owned() }), now);
        assert!(!permanent.is_due(later) && permanent.failed.is_some());
    }
}
