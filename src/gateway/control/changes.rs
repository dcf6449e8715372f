//! Loader of new states, and results of earlier changes.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use time::OffsetDateTime;

use crate::clock::rfc3339;
use crate::error::{Code, Coded, with_causes};
use crate::gateway::config::{AccessLog, Config, Limits};
use crate::gateway::state::Loader;
use crate::mtls::Listener;
use crate::mtls::keys::{KeyOpener, KeyProgress};

/// How long to wait before a key is tried again whose service cannot be reached; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// How long at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What asked for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A person, on the admin socket.
    Admin,
    /// A file that the configuration names, or itself, is another.
    FileChange,
    /// A key that an earlier change wanted is open, or is tried again.
    Key,
    /// An operator sent a CRL.
    Push,
    /// SIGHUP.
    Signal,
}

impl Trigger {
    /// Its name in logs and metrics.
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

/// What makes new states, one after the other.
#[derive(Debug)]
pub struct Changes {
    pub(super) loader: Loader,
    /// The configuration's file; without it, there is nothing to load again.
    pub(super) config: Option<PathBuf>,
    /// What a running gateway cannot change.
    fixed: Fixed,
    pub(super) turn: Mutex<()>,
    pub(super) results: Mutex<Results>,
    key: Mutex<WantedKey>,
    pub(super) needs_restart: Mutex<Vec<&'static str>>,
}

/// A key that is wanted and not in force.
#[derive(Debug, Default)]
struct WantedKey {
    /// Whether it is being opened.
    awaited: bool,
    /// When to try again, and how long the pause before was.
    again: Option<(Instant, Duration)>,
    /// Why it could not be opened: the stable code, and the error with its causes.
    failed: Option<(Code, String)>,
}

impl Changes {
    /// For a gateway that was started with `config`.
    #[must_use]
    pub fn new(loader: Loader, config: &Config) -> Self {
        Self {
            loader,
            config: config.path.clone(),
            fixed: Fixed::of(config),
            turn: Mutex::default(),
            results: Mutex::default(),
            key: Mutex::default(),
            needs_restart: Mutex::default(),
        }
    }

    /// The keys of the configuration that have another value in its file than what the gateway was started
    /// with, and that only a restart can follow.
    #[must_use]
    pub fn needs_restart(&self) -> Vec<&'static str> {
        self.needs_restart.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what only a restart can follow.
    pub(super) fn note_differences(&self, config: &Config) {
        let differences = self.fixed.differences(config);
        for key in &differences {
            tracing::warn!(key, "the configuration has changed where only a restart can follow");
        }
        *self.needs_restart.lock().unwrap_or_else(PoisonError::into_inner) = differences;
    }

    /// What opens our keys.
    #[must_use]
    pub const fn key_opener(&self) -> &KeyOpener {
        self.loader.key_opener()
    }

    /// Whether a key is being opened that the last change wanted.
    #[must_use]
    pub fn awaits_key(&self) -> bool {
        self.wanted_key().awaited
    }

    /// Why the key that the last change wanted cannot be opened; `None` where it is, or is on its way.
    #[must_use]
    pub fn key_failure(&self) -> Option<(Code, String)> {
        self.wanted_key().failed.clone()
    }

    /// Whether to look at the keys: one is being opened, or it is time to try again what could not be.
    #[must_use]
    pub fn wants_key(&self, now: Instant) -> bool {
        let wanted = self.wanted_key();
        wanted.awaited || wanted.again.is_some_and(|(at, _)| at <= now)
    }

    fn wanted_key(&self) -> MutexGuard<'_, WantedKey> {
        self.key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note_key(&self, progress: &KeyProgress) {
        let mut wanted = self.wanted_key();
        let before = wanted.again.map(|(_, pause)| pause);
        let again = match &progress.failed {
            Some(error) if error.is_temporary() => {
                Some(later(before.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE))))
            }
            // Looked at again when it is known, and at the latest when it was to be tried again.
            None if progress.pending => before.map(later),
            _ => None,
        };
        let failed = progress.failed.as_ref().map(|error| (error.coded(), with_causes(error)));
        *wanted = WantedKey { awaited: progress.pending, again, failed };
    }

    /// The files that the next change is to be loaded from, as far as that can be told.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.config.as_deref().map(Config::files_of).unwrap_or_default()
    }

    /// The configuration's file.
    #[must_use]
    pub const fn config(&self) -> Option<&PathBuf> {
        self.config.as_ref()
    }

    /// How the changes so far went.
    #[must_use]
    pub fn results(&self) -> Results {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn note(&self, trigger: Trigger, at: OffsetDateTime, error: Option<(&'static str, String)>) {
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
                results.last_error = Some(LastError { at, trigger, code, message });
            }
        }
    }

    /// Counts a push. It says nothing of whether the files can be loaded: whoever asks for that is told
    /// neither that they can nor that they cannot.
    pub(super) fn note_push(&self, succeeded: bool) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = results.counts.entry(Trigger::Push).or_default();
        if succeeded {
            counts.succeeded += 1;
        } else {
            counts.failed += 1;
        }
    }
}

fn later(pause: Duration) -> (Instant, Duration) {
    (Instant::now() + pause, pause)
}

/// How the changes of a process went.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// How many, by what asked for them.
    pub counts: std::collections::BTreeMap<Trigger, Counts>,
    /// When files were last loaded with success.
    pub last_success: Option<OffsetDateTime>,
    /// Why they were not the last time; `None` when they were.
    pub last_error: Option<LastError>,
}

/// How many changes went which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// The new state is in force.
    pub succeeded: u64,
    /// The old one stayed, or what of it had to: a key that cannot be opened keeps nothing else from
    /// changing.
    pub failed: u64,
}

/// Why the last change failed.
#[derive(Clone, Debug, Serialize)]
pub struct LastError {
    /// When.
    #[serde(serialize_with = "as_rfc3339")]
    pub at: OffsetDateTime,
    /// What had asked for it.
    pub trigger: Trigger,
    /// The stable code of the error.
    pub code: &'static str,
    /// The error with its causes.
    pub message: String,
}

fn as_rfc3339<S: serde::Serializer>(time: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&rfc3339(*time))
}

/// What was bound, started or set up once.
#[derive(Debug, PartialEq, Eq)]
struct Fixed {
    listen: Vec<Listener>,
    threads: Option<NonZeroUsize>,
    limits: Limits,
    access_log: AccessLog,
    metrics: Option<SocketAddr>,
    admin: Option<PathBuf>,
}

impl Fixed {
    fn of(config: &Config) -> Self {
        Self {
            listen: config.listen.clone(),
            threads: config.threads,
            limits: config.limits.clone(),
            access_log: config.access_log.clone(),
            metrics: config.metrics,
            admin: config.admin.clone(),
        }
    }

    /// The keys that `config` has another value for.
    fn differences(&self, config: &Config) -> Vec<&'static str> {
        let differs = [
            ("listen", self.listen != config.listen),
            ("threads", self.threads != config.threads),
            ("limits", self.limits != config.limits),
            ("access_log", self.access_log != config.access_log),
            ("metrics", self.metrics != config.metrics),
            ("admin", self.admin != config.admin),
        ];
        differs.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::config::schema;

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
             admin: admin.sock\nthreads: 1\ntrust_domain: other\nresumption: disabled\nassertion: {}\n\
             state_directory: .\noperators: [{ role: api-user }]\n",
        );
        let mut fixed = Fixed::of(&before).differences(&after);
        let (root, others) = schema::FILE.mappings.split_first().unwrap();
        let marked = root.keys.iter().filter(|key| key.needs_restart).map(|key| key.name);
        let mut marked = marked.collect::<Vec<_>>();
        fixed.sort_unstable();
        marked.sort_unstable();
        assert_eq!(fixed, marked);
        assert!(others.iter().flat_map(|mapping| mapping.keys).all(|key| !key.needs_restart));
        assert!(Fixed::of(&before).differences(&before).is_empty());
    }
}
