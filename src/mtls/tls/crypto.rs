//! Cryptography of every TLS connection, and private keys in the form that rustls signs with.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::time_provider::TimeProvider;
use rustls::{CipherSuite, InconsistentKeys};

use crate::clock::Clock;
use crate::error::{Code, Coded};
use crate::keys::PrivateKey;

/// rustls provider: aws-lc-rs, X25519MLKEM768 preferred, AES-128-GCM-SHA256 before all other suites.
///
/// Processors have instructions for AES and SHA-256, and few have any for SHA-384, which took most of the time of a
/// resumed handshake.
#[must_use]
pub fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    // A stable sort: the other suites keep their order.
    provider.cipher_suites.sort_by_key(|suite| !is_aes_128(suite.suite()));
    provider
}

const fn is_aes_128(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

/// Signing key for rustls, in PKCS#8, SEC 1 or PKCS#1. It is parsed in place, without a further copy of the key.
///
/// # Errors
/// [`TlsError::KeyUnreadable`] or [`TlsError::KeyUnusable`].
pub fn signing_key(key: &PrivateKey) -> Result<Arc<dyn SigningKey>, TlsError> {
    let der = key.der().map_err(|_| TlsError::KeyUnreadable)?;
    let der = PrivateKeyDer::try_from(der).map_err(|_| TlsError::KeyUnreadable)?;
    aws_lc_rs::sign::any_supported_type(&der).map_err(|source| TlsError::KeyUnusable { source })
}

/// Certificate chain with its key.
///
/// # Errors
/// [`TlsError::KeyMismatch`] if the key belongs to another certificate.
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

/// Adapter from our clock to rustls.
#[derive(Debug)]
pub(super) struct TlsClock(pub(super) Arc<dyn Clock>);

impl TimeProvider for TlsClock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().unix_timestamp()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// Certificate, key or settings that make no TLS configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// rustls refuses the combination of settings.
    #[error("TLS cannot be configured")]
    Configuration {
        /// Reason from rustls.
        source: rustls::Error,
    },
    /// The key belongs to another certificate.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// The key is in none of the three supported encodings.
    #[error("the private key is neither PKCS#8 nor SEC 1 nor PKCS#1")]
    KeyUnreadable,
    /// The key's algorithm or size is not supported.
    #[error("the private key cannot be used")]
    KeyUnusable {
        /// Reason from rustls.
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
