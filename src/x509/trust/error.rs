//! Why a chain is refused, and the one place that knows webpki's reasons.

use rustls_pki_types::UnixTime;
use time::OffsetDateTime;

use super::purpose::Purpose;
use crate::clock::rfc3339;
use crate::x509::error::X509Error;

/// Why a chain is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The root that the chain ends at is not valid at that time.
    #[error("its root is valid from {} to {} only", rfc3339(*not_before), rfc3339(*not_after))]
    AnchorNotValid {
        /// When the root begins.
        not_before: OffsetDateTime,
        /// When the root ends.
        not_after: OffsetDateTime,
    },
    /// A signature in the chain was not made by the key of the issuer it names.
    #[error("a signature in its chain was not made by the issuer that it names")]
    BadSignature,
    /// A certificate authority's certificate, where that of a peer is due.
    #[error("it is a certificate authority's certificate")]
    CaAsLeaf,
    /// A certificate of the chain has ended.
    #[error("a certificate of the chain expired at {}", rfc3339(*not_after))]
    Expired {
        /// When.
        not_after: OffsetDateTime,
    },
    /// An intermediate authority without key identifier, or with that of another.
    #[error("an intermediate authority has no key identifier of its own")]
    IssuerKeyIdentifier,
    /// The leaf's key may not make the signatures of TLS.
    #[error("its key usage does not include digitalSignature")]
    KeyUsage,
    /// A certificate in the chain was issued by one that is no authority's.
    #[error("it was issued by a certificate that is not a certificate authority's")]
    LeafAsCa,
    /// A certificate of the chain cannot be read.
    #[error("a certificate of the chain cannot be read")]
    Malformed(#[source] X509Error),
    /// A name that an authority of the chain may not issue for.
    #[error("it has a name that one of its issuers may not issue for")]
    NameConstraint,
    /// A certificate of the chain has not begun.
    #[error("a certificate of the chain is not valid before {}", rfc3339(*not_before))]
    NotYetValid {
        /// When it begins.
        not_before: OffsetDateTime,
    },
    /// More authorities than one of them allows below itself, or than anybody needs.
    #[error("there are more intermediate authorities in its chain than allowed")]
    PathTooLong,
    /// Too many possible chains to try.
    #[error("there are too many ways to build its chain")]
    TooComplex,
    /// No trusted root issued it, not even through the intermediates that came along.
    #[error("no trusted root issued it")]
    UnknownIssuer,
    /// A signature algorithm, or kind of key, that is not believed.
    #[error("a signature in its chain is of an algorithm that is not supported")]
    UnsupportedAlgorithm,
    /// A critical extension that is not understood.
    #[error("a certificate of the chain has a critical extension that is not understood")]
    UnsupportedExtension,
    /// Not X.509 version 3.
    #[error("a certificate of the chain is not of X.509 version 3")]
    UnsupportedVersion,
    /// It does not name the host that was meant.
    #[error("it does not name the host")]
    WrongName,
    /// It is not for this purpose.
    #[error("it may not be used as a {wanted} certificate")]
    WrongPurpose {
        /// What it was to be used as.
        wanted: Purpose,
    },
}

impl ChainError {
    /// The one place where webpki's errors become ours. Its variants about CRLs cannot occur, since
    /// it is never given one.
    pub(super) fn from_webpki(error: &webpki::Error, purpose: Purpose) -> Self {
        use webpki::Error;
        match error {
            Error::CaUsedAsEndEntity => Self::CaAsLeaf,
            Error::CertExpired { not_after, .. } => Self::Expired { not_after: date(*not_after) },
            Error::CertNotValidForName(_) => Self::WrongName,
            Error::CertNotValidYet { not_before, .. } => Self::NotYetValid { not_before: date(*not_before) },
            Error::EndEntityUsedAsCa => Self::LeafAsCa,
            Error::InvalidSignatureForPublicKey => Self::BadSignature,
            Error::MaximumNameConstraintComparisonsExceeded
            | Error::MaximumPathBuildCallsExceeded
            | Error::MaximumSignatureChecksExceeded => Self::TooComplex,
            Error::MaximumPathDepthExceeded | Error::PathLenConstraintViolated => Self::PathTooLong,
            Error::NameConstraintViolation => Self::NameConstraint,
            Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
                Self::WrongPurpose { wanted: purpose }
            }
            Error::UnknownIssuer | Error::CertDistrusted => Self::UnknownIssuer,
            Error::UnsupportedCertVersion => Self::UnsupportedVersion,
            Error::UnsupportedCriticalExtension => Self::UnsupportedExtension,
            Error::UnsupportedSignatureAlgorithmContext(_)
            | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Self::UnsupportedAlgorithm,
            other => Self::Malformed(X509Error::Malformed { what: "certificate", why: other.to_string() }),
        }
    }

    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::AnchorNotValid { .. } => "chain.anchor_not_valid",
            Self::BadSignature => "chain.bad_signature",
            Self::CaAsLeaf => "chain.ca_as_leaf",
            Self::Expired { .. } => "chain.expired",
            Self::IssuerKeyIdentifier => "chain.issuer_key_identifier",
            Self::KeyUsage => "chain.key_usage",
            Self::LeafAsCa => "chain.leaf_as_ca",
            Self::Malformed(_) => "chain.malformed",
            Self::NameConstraint => "chain.name_constraint",
            Self::NotYetValid { .. } => "chain.not_yet_valid",
            Self::PathTooLong => "chain.path_too_long",
            Self::TooComplex => "chain.too_complex",
            Self::UnknownIssuer => "chain.unknown_issuer",
            Self::UnsupportedAlgorithm => "chain.unsupported_algorithm",
            Self::UnsupportedExtension => "chain.unsupported_extension",
            Self::UnsupportedVersion => "chain.unsupported_version",
            Self::WrongName => "chain.wrong_name",
            Self::WrongPurpose { .. } => "chain.wrong_purpose",
        }
    }
}

fn date(time: UnixTime) -> OffsetDateTime {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
