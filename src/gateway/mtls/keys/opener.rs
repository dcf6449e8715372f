//! The gateway's private keys, opened where nobody waits for them: what protects a key may be a service
//! at the other end of a network that does not answer, and revocation must not wait for that.
//!
//! A key that more than its file's mode protects is opened on a thread of its own. Whoever asks for it
//! gets it when it is open, and does without it until then; `told` says when to ask again. One that is in
//! force already is never opened again. Only a start has nothing to do without it, and waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::clock::format_duration;
use crate::error::{Coded, with_causes};
use crate::gateway::config::{Config, KeySource};
use crate::gateway::state::loader::StateError;
use crate::keys::kms::KmsError;
use crate::keys::{KeyError, PrivateKey, ProtectedKey, Protection};
use crate::x509::Sha256;

/// How many keys may be on their way at once: those that are wanted, and some that were wanted a moment
/// ago and whose service has not answered yet.
const AT_MOST: usize = 4;

/// How long a reload waits for a key. Most services answer within it, and then everything changes at once.
const GRACE: Duration = Duration::from_millis(200);

/// How long a start waits before each further attempt; the last one again and again.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5)];

/// Opens keys. Cloning is cheap; it is the same keyring.
#[derive(Clone, Debug, Default)]
pub struct Keyring(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    slots: Mutex<Slots>,
    changed: Condvar,
    told: Notify,
}

#[derive(Debug, Default)]
struct Slots {
    /// By what their files had in them.
    keys: BTreeMap<Sha256, Slot>,
    /// Threads at work, those included whose key nobody wants any more.
    running: usize,
}

#[derive(Debug)]
enum Slot {
    Opening,
    Done(Result<PrivateKey, KeyError>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tries {
    Once,
    UntilTimeout,
}

/// What there is of a key.
#[derive(Debug)]
pub enum Found {
    /// The one in force: its files are as they were.
    InForce,
    /// None yet: what was in force before stays.
    Missing,
    /// It.
    Opened {
        /// The key.
        key: Box<PrivateKey>,
        /// What its files had in them.
        fingerprint: Sha256,
        /// What protects it on the disk.
        protection: Protection,
    },
}

/// How far the keys of a configuration have come; by default, all are there.
#[derive(Debug, Default)]
pub struct Standing {
    /// Whether one is being opened still.
    pub awaited: bool,
    /// Why one cannot be opened.
    pub failed: Option<StateError>,
}

/// The keys that a configuration names, as far as they are there.
#[derive(Debug)]
pub struct FoundKeys {
    pub(crate) identity: Found,
    /// `None` where the configuration names none.
    pub(crate) assertion: Option<Found>,
    /// How far they have come.
    pub standing: Standing,
}

impl FoundKeys {
    /// None at all, for whoever is never to show who he is.
    #[must_use]
    pub fn none() -> Self {
        Self { identity: Found::Missing, assertion: None, standing: Standing::default() }
    }

    /// Whether one of them is to be put in force.
    #[must_use]
    pub fn has_new_one(&self) -> bool {
        let mut found = std::iter::once(&self.identity).chain(&self.assertion);
        found.any(|found| matches!(found, Found::Opened { .. }))
    }
}

impl Keyring {
    /// Waits, each key for as long as it may take, until those of `config` are open; what cannot be
    /// reached is tried again until then.
    ///
    /// # Errors
    /// [`StateError::Key`] at once for what another attempt would not mend, [`StateError::KeyTimeout`].
    pub fn wait_for(&self, config: &Config) -> Result<(), StateError> {
        config.keys().try_for_each(|source| self.open(source, Tries::UntilTimeout))
    }

    /// Tries once to open those of `config`.
    ///
    /// # Errors
    /// As [`Keyring::wait_for`].
    pub fn try_once(&self, config: &Config) -> Result<(), StateError> {
        config.keys().try_for_each(|source| self.open(source, Tries::Once))
    }

    fn open(&self, source: &KeySource, tries: Tries) -> Result<(), StateError> {
        let begun = Instant::now();
        let mut pauses = PAUSES.into_iter();
        let mut pause = Duration::ZERO;
        let mut last = None;
        loop {
            // Read each time: whoever mends a file need not start the gateway again.
            let locked = Arc::new(source.read().map_err(|error| StateError::key(source, error))?);
            if locked.protection() == Protection::None {
                return Ok(());
            }
            let left = source.timeout.saturating_sub(begun.elapsed());
            let error = match self.take(&locked, left) {
                Some(Ok(key)) => {
                    self.lock().keys.insert(locked.fingerprint(), Slot::Done(Ok(key)));
                    return Ok(());
                }
                Some(Err(error)) if error.is_temporary() && tries == Tries::UntilTimeout => error,
                Some(Err(error)) => return Err(StateError::key(source, error)),
                None => return Err(timeout(source, last)),
            };
            pause = pauses.next().unwrap_or(pause);
            let left = source.timeout.saturating_sub(begun.elapsed());
            if left <= pause {
                return Err(timeout(source, Some(error)));
            }
            tracing::warn!(
                key = %source.path.display(),
                code = error.code(),
                seconds_left = left.as_secs(),
                "the key cannot be opened yet, and is tried again: {}",
                with_causes(&error)
            );
            last = Some(error);
            thread::sleep(pause);
        }
    }

    /// The keys of `config`, where those in force are of files with these fingerprints. Begins to open
    /// what is protected and new, and waits for it no longer than a revocation can wait.
    ///
    /// # Errors
    /// [`StateError`] for a file that cannot be read, and for an unprotected key that is none.
    pub fn find(
        &self,
        config: &Config,
        identity_in_force: Option<Sha256>,
        assertion_in_force: Option<Sha256>,
    ) -> Result<FoundKeys, StateError> {
        let mut standing = Standing::default();
        let mut wanted = Vec::new();
        let mut find = |source: &KeySource, in_force: Option<Sha256>| {
            let locked = source.read().map_err(|error| StateError::key(source, error))?;
            wanted.push(locked.fingerprint());
            self.find_one(source, locked, in_force, &mut standing)
        };
        let identity = find(&config.identity.key, identity_in_force)?;
        let assertion = config.assertion.as_ref().and_then(|assertion| assertion.key.as_ref());
        let assertion = assertion.map(|source| find(source, assertion_in_force)).transpose()?;
        self.lock().keys.retain(|fingerprint, _| wanted.contains(fingerprint));
        Ok(FoundKeys { identity, assertion, standing })
    }

    fn find_one(
        &self,
        source: &KeySource,
        locked: ProtectedKey,
        in_force: Option<Sha256>,
        standing: &mut Standing,
    ) -> Result<Found, StateError> {
        let (fingerprint, protection) = (locked.fingerprint(), locked.protection());
        if in_force == Some(fingerprint) {
            return Ok(Found::InForce);
        }
        let opened = if protection == Protection::None {
            if source.opener.is_some() {
                let key = source.path.display();
                tracing::warn!(%key, "the key is not protected, though something is configured to open it");
            }
            locked.open().map_err(|error| StateError::key(source, error))?
        } else {
            match self.take(&Arc::new(locked), GRACE) {
                Some(Ok(key)) => key,
                Some(Err(error)) => {
                    standing.failed = Some(StateError::key(source, error));
                    return Ok(Found::Missing);
                }
                None => {
                    standing.awaited = true;
                    return Ok(Found::Missing);
                }
            }
        };
        Ok(Found::Opened { key: Box::new(opened), fingerprint, protection })
    }

    /// Waits until a key has been opened, or has failed to be.
    pub async fn told(&self) {
        self.0.told.notified().await;
    }

    /// What has become of a key; `None` while it is being opened. One that was begun before is not
    /// waited for again.
    fn take(&self, locked: &Arc<ProtectedKey>, patience: Duration) -> Option<Result<PrivateKey, KeyError>> {
        let fingerprint = locked.fingerprint();
        let begun_before = matches!(self.lock().keys.get(&fingerprint), Some(Slot::Opening));
        let patience = if begun_before { Duration::ZERO } else { patience };
        let mut slots = self.begin_and_wait(locked, patience);
        match slots.keys.remove(&fingerprint)? {
            Slot::Done(outcome) => Some(outcome),
            opening @ Slot::Opening => {
                slots.keys.insert(fingerprint, opening);
                None
            }
        }
    }

    fn begin_and_wait(&self, locked: &Arc<ProtectedKey>, patience: Duration) -> MutexGuard<'_, Slots> {
        let fingerprint = locked.fingerprint();
        let begins = {
            let mut slots = self.lock();
            let begins = !slots.keys.contains_key(&fingerprint) && slots.running < AT_MOST;
            if begins {
                slots.keys.insert(fingerprint, Slot::Opening);
                slots.running += 1;
            }
            begins
        };
        if begins {
            let errand = Errand { keyring: self.clone(), fingerprint };
            let locked = Arc::clone(locked);
            // Nobody waits for its end: a service that does not answer must not hold up ours.
            let spawned =
                thread::Builder::new().name("key".to_owned()).spawn(move || errand.finish(locked.open()));
            if let Err(error) = spawned {
                tracing::error!(%error, "there is no thread to open a key on");
            }
        }
        let opening = |slots: &mut Slots| matches!(slots.keys.get(&fingerprint), Some(Slot::Opening));
        let waited = self.0.changed.wait_timeout_while(self.lock(), patience, opening);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One key on its way; dropped without an outcome, it is as if it had never been asked for.
struct Errand {
    keyring: Keyring,
    fingerprint: Sha256,
}

impl Errand {
    fn finish(self, outcome: Result<PrivateKey, KeyError>) {
        // Nobody may want it any more.
        if let Some(slot) = self.keyring.lock().keys.get_mut(&self.fingerprint) {
            *slot = Slot::Done(outcome);
        }
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        let mut slots = self.keyring.lock();
        slots.running -= 1;
        if matches!(slots.keys.get(&self.fingerprint), Some(Slot::Opening)) {
            slots.keys.remove(&self.fingerprint);
        }
        drop(slots);
        self.keyring.0.changed.notify_all();
        self.keyring.0.told.notify_one();
    }
}

fn timeout(source: &KeySource, last: Option<KeyError>) -> StateError {
    let no_answer = || {
        KeyError::Kms(KmsError::Unavailable {
            address: "what opens it".to_owned(),
            source: std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time"),
        })
    };
    let waited = time::Duration::try_from(source.timeout).map(format_duration).unwrap_or_default();
    let source_error = Box::new(last.unwrap_or_else(no_answer));
    StateError::KeyTimeout { path: source.path.clone(), waited, source: source_error }
}
