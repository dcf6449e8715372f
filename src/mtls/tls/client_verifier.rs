//! Client certificate verifier for rustls.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use time::OffsetDateTime;

use super::crypto::provider;
use super::observed::{KeyProof, PresentedCertificate};
use crate::mtls::listener::{ClientCertificate, Listener};
use crate::mtls::verifier::PeerVerifier;

/// Adapter from [`PeerVerifier`] to rustls, with the requirements of one listener.
#[derive(Debug)]
pub struct ClientVerifier {
    verifier: Arc<PeerVerifier>,
    listener: Listener,
    algorithms: WebPkiSupportedAlgorithms,
    root_subjects: Vec<DistinguishedName>,
}

impl ClientVerifier {
    /// Verify the clients of `listener` with `verifier`.
    #[must_use]
    pub fn new(verifier: Arc<PeerVerifier>, listener: Listener) -> Self {
        // With those of the intermediate CAs, whose clients may send their own certificate alone: some clients choose a
        // certificate by the name of its issuer.
        let authorities = verifier.trust().authorities();
        let subjects: BTreeSet<_> = authorities.map(|(_, authority)| authority.subject.der.clone()).collect();
        Self {
            root_subjects: subjects.into_iter().map(DistinguishedName::from).collect(),
            verifier,
            listener,
            algorithms: provider().signature_verification_algorithms,
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.listener.client_certificate == ClientCertificate::Required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.root_subjects
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        extra_certs: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let at = i64::try_from(now.as_secs())
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .ok_or(rustls::Error::FailedToGetCurrentTime)?;
        let result = self.verifier.verify_client(leaf, extra_certs, self.listener.identity_form, at);
        let answer = match &result {
            Ok(peer) => {
                // Sessions are stored at the end of the handshake, when possession of the key is proved too.
                let chain = std::iter::once(&peer.chain.leaf).chain(&peer.chain.intermediates);
                KeyProof::set_for_handshake(Arc::new(KeyProof {
                    chain: chain.map(|certificate| certificate.der.clone()).collect(),
                    at,
                    anchors: self.verifier.trust().fingerprint(),
                }));
                Ok(ClientCertVerified::assertion())
            }
            Err(error) => Err(error.to_rustls().into()),
        };
        PresentedCertificate { leaf: leaf.clone().into_owned(), result }.set_for_handshake();
        answer
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
