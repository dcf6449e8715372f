//! Judging a caller's certificate: chain, revocation, identity, in this order.
//!
//! A chain that has been verified is remembered by its leaf, so that a caller who comes back costs no
//! signature check of ours; its validity and revocation are looked at every time. The proof that the
//! caller holds the key is TLS's, made anew in every full handshake and never remembered.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use time::OffsetDateTime;

use super::headers::IdentityHeaders;
use super::peer::Peer;
use super::registry::CutReason;
use crate::clock::rfc3339;
use crate::identity::{CertificateIdentityError, Identity, TrustDomain};
use crate::revocation::{RevocationReason, RevocationSet, Standing};
use crate::x509::trust::{ChainError, Purpose, TrustBundle, VerifiedChain};
use crate::x509::{SerialNumber, Sha256};

/// How many verified chains are remembered.
const REMEMBERED: usize = 16_384;

/// Whom the gateway lets in.
#[derive(Debug)]
pub struct PeerVerifier {
    trust: TrustBundle,
    revocation: RevocationSet,
    trust_domain: TrustDomain,
    known: Mutex<HashMap<Sha256, Arc<Peer>>>,
    algorithms: WebPkiSupportedAlgorithms,
    root_subjects: Vec<DistinguishedName>,
}

impl PeerVerifier {
    /// Lets in whoever chains to `trust`, is not in `revocation` and belongs to `trust_domain`.
    #[must_use]
    pub fn new(
        trust: TrustBundle,
        revocation: RevocationSet,
        trust_domain: TrustDomain,
        provider: &CryptoProvider,
    ) -> Self {
        let root_subjects = trust.anchors().iter().map(|anchor| {
            DistinguishedName::from(anchor.certificate.subject.der.clone())
        });
        Self {
            root_subjects: root_subjects.collect(),
            trust,
            revocation,
            trust_domain,
            known: Mutex::default(),
            algorithms: provider.signature_verification_algorithms,
        }
    }

    /// Judges the certificate that a caller presents, or presented when its session began.
    ///
    /// # Errors
    /// [`PeerError`] with the first rule that it breaks.
    pub fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        at: OffsetDateTime,
    ) -> Result<Arc<Peer>, PeerError> {
        let fingerprint = Sha256::of(leaf);
        if let Some(peer) = self.known(&fingerprint)
            && self.stands(&peer, at).is_ok()
        {
            return Ok(peer);
        }
        let chain = self.trust.verify(leaf, intermediates, Purpose::Client, at).map_err(PeerError::Chain)?;
        self.check_revocation(&chain, at)?;
        let identity = Identity::of_certificate(&chain.leaf, &self.trust_domain).map_err(PeerError::Identity)?;
        let peer = Arc::new(Peer {
            headers: IdentityHeaders::new(&identity, &chain),
            serial_number: chain.leaf.serial_number,
            expires: chain.expires,
            identity,
            chain,
        });
        self.remember(fingerprint, &peer);
        Ok(peer)
    }

    /// Whether a caller that was let in, perhaps under an earlier state, still may be here.
    ///
    /// # Errors
    /// Why not.
    pub fn recheck(&self, peer: &Peer, at: OffsetDateTime) -> Result<(), CutReason> {
        if peer.identity.trust_domain != self.trust_domain || self.trust.anchor(&peer.chain.anchor).is_none() {
            return Err(CutReason::TrustChanged);
        }
        self.stands(peer, at)
    }

    fn stands(&self, peer: &Peer, at: OffsetDateTime) -> Result<(), CutReason> {
        if at > peer.expires || at < peer.chain.leaf.not_before {
            return Err(CutReason::CertificateExpired);
        }
        self.check_revocation(&peer.chain, at).map_err(|_| CutReason::CertificateRevoked)
    }

    fn check_revocation(&self, chain: &VerifiedChain, at: OffsetDateTime) -> Result<(), PeerError> {
        match self.revocation.status(chain, at) {
            Standing::Good => Ok(()),
        }
    }

    fn known(&self, fingerprint: &Sha256) -> Option<Arc<Peer>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(fingerprint).cloned()
    }

    fn remember(&self, fingerprint: Sha256, peer: &Arc<Peer>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Only verified certificates get here, so that a stranger cannot push the others out.
        if known.len() >= REMEMBERED {
            known.clear();
        }
        if let Entry::Vacant(place) = known.entry(fingerprint) {
            place.insert(Arc::clone(peer));
        }
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

tokio::task_local! {
    /// Where the verifier of the handshake that is being polled leaves what it saw. rustls calls the
    /// verifier from within the poll of its connection's future and tells it nothing about the
    /// connection, and forgets a certificate that was refused.
    static PRESENTED: RefCell<Option<Presented>>;
}

/// Runs a handshake, and gives what the caller presented beside its result.
pub async fn observing<T>(handshake: impl Future<Output = T>) -> (T, Option<Presented>) {
    PRESENTED
        .scope(RefCell::new(None), async {
            let result = handshake.await;
            (result, PRESENTED.with(RefCell::take))
        })
        .await
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.root_subjects
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
        let verdict = self.judge(end_entity, intermediates, at);
        let result = match &verdict {
            Ok(_) => Ok(ClientCertVerified::assertion()),
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
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
