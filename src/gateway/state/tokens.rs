//! Statement about tokens of a state: from its file, from a push, or from the state before.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use crate::files;
use crate::gateway::config::{TokenClients, TokenSettings};
use crate::gateway::tokens::{NewestStatements, StatementStore, TokenLoadError, TokensInForce};
use crate::mtls::{Lapse, PeerVerifier};
use crate::tokens::{STATEMENT_FILE, TokenError};

/// Access tokens of a state.
#[derive(Clone, Debug)]
pub struct TokenState {
    /// Clients that may present a token.
    pub clients: TokenClients,
    /// Statement that judges tokens.
    pub in_force: Arc<TokensInForce>,
    /// Store of pushed statements, in the state directory.
    pub store: Option<StatementStore>,
    /// Reason why the certificate of the statement's key is no longer accepted.
    lapse: Option<Lapse>,
    path: PathBuf,
    newest: Arc<NewestStatements>,
}

impl TokenState {
    /// Load the newest statement from the file and the store. It is never older than one that has been in force.
    pub(super) fn load(
        settings: &TokenSettings,
        store: Option<StatementStore>,
        newest: &Arc<NewestStatements>,
        (verifier, workers): (&PeerVerifier, usize),
        previous: Option<&Self>,
        at: OffsetDateTime,
    ) -> Result<Self, TokenLoadError> {
        let refused =
            |path: &Path, source| TokenLoadError::InFile { path: path.to_owned(), source: Box::new(source) };
        let verify = |path: &Path, text: &[u8]| {
            TokensInForce::verify(text, verifier, workers, at).map_err(|error| refused(path, error))
        };
        let mut path = settings.statement.clone();
        let mut found = verify(&path, &files::read(&path, STATEMENT_FILE)?)?;
        let pushed = store.as_ref().map(|store| store.load(verifier.trust())).transpose()?;
        for (pushed_path, text) in pushed.unwrap_or_default() {
            let pushed = verify(&pushed_path, &text)?;
            if is_newer(&found, &pushed) {
                tracing::warn!(
                    file = %path.display(),
                    number = found.facts.number,
                    in_force = pushed.facts.number,
                    "statement about tokens in the file is older than the one in force"
                );
                (path, found) = (pushed_path, pushed);
            }
        }
        newest.check(&found).map_err(|error| refused(&path, error.into()))?;
        if let Some(store) = &store {
            store.check(&found).map_err(|error| refused(&path, error))?;
        }
        Ok(Self {
            clients: settings.clients,
            in_force: kept(previous, found),
            store,
            lapse: None,
            path: settings.statement.clone(),
            newest: Arc::clone(newest),
        })
    }

    /// These tokens with the statement in the file, if it is valid and newer. For applying revocations when a whole
    /// reload failed.
    pub(super) fn newer_in_file(
        &self,
        verifier: &PeerVerifier,
        workers: usize,
        at: OffsetDateTime,
    ) -> Option<Self> {
        let text = files::read(&self.path, STATEMENT_FILE).ok()?;
        let found = TokensInForce::verify(&text, verifier, workers, at).ok()?;
        let recorded = self.store.as_ref().is_none_or(|store| store.check(&found).is_ok());
        let is_candidate = is_newer(&self.in_force, &found) && recorded && self.newest.check(&found).is_ok();
        is_candidate.then(|| self.with(found))
    }

    /// These tokens with another statement.
    #[must_use]
    pub fn with(&self, statement: TokensInForce) -> Self {
        Self { in_force: Arc::new(statement), lapse: None, ..self.clone() }
    }

    /// Check a statement for being newer than all that have been in force. `false` for the one in force.
    ///
    /// # Errors
    /// [`TokenLoadError::Statement`], or the record cannot be read.
    pub fn is_news(&self, statement: &TokensInForce) -> Result<bool, TokenLoadError> {
        self.newest.check(statement)?;
        if let Some(store) = &self.store {
            store.check(statement)?;
        }
        Ok(self.in_force.version.superseded_by(&statement.version)?)
    }

    /// These tokens under `verifier`. If it no longer accepts the certificate of the statement's key, no token is
    /// accepted; this must not keep other changes from being enforced.
    pub(super) fn under(mut self, verifier: &PeerVerifier, at: OffsetDateTime) -> Self {
        self.lapse = self.in_force.recheck(verifier, at).err();
        if let Some(lapse) = self.lapse {
            tracing::error!(
                ?lapse,
                number = self.in_force.facts.number,
                "the certificate of the key for tokens is no longer accepted: all tokens are refused"
            );
        }
        self
    }

    /// Statement that judges tokens.
    ///
    /// # Errors
    /// [`TokenError::Statement`] if the certificate of its key is no longer accepted.
    pub fn judge(&self) -> Result<&TokensInForce, TokenError> {
        match self.lapse {
            None => Ok(&self.in_force),
            Some(_) => Err(TokenError::Statement),
        }
    }

    /// Record the statement as the newest, in this process and in the state directory. `patience` is the longest wait
    /// for another process with the same directory.
    pub(super) fn record(&self, patience: Duration) -> Result<(), TokenLoadError> {
        self.newest.record(&self.in_force);
        self.store.as_ref().map_or(Ok(()), |store| store.record(&self.in_force, patience))
    }
}

/// True if `next` is of a newer version than `known`.
fn is_newer(known: &TokensInForce, next: &TokensInForce) -> bool {
    known.version.superseded_by(&next.version).unwrap_or(false)
}

/// The statement of `previous` with the users that it knows, if `found` is the same one.
fn kept(previous: Option<&TokenState>, found: TokensInForce) -> Arc<TokensInForce> {
    match previous.filter(|previous| previous.in_force.version == found.version) {
        Some(previous) => Arc::clone(&previous.in_force),
        None => Arc::new(found),
    }
}
