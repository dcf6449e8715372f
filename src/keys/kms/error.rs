//! Why a key management service could not be used.

use std::io;
use std::path::PathBuf;

use super::{Pkcs11Error, Wrapped};
use crate::files::FileError;

/// Why a key management service could not be used, told so that each remedy has a case of its own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KmsError {
    /// Not the address of such a service.
    #[error("`{given}` is not the address of a key management service: {why}")]
    Address {
        /// What was given.
        given: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// The server's certificate is not one that is trusted here.
    #[error("the certificate of {address} is not trusted: {why}")]
    CertificateUntrusted {
        /// The service.
        address: String,
        /// The verifier's words.
        why: String,
    },
    /// The CA certificate for the services is none.
    #[error("not a CA certificate to trust services by: {why}")]
    CaCertificate {
        /// What is wrong with it.
        why: String,
    },
    /// The certificate or key by which a KMIP server should know us is not usable.
    #[error("the client certificate and key cannot be used: {why}")]
    ClientCertificate {
        /// What is wrong with them.
        why: String,
    },
    /// The server does not accept our certificate.
    #[error("{address} does not accept the client certificate")]
    ClientCertificateRefused {
        /// The service.
        address: String,
    },
    /// The configuration cannot be read.
    #[error("the configuration of the key management services cannot be read: {why}")]
    Configuration {
        /// What is wrong with it.
        why: String,
    },
    /// A token or a secret is not kept here, and nobody supplied it.
    #[error("the {what} for {address} is not kept here, and none was given")]
    CredentialMissing {
        /// What is missing.
        what: &'static str,
        /// The service.
        address: String,
    },
    /// The file should hold a token or a secret and does not.
    #[error("the first line of {} is not a token or secret: printable ASCII without spaces was expected", path.display())]
    CredentialUnreadable {
        /// The file.
        path: PathBuf,
    },
    /// What was unwrapped is no data key.
    #[error("{address} unwrapped something that is not a data key")]
    DataKey {
        /// The service.
        address: String,
    },
    /// The service knows who asks, and does not allow it.
    #[error("{address} does not allow `{capability}` on {path}{}", words(messages))]
    Denied {
        /// The service.
        address: String,
        /// The path that was asked for.
        path: String,
        /// What the policy must grant there.
        capability: &'static str,
        /// The service's words.
        messages: Vec<String>,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The wrapping key is not there.
    #[error("{address} has no key {key}")]
    KeyMissing {
        /// The service.
        address: String,
        /// The key.
        key: String,
    },
    /// The wrapping key may not be used for this.
    #[error("key {key} of {address} cannot {why}")]
    KeyUnfit {
        /// The service.
        address: String,
        /// The key.
        key: String,
        /// What it should do, and what it lacks.
        why: &'static str,
    },
    /// The version that wrapped the data key is shut off.
    #[error("{address} does not unwrap with this version of key {key} any more{}", words(messages))]
    KeyVersionRefused {
        /// The service.
        address: String,
        /// The key.
        key: String,
        /// The service's words.
        messages: Vec<String>,
    },
    /// The role or its secret is wrong.
    #[error("{address} refused the login{}", words(messages))]
    LoginRefused {
        /// The service.
        address: String,
        /// The service's words.
        messages: Vec<String>,
    },
    /// Nothing is mounted where the engine or the auth method should be.
    #[error("{address} has nothing mounted at {path}")]
    MountMissing {
        /// The service.
        address: String,
        /// The mount path.
        path: String,
    },
    /// A name that the service could not have.
    #[error("`{given}` is not a {what}: it must be {rule}")]
    Name {
        /// What it should be the name of.
        what: &'static str,
        /// What was given.
        given: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// The namespace is not there.
    #[error("{address} has no namespace {namespace}")]
    NamespaceMissing {
        /// The service.
        address: String,
        /// The namespace.
        namespace: String,
    },
    /// The key is wrapped by a service that is not configured here.
    #[error("the private key is wrapped by {kms} key {key}, which is not configured here")]
    NotConfigured {
        /// The kind of service.
        kms: &'static str,
        /// The wrapping key.
        key: String,
    },
    /// The server does not do what wrapping needs.
    #[error("{address} has no operation {operation}")]
    OperationMissing {
        /// The service.
        address: String,
        /// What it does not do.
        operation: &'static str,
    },
    /// The token that holds the root's key could not be used.
    #[error(transparent)]
    Pkcs11(#[from] Pkcs11Error),
    /// The service's answer is not what its protocol says.
    #[error("{address} gave an answer that cannot be read: {why}")]
    Protocol {
        /// The service.
        address: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No randomness.
    #[error("the system's random generator failed")]
    Random,
    /// The service refused for another reason.
    #[error("{address} refused {operation} (status {status}){}", words(messages))]
    Refused {
        /// The service.
        address: String,
        /// What was asked.
        operation: String,
        /// The service's status.
        status: u32,
        /// The service's words.
        messages: Vec<String>,
    },
    /// What was wrapped did not come back as it was.
    #[error("{address} did not give back what it had wrapped")]
    RoundTrip {
        /// The service.
        address: String,
    },
    /// The service is sealed.
    #[error("{address} is sealed")]
    Sealed {
        /// The service.
        address: String,
    },
    /// What the service signed is not verified by the key that it holds.
    #[error("the signature that came back is not by the key that should have signed")]
    Signature,
    /// The token does not hold any more, or never did; or it may not even ask about itself.
    #[error("{address} does not accept the token, or does not allow it {needed}{}", words(messages))]
    TokenRefused {
        /// The service.
        address: String,
        /// The capability, and the path, that its policies must grant.
        needed: String,
        /// The service's words.
        messages: Vec<String>,
    },
    /// The server speaks no version of KMIP that is spoken here.
    #[error("{address} speaks no version of KMIP from 1.2 to 2.x (it offers: {})", if offered.is_empty() { "none".to_owned() } else { offered.join(", ") })]
    TooOld {
        /// The service.
        address: String,
        /// What it speaks.
        offered: Vec<String>,
    },
    /// The service could not be reached, or did not answer in time.
    #[error("{address} cannot be reached")]
    Unavailable {
        /// The service.
        address: String,
        /// Why not.
        source: io::Error,
    },
}

fn words(messages: &[String]) -> String {
    if messages.is_empty() { String::new() } else { format!(": {}", messages.join("; ")) }
}

impl KmsError {
    pub(in crate::keys) fn not_configured(wrapped: &Wrapped) -> Self {
        Self::NotConfigured { kms: wrapped.kms(), key: wrapped.key().to_owned() }
    }

    /// Whether the same may well succeed later without anybody changing what is configured here.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Sealed { .. } | Self::Unavailable { .. } => true,
            // The service's own trouble, or that of what stands in front of it. (KMIP's codes are smaller.)
            Self::Refused { status, .. } => matches!(status, 412 | 429 | 500..=599),
            _ => false,
        }
    }

    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "kms.address",
            Self::CaCertificate { .. } => "kms.ca_certificate",
            Self::CertificateUntrusted { .. } => "kms.certificate_untrusted",
            Self::ClientCertificate { .. } => "kms.client_certificate",
            Self::ClientCertificateRefused { .. } => "kms.client_certificate_refused",
            Self::Configuration { .. } => "kms.configuration",
            Self::CredentialMissing { .. } => "kms.credential_missing",
            Self::CredentialUnreadable { .. } => "kms.credential_unreadable",
            Self::DataKey { .. } => "kms.data_key",
            Self::Denied { .. } => "kms.denied",
            Self::File(error) => error.code(),
            Self::KeyMissing { .. } => "kms.key_missing",
            Self::KeyUnfit { .. } => "kms.key_unfit",
            Self::KeyVersionRefused { .. } => "kms.key_version_refused",
            Self::LoginRefused { .. } => "kms.login_refused",
            Self::MountMissing { .. } => "kms.mount_missing",
            Self::Name { .. } => "kms.name",
            Self::NamespaceMissing { .. } => "kms.namespace_missing",
            Self::NotConfigured { .. } => "kms.not_configured",
            Self::OperationMissing { .. } => "kms.operation_missing",
            Self::Pkcs11(error) => error.code(),
            Self::Protocol { .. } => "kms.protocol",
            Self::Random => "system.entropy",
            Self::Refused { .. } => "kms.refused",
            Self::RoundTrip { .. } => "kms.round_trip",
            Self::Sealed { .. } => "kms.sealed",
            Self::Signature => "kms.signature",
            Self::TokenRefused { .. } => "kms.token_refused",
            Self::TooOld { .. } => "kms.too_old",
            Self::Unavailable { .. } => "kms.unavailable",
        }
    }
}
