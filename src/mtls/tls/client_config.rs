//! rustls configuration of a client: credentials, server name, and a verifier that delegates the server's chain.
//!
//! A probe accepts every chain and records it; calls to gateways verify it by [`PeerVerifier`]. The verification is
//! therefore a function that the user of this module passes in.
//!
//! [`PeerVerifier`]: crate::mtls::PeerVerifier

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::crypto::{TlsError, certified_key, signing_key};
use crate::error::{Code, Coded};
use crate::identity::Host;
use crate::keys::PrivateKey;
use crate::x509::Certificate;

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

    /// Chain and key in the form that rustls signs with, even if they do not belong together: a probe observes the
    /// server first and reports that afterwards.
    ///
    /// # Errors
    /// [`TlsClientError`] when rustls does not support the key.
    pub fn unchecked_pair(&self) -> Result<Arc<CertifiedKey>, TlsClientError> {
        Ok(Arc::new(CertifiedKey::new(self.chain_der(), signing_key(&self.key)?)))
    }

    /// Resolver that presents these credentials to every server that requests a certificate.
    ///
    /// # Errors
    /// [`TlsClientError`] when rustls does not support the key, or the key belongs to another certificate.
    pub fn resolver(&self) -> Result<Arc<dyn ResolvesClientCert>, TlsClientError> {
        let certified = certified_key(self.chain_der(), signing_key(&self.key)?)?;
        Ok(Arc::new(SingleCertAndKey::from(certified)))
    }

    fn chain_der(&self) -> Vec<CertificateDer<'static>> {
        self.chain.iter().map(|certificate| certificate.der.clone()).collect()
    }
}

/// rustls configuration of a client that speaks TLS 1.2 and 1.3 with the suites of `verifier`'s provider and offers
/// `alpn`, if any.
///
/// Every handshake is a full one: rustls verifies no server certificate when it resumes a session, so that a
/// certificate revoked since the first handshake would still be accepted.
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
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&verifier.provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsClientError::new)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(resolver);
    config.resumption = Resumption::disabled();
    config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
    Ok(Arc::new(config))
}

/// Server name of `host` for SNI (RFC 6066, section 3); rustls sends none for an IP address.
///
/// # Errors
/// [`TlsClientError`] when rustls rejects the name.
pub fn server_name(host: &Host) -> Result<ServerName<'static>, TlsClientError> {
    match host {
        Host::Ip(ip) => Ok(ServerName::from(*ip)),
        Host::Dns(name) => ServerName::try_from(name.clone()).map_err(TlsClientError::new),
    }
}

/// Server certificate verifier that leaves the verification of the chain to a function.
///
/// It always checks the handshake signature. Without that proof of possession of the private key a
/// certificate does not authenticate the server.
pub struct ServerChainVerifier<F> {
    provider: Arc<CryptoProvider>,
    accepts: F,
}

impl<F> ServerChainVerifier<F>
where
    F: Fn(&[CertificateDer<'static>]) -> bool + Send + Sync,
{
    /// Accept the chains for which `accepts` returns true. It gets the leaf first, then the other
    /// certificates in the order sent.
    ///
    /// Handshake signatures may have every algorithm of `provider`, which is that of the connection too.
    pub fn new(provider: CryptoProvider, accepts: F) -> Self {
        Self { provider: Arc::new(provider), accepts }
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
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Failure to configure TLS with the given key or host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("TLS cannot be configured: {why}")]
pub struct TlsClientError {
    why: String,
}

impl From<TlsError> for TlsClientError {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::Configuration { source } | TlsError::KeyUnusable { source } => Self::new(source),
            error => Self::new(error),
        }
    }
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
