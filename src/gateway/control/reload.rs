//! Reload while connections are open.
//!
//! The new state is built in full beside the old one and swapped in one step; then every open connection is
//! rechecked. A failure keeps the old state and is logged as an error. It does not block newer CRLs or the
//! removal of a trust anchor. Changes are serialized, and none waits for a network: a key that is still
//! being opened leads to a second change.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::error::{Coded, with_causes};
use crate::gateway::config::Config;
use crate::gateway::control::change::StateChange;
use crate::gateway::control::changes::{Changes, Trigger};
use crate::gateway::control::error::ReloadError;
use crate::gateway::control::push_queue::PushQueue;
use crate::gateway::sessions::command::Command;
use crate::gateway::sessions::session::Session;
use crate::gateway::shared::Shared;
use crate::gateway::state::{Loader, State};
use crate::mtls::keys::KeyProgress;

/// Control of a running gateway: everything that can change its state.
#[derive(Debug)]
pub struct Control {
    /// State shared by all workers.
    pub shared: Arc<Shared>,
    /// Loader of new states, and the results of earlier changes.
    pub changes: Changes,
    /// Queue of pushes.
    pub pushes: Arc<PushQueue>,
    /// Notified by SIGHUP.
    pub reload_requested: Notify,
}

impl Control {
    /// Create the control of `shared`, which was started with `config`.
    #[must_use]
    pub fn new(shared: Arc<Shared>, loader: Loader, config: &Config) -> Self {
        let changes = Changes::new(loader, config);
        Self { shared, changes, pushes: Arc::default(), reload_requested: Notify::new() }
    }

    /// Reload the configuration and all its files. Reads files: call it from a blocking thread.
    ///
    /// If a private key cannot be opened, the previous key and certificate stay, and everything else changes. Any
    /// other failure keeps the state, but newer CRLs and the removal of a trust anchor still apply.
    ///
    /// # Errors
    /// [`ReloadError`]; only [`ReloadError::Key`] leaves a new state in force.
    pub fn reload(&self, trigger: Trigger) -> Result<StateChange, ReloadError> {
        // Log rotation asks for this by a reload, whatever the result of the rest.
        self.shared.telemetry.log.reopen();
        let noticed = self.shared.clock.monotonic();
        let _turn = self.changes.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = self.load_next(trigger);
        let result = match loaded {
            Ok((next, progress)) => {
                let change = next.map(|next| self.put_in_force(next, noticed));
                // After the swap: a waiter for the key must find its result in force.
                self.changes.record_key(&progress, self.shared.clock.monotonic());
                let KeyProgress { failed, pending } = progress;
                match (failed, change) {
                    (None, Some(change)) => Ok(StateChange { awaits_key: pending, ..change }),
                    (Some(error), _) => Err(ReloadError::Key(error)),
                    // Nothing changed, so nothing is logged.
                    (None, None) => return Ok(self.unchanged(pending)),
                }
            }
            Err(error) => Err(error),
        };
        match &result {
            Ok(change) => tracing::info!(
                trigger = trigger.as_str(),
                generation = change.state.generation,
                connections_closed = change.cut.len(),
                "reloaded{}",
                if change.awaits_key { ", except for a key that is still being opened" } else { "" }
            ),
            Err(ReloadError::Key(error)) => tracing::error!(
                trigger = trigger.as_str(),
                code = error.code(),
                tried_again = error.is_temporary(),
                "the previous key stays in force: {}",
                with_causes(error)
            ),
            Err(error) => tracing::error!(
                trigger = trigger.as_str(),
                code = error.code(),
                "reload failed, the previous state stays in force: {}",
                error.with_causes()
            ),
        }
        if result.as_ref().is_err_and(|error| !matches!(error, ReloadError::Key(_))) {
            self.apply_revocations_only(trigger, noticed);
        }
        // A change that waits for a key is recorded with the result of the key.
        if !result.as_ref().is_ok_and(|change| change.awaits_key) {
            let error = result.as_ref().err().map(|error| (error.code(), error.with_causes()));
            self.changes.record(trigger, self.shared.clock.now(), error);
        }
        result
    }

    /// Apply revocations and removals of trust anchors after a failed reload: an error elsewhere must not keep a
    /// revoked client connected.
    fn apply_revocations_only(&self, trigger: Trigger, noticed: Instant) {
        let config = self.changes.config.as_deref().and_then(|path| Config::load(path).ok());
        match self.changes.loader.restricted(&self.shared.state.load(), config.as_ref()) {
            Ok(Some(next)) => {
                let change = self.put_in_force(next, noticed);
                tracing::info!(
                    trigger = trigger.as_str(),
                    generation = change.state.generation,
                    connections_closed = change.cut.len(),
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

    fn unchanged(&self, awaits_key: bool) -> StateChange {
        StateChange { state: self.shared.state.load_full(), cut: Vec::new(), awaits_key }
    }

    /// Next state, and the progress of its keys. There is no state if only a key was due, and it is not open.
    fn load_next(&self, trigger: Trigger) -> Result<(Option<State>, KeyProgress), ReloadError> {
        let path = self.changes.config.as_ref().ok_or(ReloadError::NoFile)?;
        let config = Config::load(path)
            .map_err(|problems| ReloadError::Configuration { path: path.clone(), problems })?;
        self.changes.record_restart_needed(&config);
        let (loader, state) = (&self.changes.loader, self.shared.state.load());
        let mut keys = loader.find_keys(&config, &state)?;
        let progress = std::mem::take(&mut keys.progress);
        if trigger == Trigger::Key && !keys.has_new_key() {
            return Ok((None, progress));
        }
        Ok((Some(loader.next(&config, &state, keys)?), progress))
    }

    /// Swap the state, then recheck every connection of an earlier state. A connection that registers after the
    /// swap is checked by [`Shared::settle`].
    pub(super) fn put_in_force(&self, mut next: State, noticed: Instant) -> StateChange {
        next.noticed = noticed;
        let state = Arc::new(next);
        let recorded = state.record_newest_ahead();
        self.shared.state.store(Arc::clone(&state));
        let now = self.shared.clock.now();
        let command = |session: &Session| match &session.peer {
            Some(peer) => state
                .verifier
                .recheck(peer, now)
                .map_or_else(|lapse| Command::Cut(lapse.into()), |()| Command::Serve),
            None => Command::Serve,
        };
        let cut = self.shared.registry.sweep(noticed, command);
        // Requests in flight check the new policy.
        self.shared.registry.notify_change();
        // After the cuts, which another process with the same directory must not delay.
        if !recorded {
            state.record_newest();
        }
        StateChange { state, cut, awaits_key: false }
    }
}
