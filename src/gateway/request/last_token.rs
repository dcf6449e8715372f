//! Token of the last request of a connection.

use std::sync::{Arc, Mutex, PoisonError};

use http::header::HeaderValue;

use crate::gateway::tokens::TokenHolder;

/// Token of the last request of a connection with its user: most clients present one token again and again.
#[derive(Debug, Default)]
pub struct LastToken(Mutex<Option<KnownToken>>);

#[derive(Debug)]
struct KnownToken {
    authorization: HeaderValue,
    /// State that accepted it, apart from its times.
    generation: u64,
    holder: Arc<TokenHolder>,
}

impl LastToken {
    /// User of this value of `Authorization`, if it is the last one and was accepted by this state.
    pub(super) fn get(&self, authorization: &HeaderValue, generation: u64) -> Option<Arc<TokenHolder>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_ref()?;
        let is_same = known.generation == generation && known.authorization == authorization;
        is_same.then(|| Arc::clone(&known.holder))
    }

    /// Keep the user of a value that a state accepted.
    pub(super) fn keep(&self, authorization: &HeaderValue, generation: u64, holder: &Arc<TokenHolder>) {
        let known =
            KnownToken { authorization: authorization.clone(), generation, holder: Arc::clone(holder) };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
    }
}
