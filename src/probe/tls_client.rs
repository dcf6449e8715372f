//! The TLS client side of this program: certificate and key as rustls takes them, and the verifier.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use super::error::ProbeError;
use crate::keys::PrivateKey;
use crate::x509::Certificate;

/// Who calls: a certificate, intermediates after it, and its key.
#[derive(Debug)]
pub struct Caller {
    /// The certificates, the caller's own first.
    pub chain: Vec<Certificate>,
    /// The private key.
    pub key: PrivateKey,
}

impl Caller {
    /// Whether the key is that of the certificate; without it nobody gets as far as a connection.
    #[must_use]
    pub fn keys_match(&self) -> bool {
        self.chain.first().is_some_and(|leaf| leaf.public_key_info == self.key.public_key_info())
    }
}

impl Caller {
    /// Certificate and key as TLS takes them.
    ///
    /// # Errors
    /// [`ProbeError::Tls`] when TLS has no use for the key.
    pub fn certified(&self) -> Result<Arc<CertifiedKey>, ProbeError> {
        let why = |why: String| ProbeError::Tls { why };
        let key = self.key.to_pkcs8().map_err(|error| why(error.to_string()))?;
        let key = PrivateKeyDer::try_from(key.secret_pkcs8_der().to_vec())
            .map_err(|error| why(error.to_owned()))?;
        let provider = aws_lc_rs::default_provider();
        let key = provider.key_provider.load_private_key(key).map_err(|error| why(error.to_string()))?;
        let chain = self.chain.iter().map(|certificate| certificate.der.clone()).collect();
        Ok(Arc::new(CertifiedKey::new(chain, key)))
    }
}

/// Judges what a server presents as it is told to, and checks in any case that the server has the key of
/// it: without that proof a certificate says nothing about who is there.
pub struct Witness<J> {
    judge: J,
    algorithms: WebPkiSupportedAlgorithms,
}

impl<J> Witness<J>
where
    J: Fn(&[CertificateDer<'static>]) -> Result<(), Error> + Send + Sync,
{
    /// Takes the chains that `judge` takes: the server's own certificate first, then what it sends with it.
    pub fn new(judge: J) -> Self {
        Self { judge, algorithms: aws_lc_rs::default_provider().signature_verification_algorithms }
    }
}

impl<J> std::fmt::Debug for Witness<J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Witness")
    }
}

impl<J> ServerCertVerifier for Witness<J>
where
    J: Fn(&[CertificateDer<'static>]) -> Result<(), Error> + Send + Sync,
{
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(leaf).chain(intermediates).map(|der| der.clone().into_owned());
        (self.judge)(&chain.collect::<Vec<_>>()).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
