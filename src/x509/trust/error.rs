//! Errors of chain verification, and their translation from webpki.

use time::OffsetDateTime;

use super::conformance::Nonconformity;
use super::purpose::Purpose;
use crate::clock::rfc3339;
use crate::error::{Code, Coded};
use crate::x509::certificate::Certificate;
use crate::x509::error::X509Error;

/// Refusal of a certificate chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// Root not valid at that time.
    #[error("its root is valid only from {} to {}", rfc3339(*not_before), rfc3339(*not_after))]
    AnchorNotValid {
        /// Start of its validity.
        not_before: OffsetDateTime,
        /// End of its validity.
        not_after: OffsetDateTime,
    },
    /// Signature in the chain by another key than that of the named issuer.
    #[error("a signature in its chain was not made by the named issuer")]
    BadSignature,
    /// CA certificate instead of a leaf.
    #[error("it is a CA certificate")]
    CaAsLeaf,
    /// Expired certificate in the chain.
    #[error("a certificate of the chain expired at {}", rfc3339(*not_after))]
    Expired {
        /// Expiry.
        not_after: OffsetDateTime,
    },
    /// Intermediate CA with the subject key identifier of another key.
    #[error("an intermediate CA has no subject key identifier of its own")]
    IssuerKeyIdentifier,
    /// Extended key usage of an issuer or of the anchor that does not include the purpose.
    #[error("the extended key usage of its issuer `{issuer}` excludes {wanted} certificates")]
    IssuerPurpose {
        /// Subject of the issuer.
        issuer: String,
        /// Required purpose.
        wanted: Purpose,
    },
    /// Key usage of the leaf without `digitalSignature`, which TLS needs.
    #[error("its key usage does not include digitalSignature")]
    KeyUsage,
    /// Certificate in the chain issued by a leaf.
    #[error("it was issued by a certificate that is not a CA certificate")]
    LeafAsCa,
    /// Malformed certificate in the chain.
    #[error("a certificate of the chain is malformed")]
    Malformed(#[source] X509Error),
    /// Name outside the name constraints of a CA in the chain.
    #[error("it has a name that the name constraints of an issuer exclude")]
    NameConstraint,
    /// Certificate in the chain that RFC 5280 forbids.
    #[error("the certificate `{subject}` of its chain violates RFC 5280")]
    Nonconforming {
        /// Subject of the certificate.
        subject: String,
        /// Violated rule.
        #[source]
        rule: Nonconformity,
    },
    /// No certificate policy that a CA above requires.
    #[error("its chain has no certificate policy, although an issuer requires one")]
    NoPolicy,
    /// Certificate in the chain that is not yet valid.
    #[error("a certificate of the chain is not valid before {}", rfc3339(*not_before))]
    NotYetValid {
        /// Start of its validity.
        not_before: OffsetDateTime,
    },
    /// More intermediate CAs than a CA above them or the verifier allows.
    #[error("its chain has more intermediate CAs than allowed")]
    PathTooLong,
    /// Serial number that is not positive, or too long.
    #[error("the serial number of a certificate of the chain is not a positive number of at most 20 octets")]
    SerialNumber,
    /// Too many candidate chains.
    #[error("its chain is too complex to build")]
    TooComplex,
    /// No path to a trust anchor, including through the presented intermediate CAs.
    #[error("no trusted root issued it")]
    UnknownIssuer,
    /// Unsupported signature algorithm.
    #[error("a signature in its chain has an unsupported algorithm")]
    UnsupportedAlgorithm,
    /// Unknown critical extension.
    #[error("a certificate of the chain has an unknown critical extension")]
    UnsupportedExtension,
    /// Leaf with a key that no TLS handshake can prove.
    #[error("its key is not supported by TLS: {found}")]
    UnsupportedKey {
        /// Type of the key.
        found: String,
    },
    /// Version other than 3.
    #[error("a certificate of the chain is not X.509 version 3")]
    UnsupportedVersion,
    /// Certificate of another host.
    #[error("it is not valid for the host")]
    WrongName,
    /// Certificate for other purposes.
    #[error("it may not be used as a {wanted} certificate")]
    WrongPurpose {
        /// Required purpose.
        wanted: Purpose,
    },
}

impl ChainError {
    /// Refusal of a certificate that violates `rule`.
    pub(super) fn nonconforming(certificate: &Certificate, rule: Nonconformity) -> Self {
        Self::Nonconforming { subject: certificate.subject.to_string(), rule }
    }

    /// Translate an error of webpki. Those about paths and CRLs can't occur, because it builds no path.
    pub(super) fn from_webpki(error: &webpki::Error) -> Self {
        use webpki::Error;
        match error {
            Error::CertNotValidForName(_) => Self::WrongName,
            Error::UnsupportedCertVersion => Self::UnsupportedVersion,
            Error::UnsupportedCriticalExtension => Self::UnsupportedExtension,
            other => Self::Malformed(X509Error::Malformed { what: "certificate", why: other.to_string() }),
        }
    }
}

impl From<X509Error> for ChainError {
    fn from(error: X509Error) -> Self {
        match error {
            X509Error::SerialNumberRange => Self::SerialNumber,
            other => Self::Malformed(other),
        }
    }
}

impl Coded for ChainError {
    fn coded(&self) -> Code {
        match self {
            Self::AnchorNotValid { .. } => Code::refused("chain.anchor_not_valid"),
            Self::BadSignature => Code::refused("chain.bad_signature"),
            Self::CaAsLeaf => Code::refused("chain.ca_as_leaf"),
            Self::Expired { .. } => Code::refused("chain.expired"),
            Self::IssuerKeyIdentifier => Code::refused("chain.issuer_key_identifier"),
            Self::IssuerPurpose { .. } => Code::refused("chain.issuer_purpose"),
            Self::KeyUsage => Code::refused("chain.key_usage"),
            Self::LeafAsCa => Code::refused("chain.leaf_as_ca"),
            Self::Malformed(_) => Code::refused("chain.malformed"),
            Self::NameConstraint => Code::refused("chain.name_constraint"),
            Self::NoPolicy => Code::refused("chain.no_policy"),
            Self::Nonconforming { rule, .. } => rule.in_chain(),
            Self::NotYetValid { .. } => Code::refused("chain.not_yet_valid"),
            Self::PathTooLong => Code::refused("chain.path_too_long"),
            Self::SerialNumber => Code::refused("chain.serial_number"),
            Self::TooComplex => Code::refused("chain.too_complex"),
            Self::UnknownIssuer => Code::refused("chain.unknown_issuer"),
            Self::UnsupportedAlgorithm => Code::refused("chain.unsupported_algorithm"),
            Self::UnsupportedExtension => Code::refused("chain.unsupported_extension"),
            Self::UnsupportedKey { .. } => Code::refused("chain.unsupported_key"),
            Self::UnsupportedVersion => Code::refused("chain.unsupported_version"),
            Self::WrongName => Code::refused("chain.wrong_name"),
            Self::WrongPurpose { .. } => Code::refused("chain.wrong_purpose"),
        }
    }
}
