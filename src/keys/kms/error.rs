//! Errors of key management services.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::pkcs11::Pkcs11Error;
use crate::error::{Code, Coded};
use crate::files::FileError;

/// Failure to use a key management service. Each remedy has its own variant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KmsError {
    /// The address is invalid.
    #[error("`{given}` is not the address of a key management service: {why}")]
    Address {
        /// The given text.
        given: String,
        /// The violated rule.
        why: &'static str,
    },
    /// The server's certificate is not trusted.
    #[error("the certificate of {address} is not trusted: {why}")]
    CertificateUntrusted {
        /// Address of the service.
        address: String,
        /// Reason of the verifier.
        why: String,
    },
    /// The configured trust anchor is not a CA certificate.
    #[error("not a CA certificate for key management services: {why}")]
    CaCertificate {
        /// Reason.
        why: String,
    },
    /// The client certificate or its key is unusable.
    #[error("the client certificate and key cannot be used: {why}")]
    ClientCertificate {
        /// Reason.
        why: String,
    },
    /// The server refused the client certificate.
    #[error("{address} refused the client certificate")]
    ClientCertificateRefused {
        /// Address of the service.
        address: String,
    },
    /// The configuration is unreadable.
    #[error("the configuration of the key management services cannot be read: {why}")]
    Configuration {
        /// Reason.
        why: String,
    },
    /// A token or other secret is neither stored nor supplied.
    #[error("the {what} for {address} is not stored, and none was given")]
    CredentialMissing {
        /// Kind of secret.
        what: &'static str,
        /// Address of the service.
        address: String,
    },
    /// The file does not contain a token or secret.
    #[error("the first line of {} is not a token or secret: printable ASCII without spaces is expected", path.display())]
    CredentialUnreadable {
        /// The file.
        path: PathBuf,
    },
    /// The unwrapped bytes are not a data key.
    #[error("{address} unwrapped bytes that are not a data key")]
    DataKey {
        /// Address of the service.
        address: String,
    },
    /// The service denied an authenticated request.
    #[error("{address} does not allow `{capability}` on {path}{}", appended(messages))]
    Denied {
        /// Address of the service.
        address: String,
        /// Path of the request.
        path: String,
        /// Capability that the policy must grant.
        capability: &'static str,
        /// Messages of the service.
        messages: Vec<String>,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The wrapping key does not exist.
    #[error("{address} has no key {key}")]
    KeyMissing {
        /// Address of the service.
        address: String,
        /// Wrapping key.
        key: String,
    },
    /// The wrapping key is unsuitable.
    #[error("key {key} of {address} cannot {why}")]
    KeyUnfit {
        /// Address of the service.
        address: String,
        /// Wrapping key.
        key: String,
        /// Purpose, and the missing property.
        why: &'static str,
    },
    /// The key version that wrapped the data key is disabled.
    #[error("{address} no longer unwraps with this version of key {key}{}", appended(messages))]
    KeyVersionRefused {
        /// Address of the service.
        address: String,
        /// Wrapping key.
        key: String,
        /// Messages of the service.
        messages: Vec<String>,
    },
    /// The role id or secret id is wrong.
    #[error("{address} refused the login{}", appended(messages))]
    LoginRefused {
        /// Address of the service.
        address: String,
        /// Messages of the service.
        messages: Vec<String>,
    },
    /// The secrets engine or auth method is not mounted.
    #[error("{address} has nothing mounted at {path}")]
    MountMissing {
        /// Address of the service.
        address: String,
        /// Mount path.
        path: String,
    },
    /// The name is invalid.
    #[error("`{given}` is not a {what}: it must be {rule}")]
    Name {
        /// Kind of name.
        what: &'static str,
        /// The given text.
        given: String,
        /// The violated rule.
        rule: &'static str,
    },
    /// The namespace does not exist.
    #[error("{address} has no namespace {namespace}")]
    NamespaceMissing {
        /// Address of the service.
        address: String,
        /// Value of the configuration, sent as `X-Vault-Namespace`.
        namespace: String,
    },
    /// The service that wrapped the key is not configured.
    #[error("the private key is wrapped by {kms} key {key}, which is not configured")]
    NotConfigured {
        /// Kind of the service.
        kms: &'static str,
        /// Wrapping key.
        key: String,
    },
    /// The server lacks an operation that wrapping needs.
    #[error("{address} does not support the operation {operation}")]
    OperationMissing {
        /// Address of the service.
        address: String,
        /// The missing operation.
        operation: &'static str,
    },
    /// The PKCS#11 token could not be used.
    #[error(transparent)]
    Pkcs11(#[from] Pkcs11Error),
    /// The response violates the protocol.
    #[error("the response of {address} cannot be used: {why}")]
    Protocol {
        /// Address of the service.
        address: String,
        /// Reason.
        why: &'static str,
    },
    /// The random generator failed.
    #[error("the system's random generator failed")]
    Random,
    /// The service refused the request for another reason.
    #[error("{address} refused {operation} ({status}){}", appended(messages))]
    Refused {
        /// Address of the service.
        address: String,
        /// Path of the request, such as `transit/decrypt/root`.
        operation: String,
        /// Status or reason of the service.
        status: ServiceStatus,
        /// Messages of the service.
        messages: Vec<String>,
    },
    /// The request could not be serialized; nothing was sent.
    #[error("a request to {address} cannot be serialized: {why}")]
    Request {
        /// Address of the service.
        address: String,
        /// Reason.
        why: String,
    },
    /// A data key came back changed.
    #[error("{address} unwrapped a data key to other bytes than it had wrapped")]
    RoundTrip {
        /// Address of the service.
        address: String,
    },
    /// The service is sealed.
    #[error("{address} is sealed")]
    Sealed {
        /// Address of the service.
        address: String,
    },
    /// The signature does not verify with the signer's public key.
    #[error("the signer returned a signature that its public key does not verify")]
    Signature,
    /// Client and server have no TLS version or cipher suite in common.
    #[error("{address} has no TLS version and cipher suite in common with this program: {why}")]
    TlsIncompatible {
        /// Address of the service.
        address: String,
        /// Reason of the TLS library.
        why: String,
    },
    /// The token is expired, revoked or invalid, or may not even look up itself.
    #[error("{address} refused the token, or does not allow it {needed}{}", appended(messages))]
    TokenRefused {
        /// Address of the service.
        address: String,
        /// Capability and path that its policies must grant.
        needed: String,
        /// Messages of the service.
        messages: Vec<String>,
    },
    /// The server supports no common version of KMIP.
    #[error("{address} supports no version of KMIP from 1.2 to 2.x (it offers: {})", if offered.is_empty() { "none".to_owned() } else { offered.join(", ") })]
    TooOld {
        /// Address of the service.
        address: String,
        /// Versions of the server.
        offered: Vec<String>,
    },
    /// The service is unreachable, or did not respond in time.
    #[error("{address} cannot be reached")]
    Unavailable {
        /// Address of the service.
        address: String,
        /// Cause.
        source: io::Error,
    },
}

/// Status with which a service refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceStatus {
    /// Status code of HTTP.
    Http(u16),
    /// Result reason of KMIP.
    Kmip {
        /// Number of the reason.
        reason: u32,
        /// Its name in the specification. `None` for an unknown one.
        name: Option<&'static str>,
        /// True if the same request may succeed later.
        is_temporary: bool,
    },
}

impl fmt::Display for ServiceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(status) => write!(f, "status {status}"),
            Self::Kmip { name: Some(name), .. } => f.write_str(name),
            Self::Kmip { reason, name: None, .. } => write!(f, "reason {reason:#x}"),
        }
    }
}

impl ServiceStatus {
    const fn is_temporary(self) -> bool {
        match self {
            // A failure of the service or of a proxy in front of it.
            Self::Http(status) => matches!(status, 412 | 429 | 500..=599),
            Self::Kmip { is_temporary, .. } => is_temporary,
        }
    }
}

fn appended(messages: &[String]) -> String {
    if messages.is_empty() { String::new() } else { format!(": {}", messages.join("; ")) }
}

impl KmsError {
    /// True if a retry may succeed without a change of the configuration.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Sealed { .. } | Self::Unavailable { .. } => true,
            Self::Refused { status, .. } => status.is_temporary(),
            _ => false,
        }
    }
}

impl Coded for KmsError {
    fn coded(&self) -> Code {
        match self {
            Self::Address { .. } => Code::usage("kms.address"),
            Self::CaCertificate { .. } => Code::refused("kms.ca_certificate"),
            Self::CertificateUntrusted { .. } => Code::unavailable("kms.certificate_untrusted"),
            Self::ClientCertificate { .. } => Code::refused("kms.client_certificate"),
            Self::ClientCertificateRefused { .. } => Code::unavailable("kms.client_certificate_refused"),
            Self::Configuration { .. } => Code::environment("kms.configuration"),
            Self::CredentialMissing { .. } => Code::usage("kms.credential_missing"),
            Self::CredentialUnreadable { .. } => Code::environment("kms.credential_unreadable"),
            Self::DataKey { .. } => Code::unavailable("kms.data_key"),
            Self::Denied { .. } => Code::unavailable("kms.denied"),
            Self::File(error) => error.coded(),
            Self::KeyMissing { .. } => Code::unavailable("kms.key_missing"),
            Self::KeyUnfit { .. } => Code::refused("kms.key_unfit"),
            Self::KeyVersionRefused { .. } => Code::unavailable("kms.key_version_refused"),
            Self::LoginRefused { .. } => Code::unavailable("kms.login_refused"),
            Self::MountMissing { .. } => Code::unavailable("kms.mount_missing"),
            Self::Name { .. } => Code::usage("kms.name"),
            Self::NamespaceMissing { .. } => Code::unavailable("kms.namespace_missing"),
            Self::NotConfigured { .. } => Code::refused("kms.not_configured"),
            Self::OperationMissing { .. } => Code::unavailable("kms.operation_missing"),
            Self::Pkcs11(error) => error.coded(),
            Self::Protocol { .. } => Code::unavailable("kms.protocol"),
            Self::Random => Code::environment("system.entropy"),
            Self::Refused { .. } => Code::unavailable("kms.refused"),
            Self::Request { .. } => Code::unavailable("kms.request"),
            Self::RoundTrip { .. } => Code::unavailable("kms.round_trip"),
            Self::Sealed { .. } => Code::unavailable("kms.sealed"),
            Self::Signature => Code::unavailable("kms.signature"),
            Self::TlsIncompatible { .. } => Code::unavailable("kms.tls_incompatible"),
            Self::TokenRefused { .. } => Code::unavailable("kms.token_refused"),
            Self::TooOld { .. } => Code::unavailable("kms.too_old"),
            Self::Unavailable { .. } => Code::unavailable("kms.unavailable"),
        }
    }
}
