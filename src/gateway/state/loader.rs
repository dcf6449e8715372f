//! What every judgement rests on: own certificate, trust, revocation, policy, upstreams. Built whole by
//! one function, checked against itself, and never changed: what is new is a new state. Nothing here waits
//! for anything but files; keys are the [keyring's](crate::gateway::mtls::keys::opener) business.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use rustls::ServerConfig;
use time::OffsetDateTime;

use crate::clock::Clock;
use crate::error::{Code, Coded};
use crate::files::{self, FileError, SMALL_FILE};
use crate::gateway::config::{self, Config, KeySource, Listener, Resumption, Revocation, Trust};
use crate::gateway::mtls::crl::files::{self as crl_files, CrlFiles, Held};
use crate::gateway::mtls::crl::store::PushedCrls;
use crate::gateway::mtls::keys::opener::{FoundKeys, Keyring, Standing};
use crate::gateway::mtls::resumption::{Resumable, Sessions};
use crate::gateway::mtls::server_certificate::{OwnCertificate, OwnFault};
use crate::gateway::mtls::server_config::{self, TlsError};
use crate::gateway::mtls::server_name::OwnNames;
use crate::gateway::mtls::verifier::{Crls, ListenerVerifier, PeerVerifier};
use crate::gateway::policy::{Caller, Policy};
use crate::gateway::upstream::assertion::{AssertionError, Assertions};
use crate::gateway::upstream::pool::{Deadlines, Upstream};
use crate::keys::KeyError;
use crate::revocation::{Crl, CrlError, RevocationSet};
use crate::x509::trust::{TrustBundle, TrustError};
use crate::x509::{KeyIdentifier, X509Error};

/// Everything that a reload replaces.
#[derive(Debug)]
pub struct State {
    /// Counts the states of this process, from 1.
    pub generation: u64,
    /// When what it brings was noticed.
    pub noticed: Instant,
    /// How connections are accepted, for each listener of the configuration in its order.
    pub entries: Vec<Entry>,
    /// Whom to let in.
    pub verifier: Arc<PeerVerifier>,
    /// Who may make which call.
    pub policy: Arc<Policy>,
    /// A policy that is asked too, and not heeded.
    pub shadow: Option<Arc<Policy>>,
    /// The services behind, as the policy numbers them.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Who may push CRLs and ask for the status.
    pub operators: Vec<Caller>,
    /// What signs for the services behind; `None` where nothing is signed.
    pub assertions: Option<Arc<Assertions>>,
    /// The gateway's own certificate.
    pub own: OwnCertificate,
    /// The key of the trust anchor that it chains to.
    own_anchor: KeyIdentifier,
    /// Where pushed CRLs are kept, and which were the newest.
    pub pushed: Option<PushedCrls>,
    /// The files that it was loaded from.
    pub files: Vec<PathBuf>,
    /// Where its trust anchors and CRLs are read from.
    trust: Trust,
    /// What the CRL files held.
    held: Held,
    /// Where the configuration has the keys.
    pub keys: Vec<KeySource>,
    resumption: Resumption,
}

/// How connections are accepted at one listener.
#[derive(Debug)]
pub struct Entry {
    /// What is asked of callers there.
    pub listener: Listener,
    /// The same, for rustls.
    pub tls: Arc<ServerConfig>,
}

impl State {
    /// Notes where a restart finds it which CRLs are in force. That this fails is told, and keeps none of
    /// them out: what is revoked now comes before what a restart may bring.
    pub fn record_crls(&self) {
        if let (Some(pushed), Some(crls)) = (&self.pushed, self.verifier.revocation())
            && let Err(error) = pushed.record(&crls.set)
        {
            tracing::error!(
                code = error.code(),
                "after a restart, an older CRL could be taken, since the newest cannot be noted: {}",
                crate::error::with_causes(&error)
            );
        }
    }
}

/// Builds states: what is the same for all states of a process.
#[derive(Debug)]
pub struct Loader {
    clock: Arc<dyn Clock>,
    every_upstream: Option<SocketAddr>,
    workers: usize,
    sessions: Arc<Sessions>,
    keyring: Keyring,
}

impl Loader {
    /// For a gateway of `workers` workers; `every_upstream` stands in for every configured upstream.
    #[must_use]
    pub fn new(
        clock: Arc<dyn Clock>,
        every_upstream: Option<SocketAddr>,
        workers: usize,
        keyring: Keyring,
    ) -> Self {
        Self { clock, every_upstream, workers, sessions: Arc::default(), keyring }
    }

    /// What opens our keys.
    #[must_use]
    pub const fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// The first state: everything that `config` names is loaded, and our own certificate held to the
    /// rules that callers are held to. Waits for the keys.
    ///
    /// # Errors
    /// [`StateError`] with the first file or rule that fails.
    pub fn first(&self, config: &Config) -> Result<State, StateError> {
        loop {
            self.keyring.wait_for(config)?;
            let mut keys = self.keyring.find(config, None, None)?;
            match std::mem::take(&mut keys.standing) {
                Standing { failed: Some(error), .. } => return Err(error),
                // Replaced just now.
                Standing { awaited: true, .. } => {}
                Standing { .. } => return self.load(config, None, keys),
            }
        }
    }

    /// What can be judged by, but not shown to anybody: the first state without the keys.
    ///
    /// # Errors
    /// As [`Loader::first`].
    pub fn without_keys(&self, config: &Config) -> Result<State, StateError> {
        self.load(config, None, FoundKeys::none())
    }

    /// How far the keys of `config` have come, those that `previous` has included.
    ///
    /// # Errors
    /// As [`Keyring::find`].
    pub fn find_keys(&self, config: &Config, previous: &State) -> Result<FoundKeys, StateError> {
        let identity = previous.own.key.as_ref().map(|key| key.fingerprint);
        let assertion = previous.assertions.as_ref().and_then(|assertions| assertions.key_fingerprint());
        self.keyring.find(config, identity, assertion)
    }

    /// The state after `previous`, loaded in the same way, with what there is of `keys`: where one is
    /// missing, what `previous` has stays. No CRL of it is older than the one in force.
    ///
    /// # Errors
    /// [`StateError`]; then `previous` should stay in force.
    pub fn next(&self, config: &Config, previous: &State, keys: FoundKeys) -> Result<State, StateError> {
        self.load(config, Some(previous), keys)
    }

    /// `previous` with other CRLs.
    ///
    /// # Errors
    /// [`StateError`] when our own certificate does not hold under them.
    pub fn with_revocation(&self, previous: &State, crls: Crls) -> Result<State, StateError> {
        let verifier = previous.verifier.with(previous.verifier.trust().clone(), Some(crls));
        self.build(Some(previous), Parts::of(previous, verifier))
    }

    /// `previous` without the trust anchors that its files, or those of `config`, have no more, and with
    /// whatever newer CRLs they hold: no root, no authority, no policy comes in by it. What cannot be read
    /// or relied on is passed over. `None` where there is nothing of either.
    ///
    /// The anchor of our own certificate stays: to take it away is half of a change, whose other half is
    /// another certificate.
    ///
    /// # Errors
    /// As [`Loader::with_revocation`].
    pub fn narrowed(&self, previous: &State, config: Option<&Config>) -> Result<Option<State>, StateError> {
        let (at, before) = (self.clock.now(), previous.verifier.trust());
        let files = config.map_or(&previous.trust, |config| &config.trust);
        let bundle =
            files::check_write_protected(&files.bundle).ok().and_then(|()| load_trust(files, at).ok());
        let trusts = |bundle: &TrustBundle, key: &KeyIdentifier| bundle.anchor(key).is_some();
        // Nothing of it left is another cluster, and no distrust.
        let is_ours =
            |bundle: &TrustBundle| !before.restricted_to(|key| trusts(bundle, key)).anchors().is_empty();
        let trust = match bundle.filter(is_ours) {
            Some(bundle) => {
                let own = &previous.own_anchor;
                if trusts(before, own) && !trusts(&bundle, own) {
                    tracing::error!(
                        anchor = %own,
                        "a root has been removed that the gateway's own certificate chains to: it stays trusted \
                         until there is a certificate of another"
                    );
                }
                before.restricted_to(|key| key == own || trusts(&bundle, key))
            }
            None => before.clone(),
        };
        let versions = |set: &RevocationSet| set.crls().map(Crl::version).collect::<Vec<_>>();
        let known = previous.verifier.revocation();
        let (mut crls, mut held) = (None, previous.held.clone());
        if let Some(known) = known {
            let paths = files.revocation.paths();
            let (set, now_held) = crl_files::newer_than(known, paths, &trust, &previous.held, at);
            (crls, held) = (Some(Crls { set, grace: known.grace }), now_held);
        }
        let same_crls =
            crls.as_ref().map(|crls| versions(&crls.set)) == known.map(|crls| versions(&crls.set));
        if same_crls && trust.has_same_authorities(before) {
            return Ok(None);
        }
        let verifier = previous.verifier.with(trust, crls);
        self.build(Some(previous), Parts { held, ..Parts::of(previous, verifier) }).map(Some)
    }

    fn load(&self, config: &Config, previous: Option<&State>, keys: FoundKeys) -> Result<State, StateError> {
        let at = self.clock.now();
        let trust = load_trust(&config.trust, at)?;
        warn_of_unknown_issuers(&config.trust, &trust);
        let pushed = config
            .state_directory
            .as_deref()
            .map(|directory| PushedCrls::in_directory(directory, Arc::clone(&self.clock)));
        let mut held = Held::default();
        let crls = match &config.trust.revocation {
            Revocation::Crls { paths, grace, .. } => {
                let refused = |source| StateError::Crl { paths: paths.clone(), source: Box::new(source) };
                let kept = pushed.as_ref().map(|pushed| pushed.load(&trust, at)).transpose()?;
                let before = previous.map(|previous| previous.held.clone()).unwrap_or_default();
                let read = CrlFiles::read(paths, &trust, at)?;
                let (mut set, now_held) = read.newest_with(kept.unwrap_or_default(), &trust, &before)?;
                held = now_held;
                if let Some(current) = previous.and_then(|previous| previous.verifier.revocation()) {
                    set = current.set.succeeded_by(set).map_err(refused)?;
                }
                if let Some(pushed) = &pushed {
                    pushed.check(&set)?;
                }
                Some(Crls { set, grace: time::Duration::try_from(*grace).unwrap_or(time::Duration::MAX) })
            }
            Revocation::Disabled => {
                tracing::warn!("revocation is disabled: a revoked certificate is as good as any");
                None
            }
        };
        let own =
            OwnCertificate::load(&config.identity, keys.identity, previous.map(|previous| &previous.own))?;
        let trust_domain = match &config.trust_domain {
            Some(configured) => configured.clone(),
            None => own.claimed_trust_domain()?,
        };
        let assertions = config.assertion.as_ref().map(|assertion| {
            let before = previous.map(|previous| previous.assertions.as_deref());
            Assertions::load(assertion, keys.assertion, &trust_domain, before, at)
        });
        self.build(
            previous,
            Parts {
                listeners: match previous {
                    // They are bound, and a listener is known by its number.
                    Some(previous) => previous.entries.iter().map(|entry| entry.listener).collect(),
                    None => config.listen.clone(),
                },
                verifier: PeerVerifier::new(trust, crls, trust_domain, config.trust.issuers.clone()),
                policy: Arc::new(config.policy.clone()),
                shadow: config.shadow.as_ref().map(|shadow| Arc::new(shadow.policy.clone())),
                upstreams: self.upstreams(config, previous),
                operators: config.operators.clone(),
                assertions: assertions.transpose()?.flatten().map(Arc::new),
                own,
                pushed,
                files: config.files(),
                trust: config.trust.clone(),
                held,
                keys: config.keys().cloned().collect(),
                resumption: config.resumption,
            },
        )
    }

    /// What every state goes through, whatever it was made from.
    fn build(&self, previous: Option<&State>, parts: Parts) -> Result<State, StateError> {
        let at = self.clock.now();
        parts.check_crls(previous, at)?;
        let own_anchor = match parts.own.check(&parts.verifier, &parts.listeners, at) {
            Ok(anchor) => anchor,
            Err(error) => {
                let previous = previous.filter(|previous| parts.may_go_on(previous, &error, at));
                let Some(previous) = previous else { return Err(error) };
                tracing::error!(code = error.code(), "{}", crate::error::with_causes(&error));
                previous.own_anchor.clone()
            }
        };
        let verifier = Arc::new(parts.verifier);
        let entry = |listener: Listener| {
            let accepts = ListenerVerifier { verifier: Arc::clone(&verifier), listener };
            let resumable = match parts.resumption {
                Resumption::Disabled => None,
                Resumption::MaxAge(max_age) => Some(Resumable {
                    sessions: Arc::clone(&self.sessions),
                    verifier: Arc::clone(&verifier),
                    listener,
                    clock: Arc::clone(&self.clock),
                    max_age,
                }),
            };
            // Nobody can be let in without a key to show.
            let Some(key) = &parts.own.key else { return Ok(None) };
            let own = OwnNames::new(Arc::clone(&key.certified), &parts.own.leaf);
            let tls = server_config::server_config(own, accepts, Arc::clone(&self.clock), resumable)?;
            Ok(Some(Entry { listener, tls: Arc::new(tls) }))
        };
        let entries = parts.listeners.iter().filter_map(|listener| entry(*listener).transpose());
        let entries = entries.collect::<Result<_, TlsError>>()?;
        Ok(State {
            generation: previous.map_or(1, |previous| previous.generation + 1),
            noticed: Instant::now(),
            entries,
            verifier,
            policy: parts.policy,
            shadow: parts.shadow,
            upstreams: parts.upstreams,
            operators: parts.operators,
            assertions: parts.assertions,
            own: parts.own,
            own_anchor,
            pushed: parts.pushed,
            files: parts.files,
            trust: parts.trust,
            held: parts.held,
            keys: parts.keys,
            resumption: parts.resumption,
        })
    }

    /// The upstreams of `config`; those that have not changed stay, with their connections.
    fn upstreams(&self, config: &Config, previous: Option<&State>) -> Vec<Arc<Upstream>> {
        let upstream = |configured: &config::Upstream| {
            let (host, port) = match self.every_upstream {
                Some(address) => (address.ip().to_string(), address.port()),
                None => (configured.host.clone(), configured.port),
            };
            let deadlines =
                Deadlines { connect: configured.connect_timeout, response: configured.response_timeout };
            let next = Upstream::new(&configured.name, &host, port, deadlines, self.workers);
            let same =
                previous.into_iter().flat_map(|previous| &previous.upstreams).find(|old| old.is_like(&next));
            same.map_or_else(|| Arc::new(next), Arc::clone)
        };
        config.upstreams.iter().map(upstream).collect()
    }
}

/// What a state is made of, before it has been checked.
struct Parts {
    listeners: Vec<Listener>,
    verifier: PeerVerifier,
    policy: Arc<Policy>,
    shadow: Option<Arc<Policy>>,
    upstreams: Vec<Arc<Upstream>>,
    operators: Vec<Caller>,
    assertions: Option<Arc<Assertions>>,
    own: OwnCertificate,
    pushed: Option<PushedCrls>,
    files: Vec<PathBuf>,
    trust: Trust,
    held: Held,
    keys: Vec<KeySource>,
    resumption: Resumption,
}

impl Parts {
    /// Those of `previous`, with another verifier.
    fn of(previous: &State, verifier: PeerVerifier) -> Self {
        Self {
            listeners: previous.entries.iter().map(|entry| entry.listener).collect(),
            verifier,
            policy: Arc::clone(&previous.policy),
            shadow: previous.shadow.clone(),
            upstreams: previous.upstreams.clone(),
            operators: previous.operators.clone(),
            assertions: previous.assertions.clone(),
            own: previous.own.clone(),
            pushed: previous.pushed.clone(),
            files: previous.files.clone(),
            trust: previous.trust.clone(),
            held: previous.held.clone(),
            keys: previous.keys.clone(),
            resumption: previous.resumption,
        }
    }

    /// Refuses a CRL that is past its end, unless it is in force already: its issuer's callers are kept
    /// out, and what changes for those of other issuers must not wait for it.
    fn check_crls(&self, previous: Option<&State>, at: OffsetDateTime) -> Result<(), StateError> {
        let Some(crls) = self.verifier.revocation() else { return Ok(()) };
        let current = previous.and_then(|previous| previous.verifier.revocation());
        for stale in crls.set.crls().filter(|crl| crls.is_stale(crl.next_update, at)) {
            let current = current.and_then(|current| current.set.crl(&stale.issuer));
            if current.is_none_or(|current| current.sha256 != stale.sha256) {
                let (issuer, next_update) = (stale.issuer.clone(), stale.next_update);
                return Err(StateError::CrlExpired { issuer, next_update });
            }
            tracing::error!(issuer = %stale.issuer, "the CRL has expired: its issuer's callers are refused");
        }
        Ok(())
    }

    /// Whether `error`, which is what our own certificate meets with, is no reason to stay with `previous`:
    /// the certificate is in force as it is, and what is wrong with it is that it has been revoked, or
    /// nothing that these parts bring. Or else whoever has stolen it could keep out the list that ends it,
    /// and a gateway whose certificate has run out would not learn whom else to turn away.
    fn may_go_on(&self, previous: &State, error: &StateError, at: OffsetDateTime) -> bool {
        let is_revoked = matches!(error, StateError::OwnCertificate { why: OwnFault::Revoked, .. });
        let is_no_news = || {
            let before = self.own.check(&previous.verifier, &self.listeners, at);
            before.is_err_and(|before| before.code() == error.code())
        };
        self.own.chain == previous.own.chain
            && self.verifier.trust().anchor(&previous.own_anchor).is_some()
            && (is_revoked || is_no_news())
    }
}

/// The trust anchors, and the authorities below them that have CRLs of their own.
fn load_trust(trust: &Trust, at: OffsetDateTime) -> Result<TrustBundle, StateError> {
    let path = &trust.bundle;
    let bundle = TrustBundle::from_pem(&files::read(path, SMALL_FILE)?, at)
        .map_err(|source| StateError::Trust { path: path.clone(), source })?;
    match &trust.revocation {
        Revocation::Crls { intermediates: Some(path), .. } => bundle
            .with_intermediates(&files::read(path, SMALL_FILE)?, at)
            .map_err(|source| StateError::Intermediates { path: path.clone(), source: Box::new(source) }),
        _ => Ok(bundle),
    }
}

/// Tells of issuers that `trust.issuers` binds to roles and that are not known: nobody gets in by that, and
/// somebody may have meant another one.
fn warn_of_unknown_issuers(configured: &Trust, trust: &TrustBundle) {
    let known = |issuer: &KeyIdentifier| trust.authorities().any(|(known, _)| known == issuer);
    for issuer in configured.issuers.listed().filter(|issuer| !known(issuer)) {
        tracing::warn!(%issuer, "`trust.issuers` has a key that neither `bundle` nor `intermediates` has");
    }
}

/// Why a state cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The key that signs for the services behind cannot be used.
    #[error(transparent)]
    Assertion(#[from] AssertionError),
    /// The gateway's own certificate cannot be read.
    #[error("the gateway's certificate {} cannot be read", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: X509Error,
    },
    /// A CRL is not to be believed, or one is missing.
    #[error("the CRL {} is refused", names(paths))]
    Crl {
        /// The files.
        paths: Vec<PathBuf>,
        /// What is wrong.
        source: Box<CrlError>,
    },
    /// A CRL is past its end: nobody knows who has been revoked since.
    #[error("the CRL of issuer {issuer} expired at {}", crate::clock::rfc3339(*next_update))]
    CrlExpired {
        /// Whose it is.
        issuer: KeyIdentifier,
        /// When its successor was due.
        next_update: OffsetDateTime,
    },
    /// What says which CRL was the newest cannot be understood.
    #[error("the record {} of the newest CRL is damaged", path.display())]
    DamagedRecord {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The authorities below the trust anchors are refused.
    #[error("the file of intermediate authorities {} is refused", path.display())]
    Intermediates {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<TrustError>,
    },
    /// A key of the gateway's cannot be opened.
    #[error("the gateway's key {} cannot be opened", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Box<KeyError>,
    },
    /// A key of the gateway's could not be opened in time.
    #[error("the gateway's key {} could not be opened within {waited}", path.display())]
    KeyTimeout {
        /// The file.
        path: PathBuf,
        /// How long was waited.
        waited: String,
        /// Why not, the last time.
        source: Box<KeyError>,
    },
    /// The gateway's own certificate does not fit its cluster.
    #[error("the gateway's own certificate {} is refused", path.display())]
    OwnCertificate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        why: OwnFault,
    },
    /// A newer CRL than one of these has been in force here.
    #[error("a CRL is not the newest that has been in force, as {} says", path.display())]
    Superseded {
        /// What says so.
        path: PathBuf,
        /// By which.
        source: CrlError,
    },
    /// Certificate and key make no TLS configuration.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The trust bundle is refused.
    #[error("the trust bundle {} is refused", path.display())]
    Trust {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TrustError,
    },
}

fn names(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

impl StateError {
    pub(crate) fn key(source: &KeySource, error: KeyError) -> Self {
        Self::Key { path: source.path.clone(), source: Box::new(error) }
    }

    /// Whether the same may well succeed later without anybody changing anything here.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Key { source, .. } if source.is_temporary())
    }
}

impl Coded for StateError {
    fn coded(&self) -> Code {
        match self {
            Self::Assertion(error) => error.coded(),
            Self::Certificate { source, .. } => source.coded(),
            Self::Crl { source, .. } => source.coded(),
            Self::Superseded { source, .. } => source.coded(),
            Self::DamagedRecord { .. } => Code::refused("crl.record_damaged"),
            Self::CrlExpired { .. } => Code::refused("revocation.crl_expired"),
            Self::File(error) => error.coded(),
            Self::Intermediates { source, .. } => source.coded(),
            Self::Key { source, .. } => source.coded(),
            Self::KeyTimeout { source, .. } => source.coded(),
            Self::OwnCertificate { why, .. } => why.coded(),
            Self::Tls(error) => error.coded(),
            Self::Trust { source, .. } => source.coded(),
        }
    }
}
