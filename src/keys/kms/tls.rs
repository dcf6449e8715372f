//! TLS connections to services: verification of the server's certificate, and failures of handshakes.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, KeyProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};

use super::error::KmsError;
use super::trust_anchors::KmsTrustAnchors;
use crate::keys::private_key::PrivateKey;
use crate::x509::Certificate;

/// Client certificate chain, the leaf first, with the private key of the leaf.
pub type ClientPair = (Vec<Certificate>, PrivateKey);

/// rustls configuration of a client that trusts `anchors` alone and presents `client`.
///
/// TLS 1.2 is included: many KMIP servers support nothing newer.
///
/// # Errors
/// [`KmsError::CaCertificate`] and [`KmsError::ClientCertificate`].
pub fn client_config(
    anchors: &KmsTrustAnchors,
    client: Option<ClientPair>,
) -> Result<Arc<ClientConfig>, KmsError> {
    let unfit = |error: &dyn std::error::Error| KmsError::CaCertificate { why: error.to_string() };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let signing_keys = provider.key_provider;
    let verifier = ServiceVerifier::new(anchors, Arc::clone(&provider))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unfit(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    Ok(Arc::new(match client {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let resolver = SingleCertAndKey::from(certified_key(pair, signing_keys)?);
            builder.with_client_cert_resolver(Arc::new(resolver))
        }
    }))
}

/// The pair in the form that rustls signs with. rustls compares key and certificate only if it can parse the
/// certificate, which excludes version 1.
fn certified_key((chain, key): ClientPair, keys: &dyn KeyProvider) -> Result<CertifiedKey, KmsError> {
    let bad = |why: String| KmsError::ClientCertificate { why };
    if chain.first().is_none_or(|leaf| leaf.public_key_info != key.public_key_info()) {
        return Err(bad("the private key does not belong to the certificate".to_owned()));
    }
    let pkcs8 = key.to_pkcs8().map_err(|error| bad(error.to_string()))?;
    let key = keys.load_private_key(PrivateKeyDer::Pkcs8(pkcs8)).map_err(|error| bad(error.to_string()))?;
    Ok(CertifiedKey::new(chain.into_iter().map(|certificate| certificate.der).collect(), key))
}

/// Verifier of server certificates. A chain must lead to a trusted CA; a pinned certificate is accepted as it is.
#[derive(Debug)]
struct ServiceVerifier {
    /// `None` if no CA is trusted.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    pinned: Vec<Certificate>,
    provider: Arc<CryptoProvider>,
}

impl ServiceVerifier {
    fn new(anchors: &KmsTrustAnchors, provider: Arc<CryptoProvider>) -> Result<Self, KmsError> {
        let unfit = |why: String| KmsError::CaCertificate { why };
        let mut roots = RootCertStore::empty();
        let (added, _unparsable) = roots.add_parsable_certificates(anchors.authorities().iter().cloned());
        if added == 0 && anchors.pinned().is_empty() && !anchors.authorities().is_empty() {
            return Err(unfit("the TLS library accepts no certificate in it as a trust anchor".to_owned()));
        }
        let authorities = match added {
            0 => None,
            _ => Some(
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                    .build()
                    .map_err(|error| unfit(error.to_string()))?,
            ),
        };
        Ok(Self { authorities, pinned: anchors.pinned().to_vec(), provider })
    }
}

impl ServerCertVerifier for ServiceVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(pinned) = self.pinned.iter().find(|pinned| pinned.der == *leaf) {
            return verify_pinned(pinned, name, now);
        }
        match &self.authorities {
            Some(authorities) => {
                authorities.verify_server_cert(leaf, intermediates, name, ocsp_response, now)
            }
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Check validity and name of a pinned certificate. One without names is accepted at any address: its bytes are
/// what is trusted.
fn verify_pinned(
    pinned: &Certificate,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now > pinned.not_after.unix_timestamp() {
        return Err(CertificateError::Expired.into());
    }
    if now < pinned.not_before.unix_timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if !pinned.subject_alt_names.is_empty() {
        verify_server_name(&ParsedCertificate::try_from(&pinned.der)?, name)?;
    }
    Ok(ServerCertVerified::assertion())
}

/// Translate the failure of a connection to `address`. With `presents_certificate`, a refusal of the client
/// certificate is told apart.
pub(super) fn connection_error(address: String, error: io::Error, presents_certificate: bool) -> KmsError {
    match tls_error(&error) {
        Some(Error::InvalidCertificate(why)) => {
            KmsError::CertificateUntrusted { address, why: why.to_string() }
        }
        Some(Error::AlertReceived(alert)) if presents_certificate && refuses_client_certificate(*alert) => {
            KmsError::ClientCertificateRefused { address }
        }
        Some(tls) if is_incompatible(tls) => KmsError::TlsIncompatible { address, why: tls.to_string() },
        _ => KmsError::Unavailable { address, source: error },
    }
}

/// The TLS error in a chain of errors, if there is one.
fn tls_error(error: &io::Error) -> Option<&Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = match error.get_ref() {
        Some(inner) => Some(inner),
        None => None,
    };
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<Error>() {
            return Some(found);
        }
        // The source of an I/O error is that of the error inside it.
        if let Some(inner) = error.downcast_ref::<io::Error>() {
            return tls_error(inner);
        }
        cause = error.source();
    }
    None
}

fn is_incompatible(error: &Error) -> bool {
    use AlertDescription::{HandshakeFailure, InsufficientSecurity, ProtocolVersion};
    match error {
        Error::PeerIncompatible(_) => true,
        Error::AlertReceived(alert) => {
            matches!(alert, HandshakeFailure | InsufficientSecurity | ProtocolVersion)
        }
        _ => false,
    }
}

fn refuses_client_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate
    )
}
