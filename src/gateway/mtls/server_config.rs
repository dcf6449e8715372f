//! TLS as the gateway speaks it (RFC 8446; RFC 5246 with AEAD suites only): one immutable configuration
//! per state, and the words for a handshake that failed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::time_provider::TimeProvider;
use rustls::{
    AlertDescription, CipherSuite, InconsistentKeys, ProtocolVersion, ServerConfig, ServerConnection,
};

use crate::clock::Clock;
use crate::error::{Code, Coded};
use crate::gateway::mtls::resumption::Resumable;
use crate::gateway::mtls::server_name::OwnNames;
use crate::gateway::mtls::verifier::ListenerVerifier;
use crate::keys::PrivateKey;

/// HTTP/2, as ALPN names it.
const H2: &[u8] = b"h2";
/// HTTP/1.1, as ALPN names it.
const HTTP_1_1: &[u8] = b"http/1.1";

/// The cryptography of every connection: aws-lc-rs, X25519MLKEM768 preferred, AES-128-GCM with SHA-256 before
/// all other suites.
#[must_use]
pub fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    // The others keep their order: the sort is stable.
    provider.cipher_suites.sort_by_key(|suite| !is_of_aes_128(suite.suite()));
    provider
}

/// Processors have instructions for AES and SHA-256, and few have any for SHA-384: in a resumed handshake,
/// nothing else took as long.
const fn is_of_aes_128(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

/// A private key, as rustls signs by it: read where it lies, so that no further copy of it is left behind.
///
/// # Errors
/// [`TlsError`] when it cannot be read, or is of a kind that cannot be used.
pub fn signing_key(key: &PrivateKey) -> Result<Arc<dyn SigningKey>, TlsError> {
    // Whatever form the key came in: PKCS#8, SEC 1 or PKCS#1.
    let der = key.der().map_err(|_| TlsError::KeyUnreadable)?;
    let der = PrivateKeyDer::try_from(der).map_err(|_| TlsError::KeyUnreadable)?;
    aws_lc_rs::sign::any_supported_type(&der).map_err(|source| TlsError::KeyUnusable { source })
}

/// The gateway's own certificate with its key.
///
/// # Errors
/// [`TlsError`] when the key is another certificate's.
pub fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
) -> Result<CertifiedKey, TlsError> {
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(TlsError::KeyMismatch),
        Err(source) => Err(TlsError::KeyUnusable { source }),
    }
}

/// The configuration under which connections are accepted; without `resumable`, no session is resumed.
///
/// # Errors
/// [`TlsError`] when rustls refuses the combination.
pub fn server_config(
    own: OwnNames,
    verifier: ListenerVerifier,
    clock: Arc<dyn Clock>,
    resumable: Option<Resumable>,
) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_details(Arc::new(provider()), Arc::new(TlsClock(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|source| TlsError::Configuration { source })?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(own));
    config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
    config.send_tls13_tickets = usize::from(resumable.is_some());
    config.session_storage = match resumable {
        Some(resumable) => Arc::new(resumable),
        None => Arc::new(NoServerSessionStorage {}),
    };
    // Most callers can do all suites, and put first what their library's authors thought of.
    config.ignore_client_order = true;
    config.max_early_data_size = 0;
    config.cert_decompressors = Vec::new();
    Ok(config)
}

/// The application protocol that ALPN agreed on, HTTP/1.1 where the caller asked for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 (RFC 9112).
    Http1,
    /// HTTP/2 (RFC 9113).
    Http2,
}

impl Protocol {
    /// What was agreed on `connection`.
    #[must_use]
    pub fn of(connection: &ServerConnection) -> Self {
        if connection.alpn_protocol() == Some(H2) { Self::Http2 } else { Self::Http1 }
    }

    /// Its name in ALPN.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
        }
    }
}

/// The version that was agreed on `connection`.
#[must_use]
pub fn version(connection: &ServerConnection) -> &'static str {
    match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "1.2",
        Some(ProtocolVersion::TLSv1_3) => "1.3",
        _ => "unknown",
    }
}

/// Why a handshake failed, when it was not for the caller's certificate: a stable code, and words.
#[must_use]
pub fn handshake_failure(error: &io::Error) -> (&'static str, String) {
    use rustls::Error;
    let Some(cause) = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                ("tls.closed", "the caller closed the connection in the middle of the handshake".to_owned())
            }
            _ => ("tls.connection", error.to_string()),
        };
    };
    let code = match cause {
        Error::AlertReceived(AlertDescription::UnknownCA | AlertDescription::BadCertificate) => {
            "tls.own_certificate_refused"
        }
        Error::AlertReceived(_) => "tls.alert_received",
        // Only our resolver of certificates finds none, and only for this reason.
        Error::General(text) if text == "no server certificate chain resolved" => {
            return (
                "tls.unknown_server_name",
                "the gateway's certificate does not have the name asked for".to_owned(),
            );
        }
        Error::InvalidMessage(_) => "tls.malformed",
        Error::NoCertificatesPresented => "certificate.missing",
        Error::PeerIncompatible(_) => "tls.incompatible",
        Error::PeerMisbehaved(_) => "tls.misbehaved",
        Error::InvalidCertificate(_) => "certificate.proof",
        _ => "tls.failed",
    };
    (code, cause.to_string())
}

/// Our clock, as rustls asks for it.
#[derive(Debug)]
struct TlsClock(Arc<dyn Clock>);

impl TimeProvider for TlsClock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().unix_timestamp()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// rustls refuses the combination.
    #[error("TLS cannot be configured")]
    Configuration {
        /// What rustls says.
        source: rustls::Error,
    },
    /// The key is another certificate's.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// A private key in a form that TLS does not take.
    #[error("the private key is neither PKCS#8 nor SEC 1 nor PKCS#1")]
    KeyUnreadable,
    /// A private key of a kind that cannot be used.
    #[error("the private key cannot be used")]
    KeyUnusable {
        /// What rustls says.
        source: rustls::Error,
    },
}

impl Coded for TlsError {
    fn coded(&self) -> Code {
        match self {
            Self::Configuration { .. } => Code::refused("tls.configuration"),
            Self::KeyMismatch => Code::refused("tls.key_mismatch"),
            Self::KeyUnreadable => Code::refused("tls.key_unreadable"),
            Self::KeyUnusable { .. } => Code::refused("tls.key_unusable"),
        }
    }
}
