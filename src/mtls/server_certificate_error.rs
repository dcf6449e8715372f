//! Errors of loading and checking the server certificate.

use std::path::PathBuf;

use time::OffsetDateTime;

use super::tls::TlsError;
use crate::clock::rfc3339;
use crate::error::{Code, Coded};
use crate::files::FileError;
use crate::identity::{IdentityError, IdentityRefusal, Role};
use crate::x509::trust::ChainError;
use crate::x509::{KeyIdentifier, X509Error};

/// Own certificate that cannot be loaded or is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerCertificateError {
    /// The CRL of an issuer of the certificate has expired.
    #[error("the CRL of issuer {issuer} expired at {}", rfc3339(*next_update))]
    CrlExpired {
        /// Key identifier of the CRL's issuer.
        issuer: KeyIdentifier,
        /// nextUpdate of the CRL.
        next_update: OffsetDateTime,
    },
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The certificate violates a rule of the cluster.
    #[error("the gateway's certificate {} is refused", path.display())]
    Refused {
        /// Path of the certificate.
        path: PathBuf,
        /// Violated rule.
        #[source]
        why: ServerCertificateFault,
    },
    /// rustls does not accept certificate and key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The file holds no certificate that can be parsed.
    #[error("the gateway's certificate {} cannot be read", path.display())]
    Unreadable {
        /// Path of the certificate.
        path: PathBuf,
        /// Parse error.
        source: X509Error,
    },
}

impl Coded for ServerCertificateError {
    fn coded(&self) -> Code {
        match self {
            Self::CrlExpired { .. } => Code::refused("revocation.crl_expired"),
            Self::File(error) => error.coded(),
            Self::Refused { why, .. } => why.coded(),
            Self::Tls(error) => error.coded(),
            Self::Unreadable { source, .. } => source.coded(),
        }
    }
}

/// Rule of the cluster that the server certificate violates.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerCertificateFault {
    /// It does not chain to the trust bundle as a server certificate.
    #[error(transparent)]
    Chain(ChainError),
    /// The file holds no certificate.
    #[error("there is no certificate")]
    Empty,
    /// It has no identity in the cluster.
    #[error(transparent)]
    Identity(IdentityRefusal),
    /// No CRL of its issuer is in force.
    #[error("there is no CRL of its issuer")]
    RevocationUnknown,
    /// It has been revoked.
    #[error("it has been revoked")]
    Revoked,
    /// Its role is not control-service.
    #[error("it is a certificate for the role {0}, and a gateway needs one for control-service")]
    Role(Role),
    /// Its URI SAN is not a SPIFFE ID of a cluster.
    #[error(transparent)]
    SpiffeId(IdentityError),
}

impl Coded for ServerCertificateFault {
    fn coded(&self) -> Code {
        match self {
            Self::Chain(error) => error.coded(),
            Self::Empty => Code::refused("server_certificate.empty"),
            Self::Identity(error) => error.coded(),
            Self::RevocationUnknown => Code::refused("server_certificate.revocation_unknown"),
            Self::Revoked => Code::refused("server_certificate.revoked"),
            Self::Role(_) => Code::refused("server_certificate.role"),
            Self::SpiffeId(error) => error.coded(),
        }
    }
}
