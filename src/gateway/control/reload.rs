//! Changing what is in force while connections are open.
//!
//! A new state is built whole, beside the old one, and put in force in one step; then every open
//! connection is judged by it. Whatever fails on the way leaves the old state in force and is told
//! loudly; newer CRLs and the removal of a root are not kept out by it. One change is made at a time, and none waits for a
//! network: a key that is being opened still is a change of its own, when it has been.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use time::OffsetDateTime;

use crate::clock::rfc3339;
use crate::error::{Code, Coded};
use crate::files::FileError;
use crate::gateway::Shared;
use crate::gateway::config::{AccessLog, Config, Limits, Listener};
use crate::gateway::mtls::keys::opener::{Keyring, Standing};
use crate::gateway::mtls::verifier::Crls;
use crate::gateway::sessions::registry::{Order, Session};
use crate::gateway::state::loader::{Loader, State, StateError};
use crate::revocation::{Crl, CrlError};
use crate::x509::pem::{ObjectKind, PemBlock, blocks_of};
use crate::x509::{KeyIdentifier, Sha256, X509Error};
use crate::yaml::YamlProblem;

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
    loader: Loader,
    /// The configuration's file; without it, there is nothing to load again.
    config: Option<PathBuf>,
    /// What a running gateway cannot change.
    fixed: Fixed,
    turn: Mutex<()>,
    results: Mutex<Results>,
    key: Mutex<WantedKey>,
    needs_restart: Mutex<Vec<&'static str>>,
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
    fn note_differences(&self, config: &Config) {
        let differences = self.fixed.differences(config);
        for key in &differences {
            tracing::warn!(key, "the configuration has changed where only a restart can follow");
        }
        *self.needs_restart.lock().unwrap_or_else(PoisonError::into_inner) = differences;
    }

    /// What opens our keys.
    #[must_use]
    pub const fn keyring(&self) -> &Keyring {
        self.loader.keyring()
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

    fn note_key(&self, standing: &Standing) {
        let mut wanted = self.wanted_key();
        let before = wanted.again.map(|(_, pause)| pause);
        let again = match &standing.failed {
            Some(error) if error.is_temporary() => {
                Some(later(before.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE))))
            }
            // Looked at again when it is known, and at the latest when it was to be tried again.
            None if standing.awaited => before.map(later),
            _ => None,
        };
        let failed = standing.failed.as_ref().map(|error| (error.coded(), crate::error::with_causes(error)));
        *wanted = WantedKey { awaited: standing.awaited, again, failed };
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

    fn note(&self, trigger: Trigger, at: OffsetDateTime, error: Option<(&'static str, String)>) {
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
    fn note_push(&self, succeeded: bool) {
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

/// A state that has been put in force.
#[derive(Debug)]
pub struct Change {
    /// It.
    pub state: Arc<State>,
    /// The connections that it ended.
    pub cut: Vec<Arc<Session>>,
    /// Whether a key is being opened still, and the old certificate stays until then.
    pub awaits_key: bool,
}

impl Shared {
    /// Loads the configuration and everything that it names again, and puts it in force. Reads files;
    /// not for a thread that serves. Where a key of the gateway's cannot be opened, the old one stays with
    /// its certificate, and everything else changes. Whatever else fails, neither a newer CRL nor the removal
    /// of a root is kept out by it.
    ///
    /// # Errors
    /// [`ReloadError`]; then nothing but that has changed, unless it is [`ReloadError::Key`].
    pub fn reload(&self, trigger: Trigger) -> Result<Change, ReloadError> {
        // Whoever has moved the log away says so like this, whatever comes of the rest.
        self.telemetry.log.reopen();
        let noticed = self.clock.monotonic();
        let _turn = self.changes.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = self.load_again(trigger);
        let result = match loaded {
            Ok((next, standing)) => {
                let change = next.map(|next| self.put_in_force(next, noticed));
                // Only now: whoever waits for the key is to find what came of it in force.
                self.changes.note_key(&standing);
                let Standing { failed, awaited } = standing;
                match (failed, change) {
                    (None, Some(change)) => Ok(Change { awaits_key: awaited, ..change }),
                    (Some(error), _) => Err(ReloadError::Key(error)),
                    // Nothing that anybody would want to be told.
                    (None, None) => return Ok(self.unchanged(awaited)),
                }
            }
            Err(error) => Err(error),
        };
        match &result {
            Ok(change) => tracing::info!(
                trigger = trigger.as_str(),
                generation = change.state.generation,
                connections_cut = change.cut.len(),
                "everything has been loaded again{}",
                if change.awaits_key { ", but for a key that is being opened still" } else { "" }
            ),
            Err(ReloadError::Key(error)) => tracing::error!(
                trigger = trigger.as_str(),
                code = error.code(),
                tried_again = error.is_temporary(),
                "the key that was loaded before stays in force: {}",
                crate::error::with_causes(error)
            ),
            Err(error) => tracing::error!(
                trigger = trigger.as_str(),
                code = error.code(),
                "what was loaded before stays in force: {}",
                error.with_causes()
            ),
        }
        if result.as_ref().is_err_and(|error| !matches!(error, ReloadError::Key(_))) {
            self.revoke_anyway(trigger, noticed);
        }
        // What a change comes to that awaits a key is known when the key is.
        if !result.as_ref().is_ok_and(|change| change.awaits_key) {
            let error = result.as_ref().err().map(|error| (error.code(), error.with_causes()));
            self.changes.note(trigger, self.clock.now(), error);
        }
        result
    }

    /// Puts in force what the files revoke and trust no more, when a whole new state could not be had: a
    /// mistake elsewhere must not keep in a caller who is to be out.
    fn revoke_anyway(&self, trigger: Trigger, noticed: Instant) {
        let config = self.changes.config.as_deref().and_then(|path| Config::load(path).ok());
        match self.changes.loader.narrowed(&self.state.load(), config.as_ref()) {
            Ok(Some(next)) => {
                let change = self.put_in_force(next, noticed);
                tracing::info!(
                    trigger = trigger.as_str(),
                    generation = change.state.generation,
                    connections_cut = change.cut.len(),
                    "what is revoked or trusted no more is out all the same"
                );
            }
            Ok(None) => {}
            Err(error) => tracing::error!(
                trigger = trigger.as_str(),
                code = error.code(),
                "nobody is out for it: {}",
                crate::error::with_causes(&error)
            ),
        }
    }

    /// Takes the CRLs in `body`, each newer than the one in force or the same, keeps them, and puts them
    /// in force. Writes files; not for a thread that serves.
    ///
    /// # Errors
    /// [`PushError`]; then nothing has changed.
    pub fn push(&self, body: &[u8], noticed: Instant) -> Result<Option<Change>, PushError> {
        let result = self.take_crls(body, noticed);
        match &result {
            Ok(Some(change)) => tracing::info!(
                generation = change.state.generation,
                connections_cut = change.cut.len(),
                "a CRL has been pushed"
            ),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(
                    code = error.code(),
                    "a pushed CRL is refused: {}",
                    crate::error::with_causes(error)
                );
            }
        }
        self.changes.note_push(result.is_ok());
        result
    }

    fn unchanged(&self, awaits_key: bool) -> Change {
        Change { state: self.state.load_full(), cut: Vec::new(), awaits_key }
    }

    /// The next state, and how far its keys have come. There is none where a key is all that was asked for
    /// and it is not there.
    fn load_again(&self, trigger: Trigger) -> Result<(Option<State>, Standing), ReloadError> {
        let path = self.changes.config.as_ref().ok_or(ReloadError::NoFile)?;
        let config = Config::load(path)
            .map_err(|problems| ReloadError::Configuration { path: path.clone(), problems })?;
        self.changes.note_differences(&config);
        let (loader, state) = (&self.changes.loader, self.state.load());
        let mut keys = loader.find_keys(&config, &state)?;
        let standing = std::mem::take(&mut keys.standing);
        if trigger == Trigger::Key && !keys.has_new_one() {
            return Ok((None, standing));
        }
        Ok((Some(loader.next(&config, &state, keys)?), standing))
    }

    /// Puts the CRLs in `body` in force; `None` where they are already.
    fn take_crls(&self, body: &[u8], noticed: Instant) -> Result<Option<Change>, PushError> {
        let state = self.state.load_full();
        state.verifier.revocation().ok_or(PushError::RevocationDisabled)?;
        state.pushed.as_ref().ok_or(PushError::NoStateDirectory)?;
        let blocks = blocks_of(ObjectKind::Crl, body).map_err(|source| PushError::Unreadable { source })?;
        loop {
            // Before it is this change's turn: whoever pushes what takes long delays no other change.
            let state = self.state.load_full();
            let offered = self.verify_offered(&state, &blocks)?;
            if offered.is_empty() {
                return Ok(None);
            }
            let _turn = self.changes.turn.lock().unwrap_or_else(PoisonError::into_inner);
            let current = self.state.load_full();
            if current.verifier.trust().has_same_authorities(state.verifier.trust()) {
                let next = self.with_offered(&current, &offered, offered.len() == blocks.len())?;
                return Ok(next.map(|next| self.put_in_force(next, noticed)));
            }
        }
    }

    /// The CRLs in `blocks` that are not in force, each verified; there can be one of each authority.
    fn verify_offered<'a>(
        &self,
        state: &State,
        blocks: &'a [PemBlock],
    ) -> Result<Vec<Offered<'a>>, PushError> {
        let trust = state.verifier.trust();
        let most = trust.anchors().len() + trust.intermediates().len();
        if blocks.len() > most {
            return Err(PushError::TooMany { most });
        }
        let at = self.clock.now();
        let mut offered = Vec::with_capacity(blocks.len());
        for block in blocks {
            let sha256 = Sha256::of(block.der());
            if state.verifier.crls().all(|known| known.sha256 != sha256) {
                offered.push(Offered { crl: Arc::new(Crl::verify(block.der(), trust, at)?), block });
            }
        }
        Ok(offered)
    }

    /// `state` with those of the `offered` CRLs that are newer, which are kept; `None` where there are none.
    fn with_offered(
        &self,
        state: &State,
        offered: &[Offered<'_>],
        nothing_else: bool,
    ) -> Result<Option<State>, PushError> {
        let crls = state.verifier.revocation().ok_or(PushError::RevocationDisabled)?;
        let pushed = state.pushed.as_ref().ok_or(PushError::NoStateDirectory)?;
        let at = self.clock.now();
        let verified: Vec<_> = offered.iter().map(|offered| Arc::clone(&offered.crl)).collect();
        let next = Crls { set: crls.set.with(&verified, state.verifier.trust())?, grace: crls.grace };
        let mut newer = Vec::new();
        for Offered { crl, block } in offered {
            let is_next = next.set.crl(&crl.issuer).is_some_and(|next| next.sha256 == crl.sha256);
            let is_current = crls.set.crl(&crl.issuer).is_some_and(|known| known.sha256 == crl.sha256);
            if is_next && !is_current {
                if crls.is_stale(crl.next_update, at) {
                    let (issuer, next_update) = (crl.issuer.clone(), crl.next_update);
                    return Err(PushError::Stale { issuer, next_update });
                }
                newer.push((&**crl, block.der()));
            }
        }
        // What a revoked authority has made stops nothing, and is no success either.
        if let Some(Offered { crl, .. }) = offered.first()
            && nothing_else
            && offered.iter().all(|offered| next.set.is_issuer_revoked(&offered.crl.issuer))
        {
            return Err(CrlError::IssuerRevoked { issuer: crl.issuer.clone() }.into());
        }
        if newer.is_empty() {
            return Ok(None);
        }
        let next = self.changes.loader.with_revocation(state, next)?;
        // Before it is in force: what an operator is told has been done outlives a crash.
        pushed.keep(&newer).map_err(|error| match error {
            StateError::File(source) => PushError::NotKept { source },
            // Another gateway has the same directory, and a newer one.
            StateError::Superseded { source, .. } => PushError::Crl(source),
            error => PushError::State(error),
        })?;
        Ok(Some(next))
    }

    /// Swaps the state, then judges by it every connection that was let in under another: one that is
    /// registered after the swap finds the new state by itself.
    fn put_in_force(&self, mut next: State, noticed: Instant) -> Change {
        next.noticed = noticed;
        let state = Arc::new(next);
        self.state.store(Arc::clone(&state));
        let now = self.clock.now();
        let verdict = |session: &Session| match &session.peer {
            Some(peer) => state.verifier.recheck(peer, now).map_or_else(Order::Cut, |()| Order::Serve),
            None => Order::Serve,
        };
        let cut = self.registry.sweep(noticed, verdict);
        // The requests that are under way ask the new policy whether they may go on.
        self.registry.announce_change();
        // Last: nobody stays longer for the sake of a slow disk.
        state.record_crls();
        Change { state, cut, awaits_key: false }
    }
}

/// A pushed CRL that is not in force, verified.
struct Offered<'a> {
    crl: Arc<Crl>,
    block: &'a PemBlock,
}

/// Why what is in force stays so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The configuration has problems.
    #[error("the configuration {} has {} problem{}", path.display(), problems.len(), if problems.len() == 1 { "" } else { "s" })]
    Configuration {
        /// The file.
        path: PathBuf,
        /// All of them, in the order of the file.
        problems: Vec<YamlProblem>,
    },
    /// A key cannot be opened: the one before stays with its certificate, and everything else is new.
    #[error(transparent)]
    Key(StateError),
    /// The configuration was not read from a file.
    #[error("there is no configuration file to load again")]
    NoFile,
    /// What it names is not there, or does not fit.
    #[error(transparent)]
    State(#[from] StateError),
}

impl ReloadError {
    /// What led to it, the nearest first: what caused it, or every problem of the configuration.
    #[must_use]
    pub fn causes(&self) -> Vec<String> {
        if let Self::Configuration { problems, .. } = self {
            return problems.iter().map(ToString::to_string).collect();
        }
        crate::error::causes(self)
    }

    /// It and what caused it, on one line.
    #[must_use]
    pub fn with_causes(&self) -> String {
        let mut text = crate::error::with_causes(self);
        if let Self::Configuration { problems, .. } = self {
            for problem in problems {
                text.push_str(&format!("; {problem}"));
            }
        }
        text
    }
}

impl Coded for ReloadError {
    fn coded(&self) -> Code {
        match self {
            Self::Configuration { .. } => Code::refused("gateway.configuration"),
            Self::NoFile => Code::refused("reload.no_file"),
            Self::Key(error) | Self::State(error) => error.coded(),
        }
    }
}

/// Why a pushed CRL is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// Another push is under way.
    #[error("another push is under way")]
    Busy,
    /// It is not to be believed, or not newer.
    #[error(transparent)]
    Crl(#[from] CrlError),
    /// There is nowhere to keep it.
    #[error("this gateway has no `state_directory` to keep a CRL in")]
    NoStateDirectory,
    /// It would be lost at the next restart.
    #[error("the CRL cannot be kept, and so is not taken")]
    NotKept {
        /// What the system says.
        source: FileError,
    },
    /// This gateway does not look at CRLs.
    #[error("revocation is disabled on this gateway")]
    RevocationDisabled,
    /// It is past its end.
    #[error("the CRL of issuer {issuer} expired at {}", rfc3339(*next_update))]
    Stale {
        /// Whose it is.
        issuer: KeyIdentifier,
        /// When its successor was due.
        next_update: OffsetDateTime,
    },
    /// The gateway would not hold under it.
    #[error(transparent)]
    State(#[from] StateError),
    /// There are more CRLs in it than authorities.
    #[error("the body has more than {most} CRL{}, one of each authority", if *most == 1 { "" } else { "s" })]
    TooMany {
        /// How many authorities there are.
        most: usize,
    },
    /// It is no CRL.
    #[error("the body is not a CRL")]
    Unreadable {
        /// What is wrong with it.
        source: X509Error,
    },
}

impl Coded for PushError {
    fn coded(&self) -> Code {
        match self {
            Self::Busy => Code::refused("push.busy"),
            Self::Crl(error) => error.coded(),
            Self::NoStateDirectory => Code::refused("push.no_state_directory"),
            Self::NotKept { .. } => Code::refused("push.not_kept"),
            Self::RevocationDisabled => Code::refused("push.revocation_disabled"),
            Self::Stale { .. } => Code::refused("revocation.crl_expired"),
            Self::State(error) => error.coded(),
            Self::TooMany { .. } => Code::refused("push.too_many_crls"),
            Self::Unreadable { source } => source.coded(),
        }
    }
}
