//! The gateway's own certificate and key: loaded as a pair, and held to the rules that callers are held
//! to, since what we could not verify, they could not either.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::error::{Code, Coded};
use crate::files::{self, SMALL_FILE};
use crate::gateway::config::{IdentityFiles, Listener};
use crate::gateway::mtls::identity_form::IdentityForm;
use crate::gateway::mtls::keys::opener::Found;
use crate::gateway::mtls::server_config;
use crate::gateway::mtls::verifier::{PeerError, PeerVerifier};
use crate::gateway::state::loader::StateError;
use crate::identity::{Identity, IdentityError, IdentityRefusal, Role, TrustDomain};
use crate::keys::Protection;
use crate::x509::trust::{ChainError, Purpose};
use crate::x509::{Certificate, KeyIdentifier, Sha256, SubjectAltName, pem};

/// The gateway's own certificate.
#[derive(Clone, Debug)]
pub struct OwnCertificate {
    path: PathBuf,
    /// It and its issuers.
    pub chain: Vec<CertificateDer<'static>>,
    /// The certificate itself.
    pub leaf: Arc<Certificate>,
    /// Its key; `None` where nobody is to be shown it.
    pub key: Option<OwnKey>,
}

/// The key of our certificate.
#[derive(Clone, Debug)]
pub struct OwnKey {
    /// The certificate with it.
    pub certified: Arc<CertifiedKey>,
    /// What its files had in them.
    pub fingerprint: Sha256,
    /// What protects it on the disk.
    pub protection: Protection,
}

impl OwnCertificate {
    /// Reads the certificate and puts the key to it that was `found`; `previous` stays, both of it, while
    /// there is none.
    pub(crate) fn load(
        files: &IdentityFiles,
        found: Found,
        previous: Option<&Self>,
    ) -> Result<Self, StateError> {
        let before = previous.and_then(|previous| previous.key.as_ref());
        let (signing, fingerprint, protection) = match (found, previous, before) {
            (Found::Opened { key, fingerprint, protection }, ..) => {
                (server_config::signing_key(&key)?, fingerprint, protection)
            }
            (Found::InForce, _, Some(OwnKey { certified, fingerprint, protection })) => {
                (Arc::clone(&certified.key), *fingerprint, protection.clone())
            }
            (Found::InForce | Found::Missing, Some(previous), _) => return Ok(previous.clone()),
            (Found::InForce | Found::Missing, None, _) => return Self::without_key(files),
        };
        let own = Self::without_key(files)?;
        let certified = Arc::new(server_config::certified_key(own.chain.clone(), signing)?);
        Ok(Self { key: Some(OwnKey { certified, fingerprint, protection }), ..own })
    }

    /// Reads the certificate alone.
    fn without_key(files: &IdentityFiles) -> Result<Self, StateError> {
        let path = files.certificate.clone();
        let chain = pem::certificates(&files::read(&path, SMALL_FILE)?)
            .map_err(|source| StateError::Certificate { path: path.clone(), source })?;
        let der = chain.iter().map(|certificate| certificate.der.clone()).collect();
        match chain.into_iter().next() {
            Some(leaf) => Ok(Self { path, chain: der, leaf: Arc::new(leaf), key: None }),
            None => Err(StateError::OwnCertificate { path, why: OwnFault::Empty }),
        }
    }

    /// Holds it to the rules, and says which trust anchor it chains to.
    pub(crate) fn check(
        &self,
        verifier: &PeerVerifier,
        listeners: &[Listener],
        at: OffsetDateTime,
    ) -> Result<KeyIdentifier, StateError> {
        let (leaf, intermediates) = self.chain.split_first().ok_or_else(|| self.refused(OwnFault::Empty))?;
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
            Role::GATEWAY => Ok(chain.anchor),
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
    pub(crate) fn claimed_trust_domain(&self) -> Result<TrustDomain, StateError> {
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

impl Coded for OwnFault {
    fn coded(&self) -> Code {
        match self {
            Self::Chain(error) => error.coded(),
            Self::Empty => Code::refused("own_certificate.empty"),
            Self::Identity(error) => error.coded(),
            Self::RevocationUnknown => Code::refused("own_certificate.revocation_unknown"),
            Self::Revoked => Code::refused("own_certificate.revoked"),
            Self::Role(_) => Code::refused("own_certificate.role"),
            Self::SpiffeId(error) => error.coded(),
        }
    }
}
