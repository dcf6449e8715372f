//! Pushed statement about tokens: verified, stored, and put in force.

use std::sync::PoisonError;
use std::time::Instant;

use crate::error::{Coded, with_causes};
use crate::gateway::control::change::StateChange;
use crate::gateway::control::error::PushError;
use crate::gateway::control::reload::Control;
use crate::gateway::tokens::TokenLoadError;
use crate::mtls::crl::LOCK_TIMEOUT;

impl Control {
    /// Verify, store and put in force the statement in `body`; `None` if it already is. Writes files: call it from a
    /// blocking thread.
    ///
    /// # Errors
    /// [`PushError`]; the state in force is unchanged.
    pub fn push_statement(&self, body: &[u8], noticed: Instant) -> Result<Option<StateChange>, PushError> {
        let result = self.apply_statement(body, noticed);
        match &result {
            Ok(Some(change)) => tracing::info!(
                generation = change.state.generation,
                "pushed statement about tokens is in force"
            ),
            Ok(None) => {}
            Err(error) => tracing::warn!(
                code = error.code(),
                "pushed statement about tokens refused: {}",
                with_causes(error)
            ),
        }
        self.changes.record_push(result.is_ok());
        result
    }

    fn apply_statement(&self, body: &[u8], noticed: Instant) -> Result<Option<StateChange>, PushError> {
        let _turn = self.changes.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.shared.state.load_full();
        let tokens = state.tokens.as_ref().ok_or(PushError::TokensDisabled)?;
        let store = tokens.store.as_ref().ok_or(PushError::NoStateDirectory)?;
        let statement = self.changes.loader.verify_statement(&state, body)?;
        if !tokens.is_news(&statement)? {
            return Ok(None);
        }
        // Stored before it is in force, so that a confirmed push survives a crash.
        store.keep(&statement, body, LOCK_TIMEOUT).map_err(|error| match error {
            TokenLoadError::File(source) => PushError::NotKept { source },
            error => error.into(),
        })?;
        let next = self.changes.loader.with_tokens(&state, tokens.with(statement))?;
        Ok(Some(self.put_in_force(next, noticed)))
    }
}
