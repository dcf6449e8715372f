//! Server certificate and key of a TLS endpoint, loaded as a pair.
//!
//! The certificate is held to the rules that peers are held to: what this verifier refuses, clients would refuse too.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use super::error::PeerError;
use super::identity_form::IdentityForm;
use super::keys::LoadedKey;
use super::listener::Listener;
use super::server_certificate_error::{ServerCertificateError, ServerCertificateFault};
use super::tls::{certified_key, signing_key};
use super::verifier::PeerVerifier;
use crate::files::{self, SMALL_FILE};
use crate::identity::{Identity, IdentityRefusal, Role, TrustDomain};
use crate::keys::Protection;
use crate::x509::trust::Purpose;
use crate::x509::{Certificate, KeyIdentifier, Sha256, SubjectAltName, pem};

/// Own certificate chain and its key.
#[derive(Clone, Debug)]
pub struct ServerCertificate {
    path: PathBuf,
    /// Certificate chain, the leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Parsed leaf.
    pub leaf: Arc<Certificate>,
    /// Private key; `None` in a state that is never served.
    pub key: Option<ServerKey>,
}

/// Private key of the server certificate.
#[derive(Clone, Debug)]
pub struct ServerKey {
    /// Chain and key, ready for rustls.
    pub certified: Arc<CertifiedKey>,
    /// SHA-256 of the files that the key was opened from.
    pub fingerprint: Sha256,
    /// Protection of the key at rest.
    pub protection: Protection,
}

impl ServerCertificate {
    /// Load the certificate at `path` and pair it with `key`. While the key is pending, all of `previous` stays.
    ///
    /// # Errors
    /// [`ServerCertificateError`] if the file cannot be read, or the key does not belong to the certificate.
    pub fn load(
        path: &Path,
        key: LoadedKey,
        previous: Option<&Self>,
    ) -> Result<Self, ServerCertificateError> {
        let before = previous.and_then(|previous| previous.key.as_ref());
        let (signing, fingerprint, protection) = match (key, previous, before) {
            (LoadedKey::Opened { key, fingerprint, protection }, ..) => {
                (signing_key(&key)?, fingerprint, protection)
            }
            (LoadedKey::Unchanged, _, Some(ServerKey { certified, fingerprint, protection })) => {
                (Arc::clone(&certified.key), *fingerprint, protection.clone())
            }
            (LoadedKey::Unchanged | LoadedKey::Pending, Some(previous), _) => return Ok(previous.clone()),
            (LoadedKey::Unchanged | LoadedKey::Pending, None, _) => return Self::without_key(path),
        };
        let own = Self::without_key(path)?;
        let certified = Arc::new(certified_key(own.chain.clone(), signing)?);
        Ok(Self { key: Some(ServerKey { certified, fingerprint, protection }), ..own })
    }

    fn without_key(path: &Path) -> Result<Self, ServerCertificateError> {
        let path = path.to_owned();
        let chain = pem::certificates(&files::read(&path, SMALL_FILE)?)
            .map_err(|source| ServerCertificateError::Unreadable { path: path.clone(), source })?;
        let der = chain.iter().map(|certificate| certificate.der.clone()).collect();
        match chain.into_iter().next() {
            Some(leaf) => Ok(Self { path, chain: der, leaf: Arc::new(leaf), key: None }),
            None => Err(ServerCertificateError::Refused { path, why: ServerCertificateFault::Empty }),
        }
    }

    /// Check the certificate by the rules for peers, and return the key identifier of its trust anchor.
    ///
    /// # Errors
    /// [`ServerCertificateError`] with the first rule that it violates.
    pub fn check(
        &self,
        verifier: &PeerVerifier,
        listeners: &[Listener],
        at: OffsetDateTime,
    ) -> Result<KeyIdentifier, ServerCertificateError> {
        let (leaf, extra_certs) =
            self.chain.split_first().ok_or_else(|| self.refused(ServerCertificateFault::Empty))?;
        let chain = match verifier.chains().verify(leaf, extra_certs, Purpose::Server, at) {
            Ok(chain) => chain,
            Err(PeerError::Chain(source)) => return Err(self.refused(ServerCertificateFault::Chain(source))),
            Err(PeerError::CrlExpired { issuer, next_update }) => {
                return Err(ServerCertificateError::CrlExpired { issuer, next_update });
            }
            Err(PeerError::Revoked { .. }) => return Err(self.refused(ServerCertificateFault::Revoked)),
            Err(_) => return Err(self.refused(ServerCertificateFault::RevocationUnknown)),
        };
        let identity = self
            .identity(&chain.leaf, listeners, verifier.trust_domain())
            .map_err(|source| self.refused(ServerCertificateFault::Identity(source)))?;
        match identity.role {
            Role::GATEWAY => Ok(chain.anchor),
            role => Err(self.refused(ServerCertificateFault::Role(role))),
        }
    }

    /// The identity in the first form that the leaf has: SPIFFE, or one that a listener reads.
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

    /// Trust domain of the SPIFFE ID in the leaf, not verified.
    ///
    /// # Errors
    /// [`ServerCertificateError::Refused`] if the leaf has no SPIFFE ID of a cluster.
    pub fn claimed_trust_domain(&self) -> Result<TrustDomain, ServerCertificateError> {
        let uri = self.leaf.subject_alt_names.iter().find_map(|name| match name {
            SubjectAltName::Uri(uri) => Some(uri),
            _ => None,
        });
        let no_uri = || self.refused(ServerCertificateFault::Identity(IdentityRefusal::NoUri));
        let identity = uri
            .ok_or_else(no_uri)?
            .parse::<Identity>()
            .map_err(|error| self.refused(ServerCertificateFault::SpiffeId(error)))?;
        Ok(identity.trust_domain)
    }

    fn refused(&self, why: ServerCertificateFault) -> ServerCertificateError {
        ServerCertificateError::Refused { path: self.path.clone(), why }
    }
}
