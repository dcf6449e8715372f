//! Reasons for refusing a peer, in a handshake and later.

use rustls::CertificateError;
use time::OffsetDateTime;

use crate::clock::rfc3339;
use crate::error::{Code, Coded};
use crate::identity::{Host, IdentityRefusal, Role};
use crate::x509::trust::ChainError;
use crate::x509::{KeyIdentifier, SerialNumber};

/// Refusal of a peer's certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The certificate does not chain to the trust bundle.
    #[error(transparent)]
    Chain(ChainError),
    /// The issuer's CRL has expired.
    #[error("the CRL of issuer {issuer} expired at {}", rfc3339(*next_update))]
    CrlExpired {
        /// Key identifier of the CRL's issuer.
        issuer: KeyIdentifier,
        /// nextUpdate of the CRL.
        next_update: OffsetDateTime,
    },
    /// The certificate is not valid for the host name or address of the server.
    #[error("{error} {host}")]
    Host {
        /// Violated rule.
        error: ChainError,
        /// Name or address that the server was contacted by.
        host: Host,
    },
    /// The certificate has no identity in this cluster.
    #[error(transparent)]
    Identity(IdentityRefusal),
    /// An issuer may not vouch for the certificate's role.
    #[error("issuer {issuer} may not vouch for the role {role}")]
    IssuerRole {
        /// Key identifier of the issuer.
        issuer: KeyIdentifier,
        /// Role of the certificate.
        role: Role,
    },
    /// The peer presented no certificate.
    #[error("no certificate was presented")]
    Missing,
    /// The issuer has no CRL in force.
    #[error(
        "there is no CRL of issuer {issuer}: `trust.crl` must have it, and `trust.intermediates` the issuer's certificate"
    )]
    NoCrl {
        /// Key identifier of the issuer.
        issuer: KeyIdentifier,
    },
    /// The identity or subject contains characters that an HTTP field cannot carry (RFC 9110, section 5.5).
    #[error("the certificate's identity or subject contains characters that an HTTP header cannot carry")]
    NotHeaderSafe,
    /// The certificate, or an issuer's, has been revoked.
    #[error("the certificate {serial_number} has been revoked")]
    Revoked {
        /// Serial number of the revoked certificate.
        serial_number: SerialNumber,
    },
}

impl PeerError {
    /// The error for rustls, which selects the TLS alert (RFC 8446, section 6.2).
    pub(in crate::mtls) fn to_rustls(&self) -> CertificateError {
        match self {
            Self::Chain(error) => match error {
                ChainError::BadSignature => CertificateError::BadSignature,
                ChainError::Expired { .. } => CertificateError::Expired,
                ChainError::Malformed(_) => CertificateError::BadEncoding,
                ChainError::NotYetValid { .. } => CertificateError::NotValidYet,
                ChainError::UnsupportedExtension => CertificateError::UnhandledCriticalExtension,
                ChainError::IssuerPurpose { .. } | ChainError::WrongPurpose { .. } => {
                    CertificateError::InvalidPurpose
                }
                ChainError::Nonconforming { .. } | ChainError::SerialNumber => CertificateError::BadEncoding,
                _ => CertificateError::UnknownIssuer,
            },
            Self::Host { .. } => CertificateError::NotValidForName,
            Self::CrlExpired { .. } | Self::NoCrl { .. } => CertificateError::UnknownRevocationStatus,
            Self::Identity(_) | Self::IssuerRole { .. } | Self::Missing | Self::NotHeaderSafe => {
                CertificateError::ApplicationVerificationFailure
            }
            Self::Revoked { .. } => CertificateError::Revoked,
        }
    }
}

impl From<ChainError> for PeerError {
    fn from(error: ChainError) -> Self {
        Self::Chain(error)
    }
}

impl Coded for PeerError {
    fn coded(&self) -> Code {
        match self {
            Self::Chain(error) | Self::Host { error, .. } => error.coded(),
            Self::CrlExpired { .. } => Code::refused("revocation.crl_expired"),
            Self::Identity(error) => error.coded(),
            Self::IssuerRole { .. } => Code::refused("identity.issuer_role"),
            Self::Missing => Code::refused("certificate.missing"),
            Self::NoCrl { .. } => Code::refused("revocation.no_crl"),
            Self::NotHeaderSafe => Code::refused("certificate.not_header_safe"),
            Self::Revoked { .. } => Code::refused("revocation.revoked"),
        }
    }
}

/// End of an accepted peer's right to stay connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapse {
    /// A certificate of the chain has expired.
    Expired,
    /// A certificate of the chain has been revoked.
    Revoked,
    /// The trust anchors, issuer roles or identity rules no longer accept the chain.
    TrustChanged,
}
