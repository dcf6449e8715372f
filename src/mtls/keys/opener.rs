//! Opener of private keys, on threads of their own.
//!
//! A key's protection may be a service at the other end of a network that does not answer, and neither requests
//! nor revocation may wait for it. A caller that asks for a protected key gets it once it is open and goes on
//! without it until then; [`KeyOpener::changed`] reports when to ask again. A key that is in force is never opened
//! again. Only a start cannot go on without its keys, and waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::Notify;

use super::error::KeyLoadError;
use super::loaded::{KeyProgress, LoadedKey};
use super::source::KeySource;
use crate::clock::{Clock, format_duration};
use crate::error::{Coded, with_causes};
use crate::keys::kms::KmsError;
use crate::keys::{KeyError, PrivateKey, ProtectedKey, Protection};
use crate::x509::Sha256;

/// Most keys that are being opened at once: the wanted ones, and some whose service has not answered since a change.
const MAX_TASKS: usize = 4;

/// Longest wait of a reload for a key. Most services answer within it, and then everything changes at once.
const RELOAD_WAIT: Duration = Duration::from_millis(200);

/// Pauses between attempts at start; the last one repeats.
const RETRY_PAUSES: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5)];

/// Time below which no further attempt is worth it.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(200);

/// Opener of private keys. Clones share their state.
#[derive(Clone, Debug)]
pub struct KeyOpener {
    shared: Arc<OpenerState>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct OpenerState {
    keys: Mutex<KeyTable>,
    condition: Condvar,
    changed: Notify,
}

#[derive(Debug, Default)]
struct KeyTable {
    /// Indexed by the SHA-256 of the key's files.
    entries: BTreeMap<Sha256, KeyEntry>,
    /// Threads at work, including those whose key is no longer wanted.
    running: usize,
}

#[derive(Debug)]
enum KeyEntry {
    Opening,
    Done(Result<PrivateKey, KeyError>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RetryMode {
    Once,
    UntilTimeout,
}

impl KeyOpener {
    /// Opener with no key open.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { shared: Arc::default(), clock }
    }

    /// Wait for each key until it is open, retrying temporary failures until the key's timeout.
    ///
    /// # Errors
    /// [`KeyLoadError::Open`] at once for a failure that a retry cannot mend; [`KeyLoadError::Timeout`].
    pub fn wait_for<'a>(&self, sources: impl Iterator<Item = &'a KeySource>) -> Result<(), KeyLoadError> {
        sources.into_iter().try_for_each(|source| self.open(source, RetryMode::UntilTimeout))
    }

    /// Try to open each key, without retries.
    ///
    /// # Errors
    /// As [`KeyOpener::wait_for`].
    pub fn try_once<'a>(&self, sources: impl Iterator<Item = &'a KeySource>) -> Result<(), KeyLoadError> {
        sources.into_iter().try_for_each(|source| self.open(source, RetryMode::Once))
    }

    fn open(&self, source: &KeySource, mode: RetryMode) -> Result<(), KeyLoadError> {
        let begun = self.clock.monotonic();
        let remaining = || source.timeout.saturating_sub(self.clock.monotonic().duration_since(begun));
        let mut pauses = RETRY_PAUSES.into_iter();
        let mut pause = Duration::ZERO;
        let mut last = None;
        loop {
            // Read on every attempt, so that a repaired file is found without a restart.
            let locked = Arc::new(source.read()?);
            if locked.protection() == Protection::None {
                return Ok(());
            }
            let error = match self.take(&locked, remaining()) {
                Some(Ok(key)) => {
                    self.lock().entries.insert(locked.fingerprint(), KeyEntry::Done(Ok(key)));
                    return Ok(());
                }
                Some(Err(error)) if error.is_temporary() && mode == RetryMode::UntilTimeout => error,
                Some(Err(error)) => return Err(source.failed(error)),
                None => return Err(timeout(source, last)),
            };
            pause = pauses.next().unwrap_or(pause);
            let left = remaining();
            if left < SHORTEST_ATTEMPT {
                return Err(timeout(source, Some(error)));
            }
            tracing::warn!(
                key = %source.path.display(),
                code = error.code(),
                seconds_left = left.as_secs(),
                "private key cannot be opened yet, will retry: {}",
                with_causes(&error)
            );
            last = Some(error);
            // Towards the end, the pauses leave time for an attempt: the timeout is used as a whole.
            self.clock.sleep(pause.min(left / 2));
        }
    }

    /// Look for the key at `source`. `in_force` is the fingerprint of the key in force, if there is one. A new
    /// protected key is begun to be opened and waited for no longer than 200 ms, since revocations wait with it.
    ///
    /// # Errors
    /// [`KeyLoadError`] if the files cannot be read, or a plain key is invalid. Failure to open a protected key goes
    /// into `progress`.
    pub fn find(
        &self,
        source: &KeySource,
        in_force: Option<Sha256>,
        progress: &mut KeyProgress,
    ) -> Result<(Sha256, LoadedKey), KeyLoadError> {
        let locked = source.read()?;
        let (fingerprint, protection) = (locked.fingerprint(), locked.protection());
        if in_force == Some(fingerprint) {
            return Ok((fingerprint, LoadedKey::Unchanged));
        }
        let opened = if protection == Protection::None {
            if source.opener.is_some() {
                let key = source.path.display();
                tracing::warn!(%key, "private key is stored in plain text although `kms` or `passphrase_file` is set");
            }
            locked.open().map_err(|error| source.failed(error))?
        } else {
            match self.take(&Arc::new(locked), RELOAD_WAIT) {
                Some(Ok(key)) => key,
                Some(Err(error)) => {
                    progress.failed = Some(source.failed(error));
                    return Ok((fingerprint, LoadedKey::Pending));
                }
                None => {
                    progress.pending = true;
                    return Ok((fingerprint, LoadedKey::Pending));
                }
            }
        };
        Ok((fingerprint, LoadedKey::Opened { key: Box::new(opened), fingerprint, protection }))
    }

    /// Forget every key but those with these fingerprints.
    pub fn retain(&self, wanted: &[Sha256]) {
        self.lock().entries.retain(|fingerprint, _| wanted.contains(fingerprint));
    }

    /// Wait until a key has been opened, or has failed to open.
    pub async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// Take the outcome for a key; `None` while it is being opened. Only the first call waits for `patience`.
    fn take(&self, locked: &Arc<ProtectedKey>, patience: Duration) -> Option<Result<PrivateKey, KeyError>> {
        let fingerprint = locked.fingerprint();
        let begun_before = matches!(self.lock().entries.get(&fingerprint), Some(KeyEntry::Opening));
        let patience = if begun_before { Duration::ZERO } else { patience };
        let mut table = self.begin_and_wait(locked, patience);
        match table.entries.remove(&fingerprint)? {
            KeyEntry::Done(outcome) => Some(outcome),
            opening @ KeyEntry::Opening => {
                table.entries.insert(fingerprint, opening);
                None
            }
        }
    }

    fn begin_and_wait(&self, locked: &Arc<ProtectedKey>, patience: Duration) -> MutexGuard<'_, KeyTable> {
        let fingerprint = locked.fingerprint();
        let begins = {
            let mut table = self.lock();
            let begins = !table.entries.contains_key(&fingerprint) && table.running < MAX_TASKS;
            if begins {
                table.entries.insert(fingerprint, KeyEntry::Opening);
                table.running += 1;
            }
            begins
        };
        if begins {
            let task = OpenTask { shared: Arc::clone(&self.shared), fingerprint };
            let locked = Arc::clone(locked);
            // Not joined: a service that does not answer must not hold up this thread.
            let spawned =
                thread::Builder::new().name("key".to_owned()).spawn(move || task.finish(locked.open()));
            if let Err(error) = spawned {
                tracing::error!(%error, "cannot start a thread to open a private key");
            }
        }
        let opening =
            |table: &mut KeyTable| matches!(table.entries.get(&fingerprint), Some(KeyEntry::Opening));
        let waited = self.shared.condition.wait_timeout_while(self.lock(), patience, opening);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, KeyTable> {
        self.shared.lock()
    }
}

impl OpenerState {
    fn lock(&self) -> MutexGuard<'_, KeyTable> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opening of one key. Dropped without an outcome, by a panic or for lack of a thread, it leaves the key as if it had
/// never been asked for.
struct OpenTask {
    shared: Arc<OpenerState>,
    fingerprint: Sha256,
}

impl OpenTask {
    fn finish(self, outcome: Result<PrivateKey, KeyError>) {
        // Without an entry, the key is no longer wanted.
        if let Some(entry) = self.shared.lock().entries.get_mut(&self.fingerprint) {
            *entry = KeyEntry::Done(outcome);
        }
    }
}

impl Drop for OpenTask {
    fn drop(&mut self) {
        let mut table = self.shared.lock();
        table.running -= 1;
        if matches!(table.entries.get(&self.fingerprint), Some(KeyEntry::Opening)) {
            table.entries.remove(&self.fingerprint);
        }
        drop(table);
        self.shared.condition.notify_all();
        self.shared.changed.notify_one();
    }
}

fn timeout(source: &KeySource, last: Option<KeyError>) -> KeyLoadError {
    let no_answer = || {
        KeyError::Kms(KmsError::Unavailable {
            address: "the key's KMS or token".to_owned(),
            source: std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time"),
        })
    };
    let waited = time::Duration::try_from(source.timeout).map(format_duration).unwrap_or_default();
    let source_error = Box::new(last.unwrap_or_else(no_answer));
    KeyLoadError::Timeout { path: source.path.clone(), waited, source: source_error }
}
