//! Newest statement of each trust anchor that has been in force in this process.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::in_force::TokensInForce;
use crate::tokens::{StatementError, StatementVersion};
use crate::x509::KeyIdentifier;

/// Versions of the newest statements since the start of this process.
#[derive(Debug, Default)]
pub struct NewestStatements(Mutex<BTreeMap<KeyIdentifier, StatementVersion>>);

impl NewestStatements {
    /// Refuse a statement that is older than one that has been in force in this process.
    ///
    /// # Errors
    /// Those of [`StatementVersion::superseded_by`].
    pub fn check(&self, tokens: &TokensInForce) -> Result<(), StatementError> {
        let newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        newest.get(tokens.anchor()).map_or(Ok(()), |newest| newest.superseded_by(&tokens.version).map(drop))
    }

    /// Record a statement, which is in force from now on.
    pub fn record(&self, tokens: &TokensInForce) {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        newest.insert(tokens.anchor().clone(), tokens.version);
    }
}
