//! Why a key management service could not be used.

/// Why a key management service could not be used, in words that say which remedy there is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KmsError {
    /// The key is wrapped by a service that is not configured here.
    #[error("the private key is wrapped by {kms} key {key}, which is not configured here")]
    NotConfigured {
        /// The kind of service.
        kms: &'static str,
        /// The wrapping key.
        key: String,
    },
}

impl KmsError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotConfigured { .. } => "kms.not_configured",
        }
    }
}
