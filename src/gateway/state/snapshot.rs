//! Immutable snapshot of what the gateway decides by.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;

use super::tokens::TokenState;
use crate::error::{Coded, with_causes};
use crate::gateway::config::{Resumption, TrustSettings};
use crate::gateway::message::forwarding_rules::ForwardingRules;
use crate::gateway::policy::{Caller, Policy};
use crate::gateway::upstream::assertion::Assertions;
use crate::gateway::upstream::pool::UpstreamPool;
use crate::mtls::crl::{CrlStore, LOCK_TIMEOUT, LastSeenCrls, NewestCrls};
use crate::mtls::keys::KeySource;
use crate::mtls::tls::ServerNames;
use crate::mtls::{Listener, PeerVerifier, ServerCertificate};
use crate::x509::KeyIdentifier;

/// Longest wait for another process with the same state directory before CRLs are in force. Later, there is more time.
const SHORT_WAIT: Duration = Duration::from_millis(100);

/// Everything that a reload replaces. Parts that a change leaves alone are shared with the state before.
#[derive(Debug)]
pub struct State {
    /// Number of the state in this process, from 1.
    pub generation: u64,
    /// Time at which the change that led to it was noticed.
    pub noticed: Instant,
    /// Listeners, in the order of the configuration.
    pub entries: Vec<ListenerEntry>,
    /// Rules that decide which clients are accepted.
    pub verifier: Arc<PeerVerifier>,
    /// Values from the configuration.
    pub settings: Arc<Settings>,
    /// Server certificate and keys.
    pub credentials: Arc<Credentials>,
    /// Sources of the CRLs in force.
    pub revocation: Arc<RevocationSources>,
    /// Access tokens; `None` if none is accepted.
    pub tokens: Option<TokenState>,
    /// Key identifier of the trust anchor of the server certificate.
    pub(super) own_anchor: KeyIdentifier,
}

/// Values from the configuration that requests and reloads use.
#[derive(Debug)]
pub struct Settings {
    /// Listeners. They are bound once: later states keep those of the first.
    pub listeners: Vec<Listener>,
    /// Policy in force.
    pub policy: Arc<Policy>,
    /// Policy whose decisions are only logged.
    pub shadow: Option<Arc<Policy>>,
    /// Upstreams, as the policy numbers them.
    pub upstreams: Vec<Arc<UpstreamPool>>,
    /// Rules for the header fields of forwarded messages.
    pub forwarding: Arc<ForwardingRules>,
    /// Identities that may push CRLs and read the status.
    pub operators: Vec<Caller>,
    /// Files whose change leads to a reload.
    pub files: Vec<PathBuf>,
    /// Private key files.
    pub keys: Vec<KeySource>,
    /// Files of trust anchors and CRLs.
    pub(super) trust: TrustSettings,
    pub(super) resumption: Resumption,
}

/// Server certificate and keys.
#[derive(Debug)]
pub struct Credentials {
    /// Own certificate with its key.
    pub own: ServerCertificate,
    /// Signer of assertions to upstreams; `None` where the configuration has none.
    pub assertions: Option<Arc<Assertions>>,
}

/// Sources of the CRLs in force.
#[derive(Clone, Debug)]
pub struct RevocationSources {
    /// Store of pushed CRLs, in the state directory.
    pub store: Option<CrlStore>,
    /// CRLs that the files held when they were last loaded.
    pub(super) last_seen: LastSeenCrls,
    /// Newest CRLs that have been in force in this process.
    pub newest: Arc<NewestCrls>,
}

/// One listener with its TLS configuration.
#[derive(Debug)]
pub struct ListenerEntry {
    /// Address and requirements for clients.
    pub listener: Listener,
    /// DNS names of the certificate.
    pub names: Arc<ServerNames>,
    /// Configuration for rustls.
    pub tls: Arc<ServerConfig>,
}

impl State {
    /// Record which CRLs and statement are the newest before they are in force, so that a crash lets no older one in.
    /// `false` if the directory is locked or not writable: see [`State::record_newest`].
    #[must_use]
    pub fn record_newest_ahead(&self) -> bool {
        let tokens = self.tokens.as_ref().is_none_or(|tokens| tokens.record(SHORT_WAIT).is_ok());
        let Some(crls) = self.verifier.revocation() else { return tokens };
        self.revocation.newest.record(&crls.set);
        let store = self.revocation.store.as_ref();
        store.is_none_or(|store| store.record(&crls.set, SHORT_WAIT).is_ok()) && tokens
    }

    /// Record which CRLs and statement are the newest, for the next start. A failure is logged and does not keep them
    /// from being enforced now.
    pub fn record_newest(&self) {
        if let Some(tokens) = &self.tokens
            && let Err(error) = tokens.record(LOCK_TIMEOUT)
        {
            tracing::error!(
                code = error.code(),
                "cannot record the newest statement about tokens: a restart could accept an older one: {}",
                with_causes(&error)
            );
        }
        let Some(crls) = self.verifier.revocation() else { return };
        self.revocation.newest.record(&crls.set);
        if let Some(store) = &self.revocation.store
            && let Err(error) = store.record(&crls.set, LOCK_TIMEOUT)
        {
            tracing::error!(
                code = error.code(),
                "cannot record the newest CRLs: a restart could accept older ones: {}",
                with_causes(&error)
            );
        }
    }
}
