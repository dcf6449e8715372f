//! Users by the SHA-256 of their token, one map per worker, so that workers do not contend for a lock.
//!
//! Only tokens with a valid signature are kept. Their times and their revocation are judged on every use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::holder::TokenHolder;
use crate::x509::Sha256;

/// Most entries of a worker. An entry takes about one KiB.
const CAPACITY: usize = 8_192;

/// Users of one worker.
type Shard = HashMap<Sha256, Arc<TokenHolder>>;

/// Users of verified tokens.
#[derive(Debug)]
pub(super) struct TokenCache(Box<[Mutex<Shard>]>);

impl TokenCache {
    pub(super) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Mutex::default()).collect())
    }

    pub(super) fn get(&self, worker: usize, token: &Sha256) -> Option<Arc<TokenHolder>> {
        let entries = self.0.get(worker)?.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(token).map(Arc::clone)
    }

    /// Add a user. A full map is emptied: only the server of the cluster can sign what fills it.
    pub(super) fn insert(&self, worker: usize, token: Sha256, holder: Arc<TokenHolder>) {
        let Some(entries) = self.0.get(worker) else { return };
        let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= CAPACITY {
            entries.clear();
        }
        entries.insert(token, holder);
    }
}
