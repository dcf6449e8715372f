//! TLS client side: client credentials, server certificate verifier and rustls configuration.
//!
//! Probes and calls to gateways share it. They judge the server's chain by different rules, so the
//! judgement is a function that the caller passes in.

use std::fmt;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use crate::error::{Code, Coded};
use crate::identity::Host;
use crate::keys::PrivateKey;
use crate::x509::Certificate;

/// ALPN protocol identifier of HTTP/1.1 (RFC 7301, section 6).
pub const HTTP_1_1: &[u8] = b"http/1.1";

/// Client certificate chain with the private key of its leaf.
#[derive(Debug)]
pub struct ClientCredentials {
    /// Certificate chain: the leaf first, then its issuers.
    pub chain: Vec<Certificate>,
    /// Private key of the leaf.
    pub key: PrivateKey,
}

impl ClientCredentials {
    /// True if the private key belongs to the leaf; no handshake succeeds otherwise.
    #[must_use]
    pub fn key_matches(&self) -> bool {
        self.chain.first().is_some_and(|leaf| leaf.public_key_info == self.key.public_key_info())
    }

    /// Chain and key in the form that rustls signs with.
    ///
    /// # Errors
    /// [`TlsClientError`] when rustls does not support the key.
    pub fn certified_key(&self) -> Result<Arc<CertifiedKey>, TlsClientError> {
        let key = self.key.to_pkcs8().map_err(TlsClientError::new)?;
        let key = PrivateKeyDer::try_from(key.secret_pkcs8_der().to_vec()).map_err(TlsClientError::new)?;
        let provider = aws_lc_rs::default_provider();
        let key = provider.key_provider.load_private_key(key).map_err(TlsClientError::new)?;
        let chain = self.chain.iter().map(|certificate| certificate.der.clone()).collect();
        Ok(Arc::new(CertifiedKey::new(chain, key)))
    }

    /// Resolver that presents these credentials to every server that requests a certificate.
    ///
    /// # Errors
    /// [`TlsClientError`] when rustls does not support the key.
    pub fn resolver(&self) -> Result<Arc<dyn ResolvesClientCert>, TlsClientError> {
        Ok(Arc::new(SingleCertAndKey::from(self.certified_key()?)))
    }
}

/// rustls configuration of a client that speaks TLS 1.2 and 1.3 and offers `alpn`, if any.
///
/// # Errors
/// [`TlsClientError`] when the provider supports none of the TLS versions.
pub fn client_config<F>(
    verifier: ServerChainVerifier<F>,
    resolver: Arc<dyn ResolvesClientCert>,
    alpn: Option<&[u8]>,
) -> Result<Arc<ClientConfig>, TlsClientError>
where
    F: Fn(&[CertificateDer<'static>]) -> bool + Send + Sync + 'static,
{
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsClientError::new)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(resolver);
    config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
    Ok(Arc::new(config))
}

/// The server name of `host` for SNI (RFC 6066, section 3); rustls sends none for an IP address.
///
/// # Errors
/// [`TlsClientError`] when rustls rejects the name.
pub fn server_name(host: &Host) -> Result<ServerName<'static>, TlsClientError> {
    match host {
        Host::Ip(ip) => Ok(ServerName::from(*ip)),
        Host::Dns(name) => ServerName::try_from(name.clone()).map_err(TlsClientError::new),
    }
}

/// Server certificate verifier that leaves the judgement of the chain to a function.
///
/// It always checks the handshake signature. Without that proof of possession of the private key a
/// certificate does not authenticate the server.
pub struct ServerChainVerifier<F> {
    accepts: F,
    algorithms: WebPkiSupportedAlgorithms,
}

impl<F> ServerChainVerifier<F>
where
    F: Fn(&[CertificateDer<'static>]) -> bool + Send + Sync,
{
    /// Accept the chains for which `accepts` returns true. It gets the leaf first, then the other
    /// certificates in the order sent.
    pub fn new(accepts: F) -> Self {
        Self { accepts, algorithms: aws_lc_rs::default_provider().signature_verification_algorithms }
    }
}

impl<F> fmt::Debug for ServerChainVerifier<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerChainVerifier")
    }
}

impl<F> ServerCertVerifier for ServerChainVerifier<F>
where
    F: Fn(&[CertificateDer<'static>]) -> bool + Send + Sync,
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
        if (self.accepts)(&chain.collect::<Vec<_>>()) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
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

/// Failure to configure TLS with the given key or host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("TLS cannot be configured: {why}")]
pub struct TlsClientError {
    why: String,
}

impl From<Error> for TlsClientError {
    fn from(error: Error) -> Self {
        Self::new(error)
    }
}

impl TlsClientError {
    fn new(why: impl fmt::Display) -> Self {
        Self { why: why.to_string() }
    }
}

impl Coded for TlsClientError {
    fn coded(&self) -> Code {
        Code::environment("system.tls")
    }
}
