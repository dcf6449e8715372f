//! What every judgement rests on: own certificate, trust, revocation, policy, upstreams. Built whole by
//! one function, checked against itself, and never changed: what is new is a new state.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;

use super::assertion::{AssertionError, Assertions};
use super::config::{self, Config, IdentityFiles, Listener, Resumption, Revocation, Trust};
use super::forward::{Deadlines, Upstream};
use super::identify::IdentityForm;
use super::policy::{Caller, Policy};
use super::pushed::PushedCrls;
use super::resumption::{Resumable, Sessions};
use super::server_name::OwnNames;
use super::tls::{self, TlsError};
use super::verify::{Crls, ListenerVerifier, PeerError, PeerVerifier};
use crate::clock::Clock;
use crate::files::{self, CRL_FILE, FileError, SMALL_FILE};
use crate::identity::{Identity, IdentityError, IdentityRefusal, Role, TrustDomain};
use crate::keys::{KeyError, PrivateKey};
use crate::revocation::{Crl, CrlError, RevocationSet};
use crate::x509::trust::{ChainError, Purpose, TrustBundle, TrustError};
use crate::x509::{Certificate, KeyIdentifier, SubjectAltName, X509Error, pem};

/// Everything that a reload replaces.
#[derive(Debug)]
pub struct State {
    /// Counts the states of this process, from 1.
    pub generation: u64,
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
    /// Where pushed CRLs are kept.
    pub pushed: Option<PushedCrls>,
    /// The files that it was loaded from.
    pub files: Vec<PathBuf>,
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

/// Builds states: what is the same for all states of a process.
#[derive(Debug)]
pub struct Loader {
    clock: Arc<dyn Clock>,
    every_upstream: Option<SocketAddr>,
    workers: usize,
    sessions: Arc<Sessions>,
}

impl Loader {
    /// For a gateway of `workers` workers; `every_upstream` stands in for every configured upstream.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, every_upstream: Option<SocketAddr>, workers: usize) -> Self {
        Self { clock, every_upstream, workers, sessions: Arc::default() }
    }

    /// The first state: everything that `config` names is loaded, and our own certificate held to the
    /// rules that callers are held to, since what we could not verify, they could not either.
    ///
    /// # Errors
    /// [`StateError`] with the first file or rule that fails.
    pub fn first(&self, config: &Config) -> Result<State, StateError> {
        self.load(config, None)
    }

    /// The state after `previous`, loaded in the same way. No CRL of it is older than the one in force.
    ///
    /// # Errors
    /// [`StateError`]; then `previous` should stay in force.
    pub fn next(&self, config: &Config, previous: &State) -> Result<State, StateError> {
        self.load(config, Some(previous))
    }

    /// `previous` with other CRLs.
    ///
    /// # Errors
    /// [`StateError`] when our own certificate does not hold under them.
    pub fn with_revocation(&self, previous: &State, crls: Crls) -> Result<State, StateError> {
        self.build(
            Some(previous),
            Parts {
                listeners: previous.entries.iter().map(|entry| entry.listener).collect(),
                verifier: previous.verifier.with_revocation(crls),
                policy: Arc::clone(&previous.policy),
                shadow: previous.shadow.clone(),
                upstreams: previous.upstreams.clone(),
                operators: previous.operators.clone(),
                assertions: previous.assertions.clone(),
                own: previous.own.clone(),
                pushed: previous.pushed.clone(),
                files: previous.files.clone(),
                resumption: previous.resumption,
            },
        )
    }

    fn load(&self, config: &Config, previous: Option<&State>) -> Result<State, StateError> {
        let at = self.clock.now();
        let trust = load_trust(&config.trust, at)?;
        let pushed = config.state_directory.as_deref().map(PushedCrls::in_directory);
        let crls = match &config.trust.revocation {
            Revocation::Crls { paths, grace, .. } => {
                let kept = pushed.as_ref().map(|pushed| pushed.load(&trust, at)).transpose()?;
                let mut set = load_crls(paths, kept.unwrap_or_default(), &trust, at)?;
                if let Some(current) = previous.and_then(|previous| previous.verifier.revocation()) {
                    let refused = |source| StateError::Crl { paths: paths.clone(), source };
                    set = current.set.succeeded_by(set).map_err(refused)?;
                }
                Some(Crls { set, grace: time::Duration::try_from(*grace).unwrap_or(time::Duration::MAX) })
            }
            Revocation::Disabled => {
                tracing::warn!("revocation is disabled: a revoked certificate is as good as any");
                None
            }
        };
        let own = OwnCertificate::load(&config.identity)?;
        let trust_domain = match &config.trust_domain {
            Some(configured) => configured.clone(),
            None => own.claimed_trust_domain()?,
        };
        let assertions = config.assertion.as_ref().map(|assertion| {
            let previous = previous.and_then(|previous| previous.assertions.as_deref());
            Assertions::load(assertion, &trust_domain, previous, at).map(Arc::new)
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
                assertions: assertions.transpose()?,
                own,
                pushed,
                files: config.files(),
                resumption: config.resumption,
            },
        )
    }

    /// What every state goes through, whatever it was made from.
    fn build(&self, previous: Option<&State>, parts: Parts) -> Result<State, StateError> {
        let at = self.clock.now();
        parts.check_crls(previous, at)?;
        match parts.own.check(&parts.verifier, &parts.listeners, at) {
            // Or else whoever has stolen our certificate could keep out the CRL that ends it.
            Err(error)
                if previous.is_some_and(|previous| parts.has_the_certificate_and_trust_of(previous)) =>
            {
                tracing::error!(code = error.code(), "{}", super::with_causes(&error));
            }
            checked => checked?,
        }
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
            let own = OwnNames::new(Arc::clone(&parts.own.certified), &parts.own.leaf);
            let tls = tls::server_config(own, accepts, Arc::clone(&self.clock), resumable)?;
            Ok(Entry { listener, tls: Arc::new(tls) })
        };
        let entries =
            parts.listeners.iter().map(|listener| entry(*listener)).collect::<Result<_, TlsError>>()?;
        Ok(State {
            generation: previous.map_or(1, |previous| previous.generation + 1),
            entries,
            verifier,
            policy: parts.policy,
            shadow: parts.shadow,
            upstreams: parts.upstreams,
            operators: parts.operators,
            assertions: parts.assertions,
            own: parts.own,
            pushed: parts.pushed,
            files: parts.files,
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
    resumption: Resumption,
}

impl Parts {
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

    fn has_the_certificate_and_trust_of(&self, state: &State) -> bool {
        self.own.certified.cert == state.own.certified.cert
            && self.verifier.trust().fingerprint() == state.verifier.trust().fingerprint()
    }
}

/// The gateway's own certificate.
#[derive(Clone, Debug)]
pub struct OwnCertificate {
    path: PathBuf,
    certified: Arc<CertifiedKey>,
    /// The certificate itself.
    pub leaf: Arc<Certificate>,
}

impl OwnCertificate {
    fn load(files: &IdentityFiles) -> Result<Self, StateError> {
        let path = files.certificate.clone();
        let chain = pem::certificates(&files::read(&path, SMALL_FILE)?)
            .map_err(|source| StateError::Certificate { path: path.clone(), source })?;
        let key = PrivateKey::open(&files.key)
            .map_err(|source| StateError::Key { path: files.key.clone(), source })?;
        let der = chain.iter().map(|certificate| certificate.der.clone()).collect();
        let certified = Arc::new(tls::certified_key(der, &key)?);
        match chain.into_iter().next() {
            Some(leaf) => Ok(Self { path, certified, leaf: Arc::new(leaf) }),
            None => Err(StateError::OwnCertificate { path, why: OwnFault::Empty }),
        }
    }

    /// Holds it to the rules.
    fn check(
        &self,
        verifier: &PeerVerifier,
        listeners: &[Listener],
        at: OffsetDateTime,
    ) -> Result<(), StateError> {
        let (leaf, intermediates) =
            self.certified.cert.split_first().ok_or_else(|| self.refused(OwnFault::Empty))?;
        let chain = verifier
            .trust()
            .verify(leaf, intermediates, Purpose::Server, at)
            .map_err(|source| self.refused(OwnFault::Chain(source)))?;
        match verifier.check_revocation(&chain, at) {
            Ok(()) => {}
            Err(PeerError::CrlExpired { issuer, next_update }) => {
                return Err(StateError::CrlExpired { issuer, next_update });
            }
            Err(PeerError::Revoked { .. }) => return Err(self.refused(OwnFault::Revoked)),
            Err(_) => return Err(self.refused(OwnFault::RevocationUnknown)),
        }
        let identity = self
            .identity(&chain.leaf, listeners, verifier.trust_domain())
            .map_err(|source| self.refused(OwnFault::Identity(source)))?;
        match identity.role {
            Role::ControlService => Ok(()),
            role => Err(self.refused(OwnFault::Role(role))),
        }
    }

    /// Whose it is, in the first form that a listener reads and that it has.
    fn identity(
        &self,
        leaf: &Certificate,
        listeners: &[Listener],
        trust_domain: &TrustDomain,
    ) -> Result<Identity, IdentityRefusal> {
        let found = IdentityForm::Spiffe.read(leaf, trust_domain);
        let forms = listeners.iter().map(|listener| listener.identity_form);
        forms.fold(found, |found, form| {
            found.or_else(|refusal| form.read(leaf, trust_domain).map_err(|_| refusal))
        })
    }

    /// The trust domain in its one URI.
    fn claimed_trust_domain(&self) -> Result<TrustDomain, StateError> {
        let uri = self.leaf.subject_alt_names.iter().find_map(|name| match name {
            SubjectAltName::Uri(uri) => Some(uri),
            _ => None,
        });
        let uri = uri.ok_or_else(|| self.refused(OwnFault::Identity(IdentityRefusal::NoUri)))?;
        let identity = uri.parse::<Identity>().map_err(|error| self.refused(OwnFault::SpiffeId(error)))?;
        Ok(identity.trust_domain)
    }

    fn refused(&self, why: OwnFault) -> StateError {
        StateError::OwnCertificate { path: self.path.clone(), why }
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

/// The newest of each issuer, from the files at `paths` and of those `pushed`.
fn load_crls(
    paths: &[PathBuf],
    pushed: Vec<Crl>,
    trust: &TrustBundle,
    at: OffsetDateTime,
) -> Result<RevocationSet, StateError> {
    let refused = |source| StateError::Crl { paths: paths.to_vec(), source };
    let mut crls = pushed;
    for path in paths {
        crls.extend(Crl::read_all(&files::read(path, CRL_FILE)?, trust, at).map_err(refused)?);
    }
    RevocationSet::newest_of(crls, trust).map_err(refused)
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
        source: CrlError,
    },
    /// A CRL is past its end: nobody knows who has been revoked since.
    #[error("the CRL of issuer {issuer} expired at {}", crate::clock::rfc3339(*next_update))]
    CrlExpired {
        /// Whose it is.
        issuer: KeyIdentifier,
        /// When its successor was due.
        next_update: OffsetDateTime,
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
    /// The gateway's own key cannot be opened.
    #[error("the gateway's key {} cannot be opened", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: KeyError,
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
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Assertion(error) => error.code(),
            Self::Certificate { source, .. } => source.code(),
            Self::Crl { source, .. } => source.code(),
            Self::CrlExpired { .. } => "revocation.crl_expired",
            Self::File(error) => error.code(),
            Self::Intermediates { source, .. } => source.code(),
            Self::Key { source, .. } => source.code(),
            Self::OwnCertificate { why, .. } => why.code(),
            Self::Tls(error) => error.code(),
            Self::Trust { source, .. } => source.code(),
        }
    }
}

/// What is wrong with the gateway's own certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnFault {
    /// It does not chain to the trust bundle as a server's.
    #[error(transparent)]
    Chain(ChainError),
    /// The file has none.
    #[error("there is no certificate")]
    Empty,
    /// It has no identity in the cluster.
    #[error(transparent)]
    Identity(IdentityRefusal),
    /// No CRL says whether it is revoked.
    #[error("there is no CRL of its issuer")]
    RevocationUnknown,
    /// It has been revoked.
    #[error("it has been revoked")]
    Revoked,
    /// It is not a control service's.
    #[error("it is a certificate for the role {0}, and a gateway needs one for control-service")]
    Role(Role),
    /// Its URI is no identity.
    #[error(transparent)]
    SpiffeId(IdentityError),
}

impl OwnFault {
    /// The stable code of this fault.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Chain(error) => error.code(),
            Self::Empty => "own_certificate.empty",
            Self::Identity(error) => error.code(),
            Self::RevocationUnknown => "own_certificate.revocation_unknown",
            Self::Revoked => "own_certificate.revoked",
            Self::Role(_) => "own_certificate.role",
            Self::SpiffeId(error) => error.code(),
        }
    }
}
