//! Cache of verified chains of clients: a returning client costs no signature check.
//!
//! Chains of servers are neither stored nor looked up here: a certificate verified for one purpose says nothing
//! about the other, nor about a host name.
//!
//! Only a full match counts: the leaf and all other certificates that the client sent. A chain that was
//! completed by certificates of another connection would let in a client that cannot prove its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

use super::peer::Peer;
use crate::x509::Sha256;

/// Most entries. An entry takes some 4 KiB.
const CAPACITY: usize = 16_384;

/// Verified chains, indexed by the leaf's fingerprint.
#[derive(Debug, Default)]
pub(super) struct ChainCache(Mutex<HashMap<Sha256, CachedChain>>);

#[derive(Debug)]
struct CachedChain {
    extra_certs: Sha256,
    peer: Arc<Peer>,
}

/// Key of an entry, from the certificates as they were sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChainKey {
    leaf: Sha256,
    extra_certs: Sha256,
}

impl ChainKey {
    /// Key of this leaf and the certificates sent with it, in their order.
    pub(super) fn of(leaf: &CertificateDer<'_>, extra_certs: &[CertificateDer<'_>]) -> Self {
        let digests: Vec<_> = extra_certs.iter().map(|certificate| Sha256::of(certificate).0).collect();
        Self { leaf: Sha256::of(leaf), extra_certs: Sha256::of(digests.as_flattened()) }
    }
}

impl ChainCache {
    /// The peer that was verified with exactly these certificates, if its chain is valid at `at`.
    pub(super) fn get(&self, key: ChainKey, at: OffsetDateTime) -> Option<Arc<Peer>> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(&key.leaf).filter(|entry| entry.extra_certs == key.extra_certs)?;
        entry.peer.is_valid_at(at).then(|| Arc::clone(&entry.peer))
    }

    /// Add a verified peer. A full cache is emptied: only holders of valid certificates can fill it, each
    /// with one entry, so that an attacker cannot evict others.
    pub(super) fn insert(&self, key: ChainKey, peer: Arc<Peer>) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= CAPACITY {
            entries.clear();
        }
        entries.insert(key.leaf, CachedChain { extra_certs: key.extra_certs, peer });
    }
}
