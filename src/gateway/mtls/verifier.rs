//! Judging a caller's certificate: chain, revocation, identity, in this order.
//!
//! A chain that has been verified is remembered, so that a caller who comes back with the same certificates
//! costs no signature check of ours; its validity and revocation are looked at every time. The proof that
//! the caller holds the key is TLS's, made anew in every full handshake and never remembered.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use serde::Serialize;
use time::OffsetDateTime;

use crate::clock::rfc3339;
use crate::error::{Code, Coded};
use crate::gateway::config::{ClientCertificate, Listener};
use crate::gateway::message::headers::IdentityHeaders;
use crate::gateway::mtls::identity_form::{IdentityForm, IssuerRoles};
use crate::gateway::mtls::peer::Peer;
use crate::gateway::sessions::registry::CutReason;
use crate::identity::{Identity, IdentityRefusal, Role, TrustDomain};
use crate::revocation::{Crl, RevocationSet, RevocationStatus};
use crate::x509::trust::{ChainError, Purpose, TrustBundle, VerifiedChain};
use crate::x509::{Certificate, KeyIdentifier, SerialNumber, Sha256};

/// How many verified chains are remembered.
const REMEMBERED: usize = 16_384;

/// Whom the gateway lets in.
#[derive(Debug)]
pub struct PeerVerifier {
    trust: TrustBundle,
    /// `None` where the configuration says so in words.
    revocation: Option<Crls>,
    trust_domain: TrustDomain,
    issuers: IssuerRoles,
    /// Whether there is one root; where others are only left out, there are several.
    only_root: bool,
    /// By the leaf. What came with it counts too: nobody gets in, or is refused, by what others sent.
    known: Mutex<HashMap<Sha256, Known>>,
    algorithms: WebPkiSupportedAlgorithms,
    root_subjects: Vec<DistinguishedName>,
}

impl PeerVerifier {
    /// Lets in whoever chains to `trust`, is not in `revocation`, belongs to `trust_domain` and has a role
    /// for which `issuers` lets its issuer vouch.
    #[must_use]
    pub fn new(
        trust: TrustBundle,
        revocation: Option<Crls>,
        trust_domain: TrustDomain,
        issuers: IssuerRoles,
    ) -> Self {
        let root_subjects = trust
            .anchors()
            .iter()
            .map(|anchor| DistinguishedName::from(anchor.certificate.subject.der.clone()));
        Self {
            root_subjects: root_subjects.collect(),
            only_root: trust.anchors().len() == 1,
            trust,
            revocation,
            trust_domain,
            issuers,
            known: Mutex::default(),
            algorithms: crate::gateway::mtls::server_config::provider().signature_verification_algorithms,
        }
    }

    /// Judges the certificate that a caller presents, or presented when its session began; its identity is
    /// read in `form`.
    ///
    /// # Errors
    /// [`PeerError`] with the first rule that it breaks.
    pub fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        form: IdentityForm,
        at: OffsetDateTime,
    ) -> Result<Arc<Peer>, PeerError> {
        let (fingerprint, beside) = (Sha256::of(leaf), digest_of_all(intermediates));
        if let Some(peer) = self.known(&fingerprint, &beside, at).filter(|peer| peer.form == form) {
            return self.check_revocation(&peer.chain, at).map(|()| peer);
        }
        let chain = self.trust.verify(leaf, intermediates, Purpose::Client, at).map_err(PeerError::Chain)?;
        self.check_revocation(&chain, at)?;
        let identity = self.identify(&chain, form)?;
        let headers = IdentityHeaders::new(&identity, &chain.leaf)
            .and_then(|headers| headers.with_chain(&chain.intermediates))
            .map_err(|_| PeerError::Unspeakable)?;
        let peer = Arc::new(Peer {
            form,
            headers,
            serial_number: chain.leaf.serial_number,
            expires: chain.expires,
            identity,
            chain,
        });
        self.remember(fingerprint, Known { beside, peer: Arc::clone(&peer) });
        Ok(peer)
    }

    /// Whether a caller that was let in, perhaps under an earlier state, still may be here. A CRL that
    /// has expired since is no reason to go: it keeps new callers out.
    ///
    /// # Errors
    /// Why not.
    pub fn recheck(&self, peer: &Peer, at: OffsetDateTime) -> Result<(), CutReason> {
        let same = |identity| identity == peer.identity;
        if !self.trust.still_trusts(&peer.chain) || !self.identify(&peer.chain, peer.form).is_ok_and(same) {
            return Err(CutReason::TrustChanged);
        }
        if !peer.is_valid_at(at) {
            return Err(CutReason::CertificateExpired);
        }
        match self.check_revocation(&peer.chain, at) {
            Ok(()) | Err(PeerError::CrlExpired { .. }) => Ok(()),
            // The authority above it, whose CRL there was, is not known any more.
            Err(PeerError::NoCrl { .. }) => Err(CutReason::TrustChanged),
            Err(_) => Err(CutReason::CertificateRevoked),
        }
    }

    /// The cluster whose callers are let in.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The roots that are trusted.
    #[must_use]
    pub const fn trust(&self) -> &TrustBundle {
        &self.trust
    }

    /// What is revoked; `None` where the configuration says so in words.
    #[must_use]
    pub const fn revocation(&self) -> Option<&Crls> {
        self.revocation.as_ref()
    }

    /// The same with other trust anchors and CRLs.
    #[must_use]
    pub fn with(&self, trust: TrustBundle, revocation: Option<Crls>) -> Self {
        let next = Self::new(trust, revocation, self.trust_domain.clone(), self.issuers.clone());
        Self { only_root: self.only_root, ..next }
    }

    /// The roots, and the authorities that are known below them.
    pub fn authorities(&self) -> impl Iterator<Item = Authority<'_>> {
        self.trust.authorities().map(|(key_identifier, certificate)| Authority {
            certificate,
            key_identifier,
            revoked: self.is_set_aside(key_identifier),
        })
    }

    fn is_set_aside(&self, issuer: &KeyIdentifier) -> bool {
        self.revocation.as_ref().is_some_and(|crls| crls.set.is_issuer_revoked(issuer))
    }

    /// The CRLs in force.
    pub fn crls(&self) -> impl Iterator<Item = &Crl> {
        self.revocation.iter().flat_map(|crls| crls.set.crls())
    }

    /// Whose the leaf of `chain` is, and whether its issuers may say so.
    fn identify(&self, chain: &VerifiedChain, form: IdentityForm) -> Result<Identity, PeerError> {
        let identity = form.read(&chain.leaf, &self.trust_domain).map_err(PeerError::Identity)?;
        let role = identity.role;
        self.issuers
            .check(chain, role, self.only_root)
            .map_err(|issuer| PeerError::IssuerRole { issuer, role })?;
        Ok(identity)
    }

    /// Whether every certificate of `chain` is known not to be revoked.
    ///
    /// # Errors
    /// [`PeerError`] when one is, or nobody knows.
    pub fn check_revocation(&self, chain: &VerifiedChain, at: OffsetDateTime) -> Result<(), PeerError> {
        let Some(crls) = &self.revocation else { return Ok(()) };
        match crls.set.status_of(chain, at) {
            RevocationStatus::Good => Ok(()),
            RevocationStatus::Expired { next_update, .. } if !crls.is_stale(next_update, at) => Ok(()),
            RevocationStatus::Expired { issuer, next_update } => {
                Err(PeerError::CrlExpired { issuer, next_update })
            }
            RevocationStatus::NoCrl { issuer } => Err(PeerError::NoCrl { issuer }),
            RevocationStatus::Revoked { link } => {
                Err(PeerError::Revoked { serial_number: link.serial_number })
            }
        }
    }

    /// The caller whose leaf was verified before, with what came `beside` it then, if all of its chain
    /// still holds at `at`.
    fn known(&self, fingerprint: &Sha256, beside: &Sha256, at: OffsetDateTime) -> Option<Arc<Peer>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(fingerprint).filter(|known| known.beside == *beside)?;
        known.peer.is_valid_at(at).then(|| Arc::clone(&known.peer))
    }

    fn remember(&self, fingerprint: Sha256, verified: Known) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Only verified certificates get here, each once: a stranger cannot push the others out.
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(fingerprint, verified);
    }
}

/// A caller that was let in.
#[derive(Debug)]
struct Known {
    /// [`digest_of_all`] that it sent beside its leaf.
    beside: Sha256,
    peer: Arc<Peer>,
}

/// A digest of these certificates, in this order.
fn digest_of_all(certificates: &[CertificateDer<'_>]) -> Sha256 {
    let digests: Vec<_> = certificates.iter().map(|certificate| Sha256::of(certificate).0).collect();
    Sha256::of(digests.as_flattened())
}

/// An authority that issues, as far as it is known here.
#[derive(Clone, Copy, Debug)]
pub struct Authority<'a> {
    /// Its certificate.
    pub certificate: &'a Certificate,
    /// The identifier of its key.
    pub key_identifier: &'a KeyIdentifier,
    /// Whether the authorities above it have revoked all certificates of its key.
    pub revoked: bool,
}

/// The CRLs in force, and how long they are relied on.
#[derive(Clone, Debug)]
pub struct Crls {
    /// One for each issuer.
    pub set: RevocationSet,
    /// How long after its end each is still relied on.
    pub grace: time::Duration,
}

/// How a CRL stands with the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CrlStanding {
    /// Its successor is not due yet.
    Current,
    /// Its successor is overdue, and it is still relied on.
    Grace,
    /// It is relied on no more: its issuer's callers are refused.
    Expired,
}

impl Crls {
    /// How `crl`, which is one of them, stands with the time `at`.
    #[must_use]
    pub fn standing(&self, crl: &Crl, at: OffsetDateTime) -> CrlStanding {
        if self.is_stale(crl.next_update, at) {
            CrlStanding::Expired
        } else if crl.is_expired_at(at) {
            CrlStanding::Grace
        } else {
            CrlStanding::Current
        }
    }

    /// Whether a CRL that was to be replaced by `next_update` is relied on no more at `at`.
    #[must_use]
    pub fn is_stale(&self, next_update: OffsetDateTime, at: OffsetDateTime) -> bool {
        next_update.saturating_add(self.grace) <= at
    }
}

/// What a caller presented in its handshake, and what we made of it.
#[derive(Debug)]
pub struct Presented {
    /// The leaf, byte for byte as it came.
    pub leaf: CertificateDer<'static>,
    /// The verdict.
    pub verdict: Result<Arc<Peer>, PeerError>,
}

/// A proof that a caller holds the key of its certificate: made in a full handshake, and stored with
/// the sessions that follow from it.
#[derive(Debug)]
pub struct Proof {
    /// The certificates that it was verified by, the leaf first; what else it sent is nobody's business.
    pub chain: Vec<CertificateDer<'static>>,
    /// When.
    pub at: OffsetDateTime,
    /// The [`TrustBundle::fingerprint`] that it was verified under.
    pub anchors: Sha256,
}

impl Proof {
    /// What the handshake that is being polled rests on.
    pub fn of_this_handshake(proof: Arc<Self>) {
        let _ = PROOF.try_with(|made| made.replace(Some(proof)));
    }

    /// What the handshake that is being polled rests on, if anything does so far.
    #[must_use]
    pub fn made() -> Option<Arc<Self>> {
        PROOF.try_with(|made| made.borrow().clone()).ok().flatten()
    }
}

tokio::task_local! {
    /// What the sessions of the handshake that is being polled will rest on; see `PRESENTED`.
    static PROOF: RefCell<Option<Arc<Proof>>>;

    /// Whether the hello of the handshake that is being polled was understood.
    static BEGUN: Cell<bool>;

    /// Where the verifier of the handshake that is being polled leaves what it saw. rustls calls the
    /// verifier from within the poll of its connection's future and tells it nothing about the
    /// connection, and forgets a certificate that was refused.
    static PRESENTED: RefCell<Option<Presented>>;
}

/// What was seen of a handshake, however it ended.
#[derive(Debug)]
pub struct Observed {
    /// What the caller presented.
    pub presented: Option<Presented>,
    /// Whether its hello was understood: from then on, a handshake costs signatures.
    pub begun: bool,
}

/// Runs a handshake, and gives what was seen of it beside its result.
pub async fn observing<T>(handshake: impl Future<Output = T>) -> (T, Observed) {
    let observed = async {
        let result = handshake.await;
        (result, Observed { presented: PRESENTED.with(RefCell::take), begun: BEGUN.with(Cell::get) })
    };
    let observed = PRESENTED.scope(RefCell::default(), BEGUN.scope(Cell::new(false), observed));
    PROOF.scope(RefCell::default(), observed).await
}

/// Notes that the hello of the handshake that is being polled was understood.
pub fn hello_understood() {
    let _ = BEGUN.try_with(|begun| begun.set(true));
}

/// The verifier as rustls asks for it, with what one listener wants.
#[derive(Debug)]
pub struct ListenerVerifier {
    /// Whom the gateway lets in.
    pub verifier: Arc<PeerVerifier>,
    /// Where.
    pub listener: Listener,
}

impl ClientCertVerifier for ListenerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.listener.client_certificate == ClientCertificate::Required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.verifier.root_subjects
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let at = i64::try_from(now.as_secs())
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .ok_or(rustls::Error::FailedToGetCurrentTime)?;
        let verdict = self.verifier.judge(end_entity, intermediates, self.listener.identity_form, at);
        let result = match &verdict {
            Ok(peer) => {
                // Sessions are stored when the handshake has ended, and then the key has been proved too.
                let chain = std::iter::once(&peer.chain.leaf).chain(&peer.chain.intermediates);
                Proof::of_this_handshake(Arc::new(Proof {
                    chain: chain.map(|certificate| certificate.der.clone()).collect(),
                    at,
                    anchors: self.verifier.trust.fingerprint(),
                }));
                Ok(ClientCertVerified::assertion())
            }
            Err(error) => Err(error.to_rustls().into()),
        };
        // A handshake outside of `observing` has nobody to ask what was presented.
        let _ = PRESENTED.try_with(|presented| {
            presented.replace(Some(Presented { leaf: end_entity.clone().into_owned(), verdict }));
        });
        result
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.verifier.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.verifier.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.algorithms.supported_schemes()
    }
}

/// Why a caller is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// Its certificate does not chain to the trust bundle.
    #[error(transparent)]
    Chain(ChainError),
    /// The CRL that would tell is past its end.
    #[error("the CRL of issuer {issuer} expired at {}", rfc3339(*next_update))]
    CrlExpired {
        /// Whose CRL.
        issuer: KeyIdentifier,
        /// When its successor was due.
        next_update: OffsetDateTime,
    },
    /// Its certificate has no identity in this cluster.
    #[error(transparent)]
    Identity(IdentityRefusal),
    /// An authority above it may not vouch for its role.
    #[error("issuer {issuer} may not vouch for the role {role}")]
    IssuerRole {
        /// Which authority.
        issuer: KeyIdentifier,
        /// The role.
        role: Role,
    },
    /// It presented none.
    #[error("no certificate was presented")]
    Missing,
    /// There is no CRL that would tell.
    #[error(
        "there is no CRL of issuer {issuer}: `trust.crl` must have it, and `trust.intermediates` the issuer's certificate"
    )]
    NoCrl {
        /// Whose.
        issuer: KeyIdentifier,
    },
    /// Its certificate, or an issuer's, has been revoked.
    #[error("the certificate {serial_number} has been revoked")]
    Revoked {
        /// Which.
        serial_number: SerialNumber,
    },
    /// Its certificate has something that the service behind could not be told.
    #[error("the certificate has something that no header can carry")]
    Unspeakable,
}

impl PeerError {
    /// The same as rustls says it, so that the caller gets the alert that fits (RFC 8446, section 6.2).
    fn to_rustls(&self) -> CertificateError {
        match self {
            Self::Chain(error) => match error {
                ChainError::BadSignature => CertificateError::BadSignature,
                ChainError::Expired { .. } => CertificateError::Expired,
                ChainError::Malformed(_) => CertificateError::BadEncoding,
                ChainError::NotYetValid { .. } => CertificateError::NotValidYet,
                ChainError::UnsupportedExtension => CertificateError::UnhandledCriticalExtension,
                ChainError::WrongPurpose { .. } => CertificateError::InvalidPurpose,
                _ => CertificateError::UnknownIssuer,
            },
            Self::CrlExpired { .. } | Self::NoCrl { .. } => CertificateError::UnknownRevocationStatus,
            Self::Identity(_) | Self::IssuerRole { .. } | Self::Missing | Self::Unspeakable => {
                CertificateError::ApplicationVerificationFailure
            }
            Self::Revoked { .. } => CertificateError::Revoked,
        }
    }
}

impl Coded for PeerError {
    fn coded(&self) -> Code {
        match self {
            Self::Chain(error) => error.coded(),
            Self::CrlExpired { .. } => Code::refused("revocation.crl_expired"),
            Self::Identity(error) => error.coded(),
            Self::IssuerRole { .. } => Code::refused("identity.issuer_role"),
            Self::Missing => Code::refused("certificate.missing"),
            Self::NoCrl { .. } => Code::refused("revocation.no_crl"),
            Self::Revoked { .. } => Code::refused("revocation.revoked"),
            Self::Unspeakable => Code::refused("certificate.unspeakable"),
        }
    }
}
