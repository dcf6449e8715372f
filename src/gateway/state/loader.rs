//! Loader of states: reads and checks the files in the configuration, and builds the next state.
//!
//! Apart from [`Loader::first`], which waits for keys, the loader waits only for files. The [`KeyOpener`] opens keys.

use std::net::SocketAddr;
use std::sync::Arc;

use time::OffsetDateTime;

use super::error::StateError;
use super::keys::LoadedKeys;
use super::snapshot::{Credentials, ListenerEntry, RevocationSources, Settings, State};
use super::tokens::TokenState;
use crate::clock::Clock;
use crate::error::{Coded, with_causes};
use crate::files::{self, SMALL_FILE};
use crate::gateway::config::{self, Config, Resumption, Revocation, TokenClients, TrustSettings};
use crate::gateway::tokens::{NewestStatements, StatementStore, TokenLoadError, TokensInForce};
use crate::gateway::upstream::assertion::Assertions;
use crate::gateway::upstream::pool::UpstreamPool;
use crate::mtls::crl::{
    CrlFiles, CrlLoadError, CrlStore, CrlsInForce, LastSeenCrls, NewestCrls, newer_in_files,
};
use crate::mtls::keys::{KeyOpener, KeyProgress};
use crate::mtls::tls::{
    ClientVerifier, ResumptionStore, ServerNames, TlsError, VerifiedResumption, server_config,
};
use crate::mtls::{
    ClientCertificate, Listener, PeerVerifier, ServerCertificate, ServerCertificateError,
    ServerCertificateFault,
};
use crate::revocation::{Crl, RevocationSet};
use crate::x509::KeyIdentifier;
use crate::x509::trust::TrustBundle;

/// Builder of states, with the parts that all states of a process share.
#[derive(Debug)]
pub struct Loader {
    clock: Arc<dyn Clock>,
    every_upstream: Option<SocketAddr>,
    workers: usize,
    sessions: Arc<ResumptionStore>,
    key_opener: KeyOpener,
    newest_crls: Arc<NewestCrls>,
    newest_statements: Arc<NewestStatements>,
}

impl Loader {
    /// Loader for a gateway of `workers` workers. `every_upstream` replaces the address of every upstream.
    #[must_use]
    pub fn new(
        clock: Arc<dyn Clock>,
        every_upstream: Option<SocketAddr>,
        workers: usize,
        key_opener: KeyOpener,
    ) -> Self {
        let (sessions, newest_crls, newest_statements) = (Arc::default(), Arc::default(), Arc::default());
        Self { clock, every_upstream, workers, sessions, key_opener, newest_crls, newest_statements }
    }

    /// Opener of the private keys.
    #[must_use]
    pub const fn key_opener(&self) -> &KeyOpener {
        &self.key_opener
    }

    /// Load the first state. Waits for the keys.
    ///
    /// # Errors
    /// [`StateError`] with the first file or rule that fails.
    pub fn first(&self, config: &Config) -> Result<State, StateError> {
        loop {
            self.key_opener.wait_for(config.keys())?;
            let mut keys = LoadedKeys::find(&self.key_opener, config, None, None)?;
            match std::mem::take(&mut keys.progress) {
                KeyProgress { failed: Some(error), .. } => return Err(error.into()),
                // The key file was replaced since the wait.
                KeyProgress { pending: true, .. } => {}
                KeyProgress { .. } => return self.load(config, None, keys),
            }
        }
    }

    /// Load a first state without private keys, for decisions without connections.
    ///
    /// # Errors
    /// As [`Loader::first`].
    pub fn without_keys(&self, config: &Config) -> Result<State, StateError> {
        self.load(config, None, LoadedKeys::none())
    }

    /// Look for the keys of `config`; those of `previous` count as in force.
    ///
    /// # Errors
    /// [`StateError::Key`] as [`KeyOpener::find`].
    pub fn find_keys(&self, config: &Config, previous: &State) -> Result<LoadedKeys, StateError> {
        let credentials = &previous.credentials;
        let identity = credentials.own.key.as_ref().map(|key| key.fingerprint);
        let assertion = credentials.assertions.as_ref().and_then(|signer| signer.key_fingerprint());
        Ok(LoadedKeys::find(&self.key_opener, config, identity, assertion)?)
    }

    /// Load the state after `previous` with the keys that are open. While a key is pending, that of `previous`
    /// stays in force. No CRL is older than the one in force.
    ///
    /// # Errors
    /// [`StateError`]; then `previous` should stay in force.
    pub fn next(&self, config: &Config, previous: &State, keys: LoadedKeys) -> Result<State, StateError> {
        self.load(config, Some(previous), keys)
    }

    /// Build `previous` with other CRLs.
    ///
    /// # Errors
    /// [`StateError`] if the server certificate is refused under them.
    pub fn with_revocation(&self, previous: &State, crls: CrlsInForce) -> Result<State, StateError> {
        let verifier = previous.verifier.with(previous.verifier.trust().clone(), Some(crls));
        self.build(Some(previous), Candidate::of(previous, verifier))
    }

    /// Build `previous` with another statement about tokens.
    ///
    /// # Errors
    /// As [`Loader::with_revocation`].
    pub fn with_tokens(&self, previous: &State, tokens: TokenState) -> Result<State, StateError> {
        let verifier = previous
            .verifier
            .with(previous.verifier.trust().clone(), previous.verifier.revocation().cloned());
        self.build(Some(previous), Candidate { tokens: Some(tokens), ..Candidate::of(previous, verifier) })
    }

    /// Verify the text of a statement about tokens under `state`.
    ///
    /// # Errors
    /// [`TokenLoadError`] with the violated rule.
    pub fn verify_statement(&self, state: &State, text: &[u8]) -> Result<TokensInForce, TokenLoadError> {
        TokensInForce::verify(text, &state.verifier, self.workers, self.clock.now())
    }

    /// Restrict `previous`: without the trust anchors that the bundle of `config`, or its own, no longer has, and
    /// with newer CRLs from the files. Nothing is added: no anchor, authority or route. Files that cannot be read or
    /// verified are skipped. `None` if nothing changes.
    ///
    /// The trust anchor of the server certificate stays until there is another certificate.
    ///
    /// # Errors
    /// As [`Loader::with_revocation`].
    pub fn restricted(&self, previous: &State, config: Option<&Config>) -> Result<Option<State>, StateError> {
        let (at, before) = (self.clock.now(), previous.verifier.trust());
        let files = config.map_or(&previous.settings.trust, |config| &config.trust);
        let bundle =
            files::check_write_protected(&files.bundle).ok().and_then(|()| load_trust(files, at).ok());
        let trusts = |bundle: &TrustBundle, key: &KeyIdentifier| bundle.anchor(key).is_some();
        // A bundle without any anchor in force is another cluster's by mistake, not a removal.
        let same_cluster =
            |bundle: &TrustBundle| !before.restricted_to(|key| trusts(bundle, key)).anchors().is_empty();
        let trust = match bundle.filter(same_cluster) {
            Some(bundle) => {
                let own = &previous.own_anchor;
                if trusts(before, own) && !trusts(&bundle, own) {
                    tracing::error!(
                        anchor = %own,
                        "trust anchor of the gateway's certificate was removed from the bundle: it stays trusted \
                         until the certificate is replaced"
                    );
                }
                before.restricted_to(|key| key == own || trusts(&bundle, key))
            }
            None => before.clone(),
        };
        let versions = |set: &RevocationSet| set.crls().map(Crl::version).collect::<Vec<_>>();
        let known = previous.verifier.revocation();
        let (mut crls, mut last_seen) = (None, previous.revocation.last_seen.clone());
        if let Some(known) = known {
            let paths = files.revocation.paths();
            let store = previous.revocation.store.as_ref();
            let is_candidate = |crl: &Crl| self.newest_crls.is_candidate(crl, store);
            let (set, now_seen) = newer_in_files(known, paths, &trust, &last_seen, at, is_candidate);
            (crls, last_seen) = (Some(CrlsInForce { set, grace: known.grace }), now_seen);
        }
        let same_crls =
            crls.as_ref().map(|crls| versions(&crls.set)) == known.map(|crls| versions(&crls.set));
        let same_trust = trust.has_same_authorities(before);
        let verifier = previous.verifier.with(trust, crls);
        let newer =
            previous.tokens.as_ref().and_then(|tokens| tokens.newer_in_file(&verifier, self.workers, at));
        if same_crls && same_trust && newer.is_none() {
            return Ok(None);
        }
        let revocation = Arc::new(RevocationSources { last_seen, ..(*previous.revocation).clone() });
        let candidate = Candidate::of(previous, verifier);
        let tokens = newer.or(candidate.tokens);
        self.build(Some(previous), Candidate { revocation, tokens, ..candidate }).map(Some)
    }

    fn load(&self, config: &Config, previous: Option<&State>, keys: LoadedKeys) -> Result<State, StateError> {
        let at = self.clock.now();
        let trust = load_trust(&config.trust, at)?;
        report_excluded(&trust);
        warn_of_unknown_issuers(&config.trust, &trust);
        let (crls, revocation) = self.load_crls(config, &trust, previous, at)?;
        let before = previous.map(|previous| &previous.credentials);
        let own = ServerCertificate::load(
            &config.identity.certificate,
            keys.identity,
            before.map(|before| &before.own),
        )?;
        let trust_domain = match &config.trust_domain {
            Some(configured) => configured.clone(),
            None => own.claimed_trust_domain()?,
        };
        let assertions = config.assertion.as_ref().map(|assertion| {
            let before = before.map(|before| before.assertions.as_deref());
            Assertions::load(assertion, keys.assertion, &trust_domain, before, at)
        });
        let assertions = assertions.transpose()?.flatten().map(Arc::new);
        let verifier = PeerVerifier::new(trust, crls, trust_domain, config.trust.issuers.clone());
        self.build(
            previous,
            Candidate {
                settings: Arc::new(self.settings(config, previous)),
                tokens: self.load_tokens(config, &verifier, previous, at)?,
                verifier,
                credentials: Arc::new(Credentials { own, assertions }),
                revocation: Arc::new(revocation),
            },
        )
    }

    fn load_tokens(
        &self,
        config: &Config,
        verifier: &PeerVerifier,
        previous: Option<&State>,
        at: OffsetDateTime,
    ) -> Result<Option<TokenState>, TokenLoadError> {
        let Some(settings) = &config.tokens else { return Ok(None) };
        let store = config.state_directory.as_deref();
        let store = store.map(|directory| StatementStore::in_directory(directory, Arc::clone(&self.clock)));
        let previous = previous.and_then(|previous| previous.tokens.as_ref());
        let (newest, verifier) = (&self.newest_statements, (verifier, self.workers));
        TokenState::load(settings, store, newest, verifier, previous, at).map(Some)
    }

    fn settings(&self, config: &Config, previous: Option<&State>) -> Settings {
        Settings {
            listeners: previous
                .map_or_else(|| config.listen.clone(), |previous| previous.settings.listeners.clone()),
            policy: Arc::new(config.policy.clone()),
            shadow: config.shadow.as_ref().map(|shadow| Arc::new(shadow.policy.clone())),
            upstreams: self.upstreams(config, previous),
            forwarding: Arc::new(config.forwarding.clone()),
            operators: config.operators.clone(),
            files: config.files(),
            keys: config.keys().cloned().collect(),
            trust: config.trust.clone(),
            resumption: config.resumption,
        }
    }

    /// CRLs from the files and the store, never older than those in force or on record.
    fn load_crls(
        &self,
        config: &Config,
        trust: &TrustBundle,
        previous: Option<&State>,
        at: OffsetDateTime,
    ) -> Result<(Option<CrlsInForce>, RevocationSources), CrlLoadError> {
        let store = config.state_directory.as_deref();
        let store = store.map(|directory| CrlStore::in_directory(directory, Arc::clone(&self.clock)));
        let Revocation::Crls { paths, grace, .. } = &config.trust.revocation else {
            tracing::warn!("revocation checking is disabled: revoked certificates will be accepted");
            let (last_seen, newest) = (LastSeenCrls::default(), Arc::clone(&self.newest_crls));
            return Ok((None, RevocationSources { store, last_seen, newest }));
        };
        let pushed = store.as_ref().map(|store| store.load(trust, at)).transpose()?;
        let before = previous.map(|previous| previous.revocation.last_seen.clone()).unwrap_or_default();
        let read = CrlFiles::read(paths, trust, at)?;
        let (mut set, last_seen) = read.newest_with(pushed.unwrap_or_default(), trust, &before)?;
        let grace = time::Duration::try_from(*grace).unwrap_or(time::Duration::MAX);
        let refused = |source| CrlLoadError::Refused { paths: paths.clone(), source: Box::new(source) };
        set.crls().try_for_each(|crl| self.newest_crls.check(crl)).map_err(refused)?;
        if let Some(store) = &store {
            store.check(&set)?;
        }
        set = set.with_standby_that(|crl| {
            crl.next_update.saturating_add(grace) > at && self.newest_crls.is_candidate(crl, store.as_ref())
        });
        if let Some(current) = previous.and_then(|previous| previous.verifier.revocation()) {
            set = current.set.succeeded_by(set).map_err(refused)?;
        }
        let newest = Arc::clone(&self.newest_crls);
        Ok((Some(CrlsInForce { set, grace }), RevocationSources { store, last_seen, newest }))
    }

    /// Last step for every state, whatever it was made from.
    fn build(&self, previous: Option<&State>, candidate: Candidate) -> Result<State, StateError> {
        let at = self.clock.now();
        candidate.check_crls(previous, at)?;
        let Candidate { settings, verifier, credentials, revocation, tokens: _ } = &candidate;
        let own_anchor = match credentials.own.check(verifier, &settings.listeners, at) {
            Ok(anchor) => anchor,
            Err(error) => {
                let previous =
                    previous.filter(|previous| candidate.may_keep_certificate(previous, &error, at));
                let Some(previous) = previous else { return Err(error.into()) };
                tracing::error!(code = error.code(), "{}", with_causes(&error));
                previous.own_anchor.clone()
            }
        };
        let (settings, credentials, revocation) =
            (Arc::clone(settings), Arc::clone(credentials), Arc::clone(revocation));
        let tokens = candidate.tokens.map(|tokens| tokens.under(&candidate.verifier, at));
        let verifier = Arc::new(candidate.verifier);
        let replaces_certificate = tokens.as_ref().is_some_and(|tokens| tokens.clients == TokenClients::Any);
        // Without a key, no handshake is possible.
        let entries = match &credentials.own.key {
            Some(key) => {
                let names = ServerNames::new(Arc::clone(&key.certified), &credentials.own.leaf);
                let names = Arc::new(names);
                let entry = |listener: &Listener| {
                    // The requests without a certificate are judged by their tokens.
                    let listener = match replaces_certificate {
                        true => Listener { client_certificate: ClientCertificate::Optional, ..*listener },
                        false => *listener,
                    };
                    self.entry(&names, listener, &verifier, settings.resumption)
                };
                settings.listeners.iter().map(entry).collect::<Result<_, TlsError>>()?
            }
            None => Vec::new(),
        };
        Ok(State {
            generation: previous.map_or(1, |previous| previous.generation + 1),
            noticed: self.clock.monotonic(),
            entries,
            verifier,
            settings,
            credentials,
            revocation,
            tokens,
            own_anchor,
        })
    }

    fn entry(
        &self,
        names: &Arc<ServerNames>,
        listener: Listener,
        verifier: &Arc<PeerVerifier>,
        resumption: Resumption,
    ) -> Result<ListenerEntry, TlsError> {
        let accepts = ClientVerifier::new(Arc::clone(verifier), listener);
        let resumption = match resumption {
            Resumption::Disabled => None,
            Resumption::MaxAge(max_age) => Some(VerifiedResumption {
                sessions: Arc::clone(&self.sessions),
                verifier: Arc::clone(verifier),
                listener,
                clock: Arc::clone(&self.clock),
                max_age,
            }),
        };
        let tls = server_config(Arc::clone(names), accepts, Arc::clone(&self.clock), resumption)?;
        Ok(ListenerEntry { listener, names: Arc::clone(names), tls: Arc::new(tls) })
    }

    /// Upstreams of `config`. An upstream that has not changed is kept, with its connections.
    fn upstreams(&self, config: &Config, previous: Option<&State>) -> Vec<Arc<UpstreamPool>> {
        let upstream = |configured: &config::UpstreamSettings| {
            let (host, port) = match self.every_upstream {
                Some(address) => (address.ip().to_string(), address.port()),
                None => (configured.host.clone(), configured.port),
            };
            let next = UpstreamPool::new(
                &configured.name,
                &host,
                port,
                configured.limits,
                self.workers,
                Arc::clone(&self.clock),
            );
            let same = previous
                .into_iter()
                .flat_map(|previous| &previous.settings.upstreams)
                .find(|old| old.has_same_settings(&next));
            same.map_or_else(|| Arc::new(next), Arc::clone)
        };
        config.upstreams.iter().map(upstream).collect()
    }
}

/// Parts of a state that has not been checked yet.
struct Candidate {
    settings: Arc<Settings>,
    verifier: PeerVerifier,
    credentials: Arc<Credentials>,
    revocation: Arc<RevocationSources>,
    tokens: Option<TokenState>,
}

impl Candidate {
    /// The parts of `previous` with another verifier.
    fn of(previous: &State, verifier: PeerVerifier) -> Self {
        Self {
            settings: Arc::clone(&previous.settings),
            verifier,
            credentials: Arc::clone(&previous.credentials),
            revocation: Arc::clone(&previous.revocation),
            tokens: previous.tokens.clone(),
        }
    }

    /// Refuse an expired CRL, unless it is in force already: its issuer's clients are refused, and changes that
    /// concern other issuers must not wait for it.
    fn check_crls(&self, previous: Option<&State>, at: OffsetDateTime) -> Result<(), CrlLoadError> {
        let Some(crls) = self.verifier.revocation() else { return Ok(()) };
        let current = previous.and_then(|previous| previous.verifier.revocation());
        for stale in crls.set.crls().filter(|crl| crls.is_stale(crl.next_update, at)) {
            let current = current.and_then(|current| current.set.last_known(&stale.issuer));
            if current.is_none_or(|current| current.sha256 != stale.sha256) {
                let (issuer, next_update) = (stale.issuer.clone(), stale.next_update);
                return Err(CrlLoadError::Expired { issuer, next_update });
            }
            tracing::error!(issuer = %stale.issuer, "CRL has expired: clients of its issuer are refused");
        }
        Ok(())
    }

    /// Return true if the server certificate may stay in force although it is refused with `error`: it has been
    /// revoked, or was refused for the same reason before. Otherwise a thief of the key could block the CRL that
    /// revokes it, and a gateway with an expired certificate would miss further revocations.
    fn may_keep_certificate(
        &self,
        previous: &State,
        error: &ServerCertificateError,
        at: OffsetDateTime,
    ) -> bool {
        let own = &self.credentials.own;
        let revoked =
            matches!(error, ServerCertificateError::Refused { why: ServerCertificateFault::Revoked, .. });
        let refused_before = || {
            let before = own.check(&previous.verifier, &self.settings.listeners, at);
            before.is_err_and(|before| before.code() == error.code())
        };
        own.chain == previous.credentials.own.chain
            && self.verifier.trust().anchor(&previous.own_anchor).is_some()
            && (revoked || refused_before())
    }
}

/// Trust anchors, and the intermediate authorities below them.
fn load_trust(trust: &TrustSettings, at: OffsetDateTime) -> Result<TrustBundle, StateError> {
    let refused = |source| StateError::Trust { path: trust.bundle.clone(), source };
    let bundle = TrustBundle::from_pem_excluding(&files::read(&trust.bundle, SMALL_FILE)?, at);
    let bundle = bundle.and_then(|bundle| trust.unfit_anchors.apply(bundle)).map_err(refused)?;
    let Some(path) = &trust.intermediates else { return Ok(bundle) };
    let refused = |source| StateError::Intermediates { path: path.clone(), source: Box::new(source) };
    let both = bundle.with_intermediates_excluding(&files::read(path, SMALL_FILE)?, at);
    both.and_then(|both| trust.unfit_anchors.apply(both)).map_err(refused)
}

/// Report the authorities that are left out: nothing below them is accepted.
fn report_excluded(trust: &TrustBundle) {
    for error in trust.excluded() {
        tracing::error!(
            code = error.code(),
            "not trusted, the other authorities are: {}",
            with_causes(error)
        );
    }
}

/// Warn of issuers in `trust.issuers` that are not known: they have no effect, and may be a typing error.
fn warn_of_unknown_issuers(configured: &TrustSettings, trust: &TrustBundle) {
    let known = |issuer: &KeyIdentifier| trust.authorities().any(|(known, _)| known == issuer);
    for issuer in configured.issuers.listed().filter(|issuer| !known(issuer)) {
        tracing::warn!(%issuer, "issuer in `trust.issuers` is in neither `bundle` nor `intermediates`");
    }
}
