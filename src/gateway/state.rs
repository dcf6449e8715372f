//! What every judgement rests on: own certificate, trust, revocation, policy, upstreams. Built whole by
//! one function, checked against itself, and never changed: what is new is a new state.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;

use super::config::{Config, Listener, Revocation};
use super::forward::{Deadlines, Upstream};
use super::identify::IdentityForm;
use super::policy::Policy;
use super::server_name::OwnNames;
use super::tls::{self, TlsError};
use super::verify::{ListenerVerifier, PeerVerifier};
use crate::clock::Clock;
use crate::files::{self, CRL_FILE, FileError, SMALL_FILE};
use crate::identity::{Identity, IdentityError, IdentityRefusal, Role, TrustDomain};
use crate::keys::{KeyError, PrivateKey};
use crate::revocation::{CrlError, RevocationSet, Standing};
use crate::x509::trust::{ChainError, Purpose, TrustBundle, TrustError};
use crate::x509::{Certificate, SubjectAltName, X509Error, pem};

/// Everything that a reload replaces.
#[derive(Debug)]
pub struct State {
    /// Counts the states of this process.
    pub generation: u64,
    /// How connections are accepted, for each listener of the configuration in its order.
    pub entries: Vec<Entry>,
    /// Whom to let in.
    pub verifier: Arc<PeerVerifier>,
    /// Who may make which call.
    pub policy: Policy,
    /// A policy that is asked too, and not heeded.
    pub shadow: Option<Policy>,
    /// The services behind, as the policy numbers them.
    pub upstreams: Vec<Arc<Upstream>>,
    /// The last second in which the gateway's own certificate and its issuers hold.
    pub own_not_after: OffsetDateTime,
}

/// How connections are accepted at one listener.
#[derive(Debug)]
pub struct Entry {
    /// What is asked of callers there.
    pub listener: Listener,
    /// The same, for rustls; sessions are never shared between listeners.
    pub tls: Arc<ServerConfig>,
}

impl State {
    /// Loads every file that `config` names, and holds our own certificate to the rules that callers are
    /// held to: what we could not verify, they could not either.
    ///
    /// # Errors
    /// [`StateError`] with the first file or rule that fails.
    pub fn load(
        config: &Config,
        every_upstream: Option<SocketAddr>,
        workers: usize,
        clock: &Arc<dyn Clock>,
        generation: u64,
    ) -> Result<Self, StateError> {
        let at = clock.now();
        let provider = tls::provider();
        let trust = load_trust(&config.trust.bundle, at)?;
        let revocation = match &config.trust.revocation {
            Revocation::Crls(paths) => Some(load_crls(paths, &trust, at)?),
            Revocation::Disabled => {
                tracing::warn!("revocation is disabled: a revoked certificate is as good as any");
                None
            }
        };
        let own = Own::load(config, &provider)?;
        let (trust_domain, own_not_after) = own.check(&trust, revocation.as_ref(), config, at)?;
        let verifier = Arc::new(PeerVerifier::new(
            trust,
            revocation,
            trust_domain,
            config.trust.issuers.clone(),
            &provider,
        ));
        let entries = config.listen.iter().map(|&listener| {
            let verifier = ListenerVerifier { verifier: Arc::clone(&verifier), listener };
            let own = OwnNames::new(Arc::clone(&own.certified), &own.leaf);
            let tls = tls::server_config(provider.clone(), own, verifier, Arc::clone(clock))?;
            Ok(Entry { listener, tls: Arc::new(tls) })
        });
        let entries = entries.collect::<Result<_, TlsError>>()?;
        let upstreams = config.upstreams.iter().map(|upstream| {
            let (host, port) = match every_upstream {
                Some(address) => (address.ip().to_string(), address.port()),
                None => (upstream.host.clone(), upstream.port),
            };
            let deadlines =
                Deadlines { connect: upstream.connect_timeout, response: upstream.response_timeout };
            Arc::new(Upstream::new(&upstream.name, &host, port, deadlines, workers))
        });
        let upstreams = upstreams.collect();
        let policy = config.policy.clone();
        let shadow = config.shadow.as_ref().map(|shadow| shadow.policy.clone());
        Ok(Self { generation, entries, verifier, policy, shadow, upstreams, own_not_after })
    }
}

/// The gateway's own certificate.
struct Own {
    path: PathBuf,
    certified: Arc<CertifiedKey>,
    leaf: Certificate,
}

impl Own {
    fn load(config: &Config, provider: &CryptoProvider) -> Result<Self, StateError> {
        let path = config.identity.certificate.clone();
        let chain = pem::certificates(&files::read(&path, SMALL_FILE)?)
            .map_err(|source| StateError::Certificate { path: path.clone(), source })?;
        let key = PrivateKey::open(&config.identity.key)
            .map_err(|source| StateError::Key { path: config.identity.key.clone(), source })?;
        let der = chain.iter().map(|certificate| certificate.der.clone()).collect();
        let certified = Arc::new(tls::certified_key(provider, der, &key)?);
        match chain.into_iter().next() {
            Some(leaf) => Ok(Self { path, certified, leaf }),
            None => Err(StateError::OwnCertificate { path, why: OwnFault::Empty }),
        }
    }

    /// Holds it to the rules; gives the trust domain, its own where none is configured, and
    /// until when it holds.
    fn check(
        &self,
        trust: &TrustBundle,
        revocation: Option<&RevocationSet>,
        config: &Config,
        at: OffsetDateTime,
    ) -> Result<(TrustDomain, OffsetDateTime), StateError> {
        let refused = |why| StateError::OwnCertificate { path: self.path.clone(), why };
        let (leaf, intermediates) =
            self.certified.cert.split_first().ok_or_else(|| refused(OwnFault::Empty))?;
        let chain = trust
            .verify(leaf, intermediates, Purpose::Server, at)
            .map_err(|source| refused(OwnFault::Chain(source)))?;
        if let Some(revocation) = revocation {
            match revocation.standing(&chain, at) {
                Standing::Good => {}
                Standing::Revoked { .. } => return Err(refused(OwnFault::Revoked)),
                Standing::Expired { next_update, .. } => return Err(StateError::CrlExpired { next_update }),
                Standing::NoCrl { .. } => return Err(refused(OwnFault::RevocationUnknown)),
            }
        }
        let trust_domain = match &config.trust_domain {
            Some(configured) => configured.clone(),
            None => claimed_trust_domain(&chain.leaf).map_err(refused)?,
        };
        let identity = own_identity(&chain.leaf, config, &trust_domain)
            .map_err(|source| refused(OwnFault::Identity(source)))?;
        if identity.role != Role::ControlService {
            return Err(refused(OwnFault::Role(identity.role)));
        }
        Ok((trust_domain, chain.expires))
    }
}

/// Our own identity, in the first form that a listener reads and that our certificate has.
fn own_identity(
    leaf: &Certificate,
    config: &Config,
    trust_domain: &TrustDomain,
) -> Result<Identity, IdentityRefusal> {
    let found = IdentityForm::Spiffe.read(leaf, trust_domain);
    let forms = config.listen.iter().map(|listener| listener.identity_form);
    forms.fold(found, |found, form| {
        found.or_else(|refusal| form.read(leaf, trust_domain).map_err(|_| refusal))
    })
}

/// The trust domain in the one URI of a certificate.
fn claimed_trust_domain(certificate: &Certificate) -> Result<TrustDomain, OwnFault> {
    let uri = certificate.subject_alt_names.iter().find_map(|name| match name {
        SubjectAltName::Uri(uri) => Some(uri),
        _ => None,
    });
    let uri = uri.ok_or(OwnFault::Identity(IdentityRefusal::NoUri))?;
    uri.parse::<Identity>().map(|identity| identity.trust_domain).map_err(OwnFault::SpiffeId)
}

fn load_trust(path: &Path, at: OffsetDateTime) -> Result<TrustBundle, StateError> {
    TrustBundle::from_pem(&files::read(path, SMALL_FILE)?, at)
        .map_err(|source| StateError::Trust { path: path.to_owned(), source })
}

fn load_crls(
    paths: &[PathBuf],
    trust: &TrustBundle,
    at: OffsetDateTime,
) -> Result<RevocationSet, StateError> {
    let mut all = Vec::new();
    for path in paths {
        if !all.is_empty() {
            all.push(b'\n');
        }
        all.append(&mut files::read(path, CRL_FILE)?);
    }
    let set = RevocationSet::from_pem(&all, trust, at)
        .map_err(|source| StateError::Crl { paths: paths.to_vec(), source })?;
    if let Some(expired) = set.crls().find(|crl| crl.is_expired_at(at)) {
        return Err(StateError::CrlExpired { next_update: expired.next_update });
    }
    Ok(set)
}

/// Why a state cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
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
    #[error("a CRL expired at {}", crate::clock::rfc3339(*next_update))]
    CrlExpired {
        /// When its successor was due.
        next_update: OffsetDateTime,
    },
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
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
            Self::Certificate { source, .. } => source.code(),
            Self::Crl { source, .. } => source.code(),
            Self::CrlExpired { .. } => "revocation.crl_expired",
            Self::File(error) => error.code(),
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
