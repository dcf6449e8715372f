//! Changing what is in force while connections are open.
//!
//! A new state is built whole, beside the old one, and put in force in one step; then every open
//! connection is judged by it. Whatever fails on the way leaves the old state in force and is told
//! loudly; newer CRLs and the removal of a root are not kept out by it. One change is made at a time, and none waits for a
//! network: a key that is being opened still is a change of its own, when it has been.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::error::{Coded, with_causes};
use crate::gateway::config::Config;
use crate::gateway::control::change::Change;
use crate::gateway::control::changes::{Changes, Trigger};
use crate::gateway::control::error::ReloadError;
use crate::gateway::control::push_queue::PushQueue;
use crate::gateway::sessions::command::Command;
use crate::gateway::sessions::session::Session;
use crate::gateway::shared::Shared;
use crate::gateway::state::{Loader, State};
use crate::mtls::keys::KeyProgress;

/// Control of a running gateway: what may change its state.
#[derive(Debug)]
pub struct Control {
    /// Everything that the workers share.
    pub shared: Arc<Shared>,
    /// Loader of new states, and the results of earlier changes.
    pub changes: Changes,
    /// Queue of pushes.
    pub pushes: Arc<PushQueue>,
    /// Notified on SIGHUP.
    pub reload_requested: Notify,
}

impl Control {
    /// Control of `shared`, which was started with `config`.
    #[must_use]
    pub fn new(shared: Arc<Shared>, loader: Loader, config: &Config) -> Self {
        let changes = Changes::new(loader, config);
        Self { shared, changes, pushes: Arc::default(), reload_requested: Notify::new() }
    }

    /// Loads the configuration and everything that it names again, and puts it in force. Reads files;
    /// not for a thread that serves. Where a key of the gateway's cannot be opened, the old one stays with
    /// its certificate, and everything else changes. Whatever else fails, neither a newer CRL nor the removal
    /// of a root is kept out by it.
    ///
    /// # Errors
    /// [`ReloadError`]; then nothing but that has changed, unless it is [`ReloadError::Key`].
    pub fn reload(&self, trigger: Trigger) -> Result<Change, ReloadError> {
        // Whoever has moved the log away says so like this, whatever comes of the rest.
        self.shared.telemetry.log.reopen();
        let noticed = self.shared.clock.monotonic();
        let _turn = self.changes.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = self.load_again(trigger);
        let result = match loaded {
            Ok((next, progress)) => {
                let change = next.map(|next| self.put_in_force(next, noticed));
                // Only now: whoever waits for the key is to find what came of it in force.
                self.changes.note_key(&progress);
                let KeyProgress { failed, pending: awaited } = progress;
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
                with_causes(error)
            ),
            Err(error) => tracing::error!(
                trigger = trigger.as_str(),
                code = error.code(),
                "what was loaded before stays in force: {}",
                error.with_causes()
            ),
        }
        if result.as_ref().is_err_and(|error| !matches!(error, ReloadError::Key(_))) {
            self.apply_revocations_only(trigger, noticed);
        }
        // What a change comes to that awaits a key is known when the key is.
        if !result.as_ref().is_ok_and(|change| change.awaits_key) {
            let error = result.as_ref().err().map(|error| (error.code(), error.with_causes()));
            self.changes.note(trigger, self.shared.clock.now(), error);
        }
        result
    }

    /// Apply revocations and removals of trust anchors after a failed reload: a mistake elsewhere must not keep a
    /// revoked client connected.
    fn apply_revocations_only(&self, trigger: Trigger, noticed: Instant) {
        let config = self.changes.config.as_deref().and_then(|path| Config::load(path).ok());
        match self.changes.loader.restricted(&self.shared.state.load(), config.as_ref()) {
            Ok(Some(next)) => {
                let change = self.put_in_force(next, noticed);
                tracing::info!(
                    trigger = trigger.as_str(),
                    generation = change.state.generation,
                    connections_cut = change.cut.len(),
                    "revocations applied despite the failed reload"
                );
            }
            Ok(None) => {}
            Err(error) => tracing::error!(
                trigger = trigger.as_str(),
                code = error.code(),
                "revocations could not be applied: {}",
                with_causes(&error)
            ),
        }
    }

    fn unchanged(&self, awaits_key: bool) -> Change {
        Change { state: self.shared.state.load_full(), cut: Vec::new(), awaits_key }
    }

    /// The next state, and how far its keys have come. There is none where a key is all that was asked for
    /// and it is not there.
    fn load_again(&self, trigger: Trigger) -> Result<(Option<State>, KeyProgress), ReloadError> {
        let path = self.changes.config.as_ref().ok_or(ReloadError::NoFile)?;
        let config = Config::load(path)
            .map_err(|problems| ReloadError::Configuration { path: path.clone(), problems })?;
        self.changes.note_differences(&config);
        let (loader, state) = (&self.changes.loader, self.shared.state.load());
        let mut keys = loader.find_keys(&config, &state)?;
        let progress = std::mem::take(&mut keys.progress);
        if trigger == Trigger::Key && !keys.has_new_key() {
            return Ok((None, progress));
        }
        Ok((Some(loader.next(&config, &state, keys)?), progress))
    }

    /// Swaps the state, then judges by it every connection that was let in under another: one that is
    /// registered after the swap finds the new state by itself.
    pub(super) fn put_in_force(&self, mut next: State, noticed: Instant) -> Change {
        next.noticed = noticed;
        let state = Arc::new(next);
        self.shared.state.store(Arc::clone(&state));
        let now = self.shared.clock.now();
        let verdict = |session: &Session| match &session.peer {
            Some(peer) => state
                .verifier
                .recheck(peer, now)
                .map_or_else(|lapse| Command::Cut(lapse.into()), |()| Command::Serve),
            None => Command::Serve,
        };
        let cut = self.shared.registry.sweep(noticed, verdict);
        // The requests that are under way ask the new policy whether they may go on.
        self.shared.registry.notify_change();
        // Last: nobody stays longer for the sake of a slow disk.
        state.record_crls();
        Change { state, cut, awaits_key: false }
    }
}
