//! Trust anchors, checked when they are loaded and when they are used.

use time::OffsetDateTime;

use super::conformance::{self, Nonconformity};
use super::error::ChainError;
use crate::clock::rfc3339;
use crate::error::{Code, Coded};
use crate::x509::certificate::Certificate;
use crate::x509::error::X509Error;
use crate::x509::key_identifier::KeyIdentifier;
use crate::x509::sha256::Sha256;
use crate::x509::signed::{SignatureError, Signed};

/// Trusted root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustAnchor {
    /// Self-signed, and conforming to RFC 5280.
    pub certificate: Certificate,
    /// Subject key identifier, used by CRLs and chains.
    pub key_identifier: KeyIdentifier,
}

impl TrustAnchor {
    /// Check the validity of the anchor.
    pub(super) fn check_validity(&self, at: OffsetDateTime) -> Result<(), ChainError> {
        let certificate = &self.certificate;
        if certificate.is_valid_at(at) {
            return Ok(());
        }
        let (not_before, not_after) = (certificate.not_before, certificate.not_after);
        Err(ChainError::AnchorNotValid { not_before, not_after })
    }
}

/// Check that a certificate is fit as a trust anchor, and return its key identifier.
pub(super) fn lint(certificate: &Certificate, at: OffsetDateTime) -> Result<KeyIdentifier, AnchorError> {
    let own = lint_authority(certificate, at)?;
    let signer = certificate.authority_key_identifier.as_ref().and_then(|id| id.key_identifier.as_ref());
    if certificate.issuer.der != certificate.subject.der || signer.is_some_and(|signer| *signer != own) {
        return Err(AnchorError::NotSelfIssued);
    }
    signed(certificate)?.verify(&certificate.public_key_info).map_err(AnchorError::Signature)?;
    Ok(own)
}

/// Body and signature of a certificate.
pub(super) fn signed(certificate: &Certificate) -> Result<Signed<'_>, AnchorError> {
    Signed::from_der(&certificate.der)
        .map_err(|error| AnchorError::Unreadable { why: error.as_str().to_owned() })
}

/// Check the requirements of every CA certificate, root or not, and return its key identifier.
pub(super) fn lint_authority(
    certificate: &Certificate,
    at: OffsetDateTime,
) -> Result<KeyIdentifier, AnchorError> {
    if certificate.version != 3 {
        return Err(AnchorError::Version { version: certificate.version });
    }
    if at < certificate.not_before {
        return Err(AnchorError::NotYetValid { not_before: certificate.not_before });
    }
    if at > certificate.not_after {
        return Err(AnchorError::Expired { not_after: certificate.not_after });
    }
    match certificate.basic_constraints {
        Some(constraints) if constraints.ca && constraints.critical => {}
        _ => return Err(AnchorError::NotAnAuthority),
    }
    match certificate.key_usage {
        Some(usage) if usage.key_cert_sign() && usage.crl_sign() => {}
        _ => return Err(AnchorError::KeyUsage),
    }
    if let Some(oid) = certificate.unknown_critical_extensions.first() {
        return Err(AnchorError::UnknownCriticalExtension { oid: oid.clone() });
    }
    conformance::check_authority(certificate).map_err(AnchorError::Nonconforming)?;
    certificate.subject_key_identifier.clone().ok_or(AnchorError::NoKeyIdentifier)
}

/// Refusal of a trust bundle or of its intermediate CAs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// Unfit trust anchor.
    #[error("trust anchor {index} ({subject}, SHA-256 {fingerprint}) is refused")]
    Anchor {
        /// Position in the file, from 1.
        index: usize,
        /// Name of the refused root, as text.
        subject: String,
        /// SHA-256 of its DER.
        fingerprint: Sha256,
        /// Reason.
        #[source]
        fault: AnchorError,
    },
    /// Certificate that cannot be read.
    #[error("trust anchor {index} is refused")]
    AnchorUnreadable {
        /// Position in the file, from 1.
        index: usize,
        /// Cause.
        source: X509Error,
    },
    /// Unfit intermediate CA.
    #[error("intermediate CA {index} ({which}) is refused")]
    Intermediate {
        /// Position in the file, from 1.
        index: usize,
        /// Subject and fingerprint.
        which: String,
        /// Reason.
        #[source]
        fault: Box<AnchorError>,
    },
    /// Certificate of an intermediate CA that cannot be read.
    #[error("intermediate CA {index} is refused")]
    IntermediateUnreadable {
        /// Position in the file, from 1.
        index: usize,
        /// Cause.
        source: X509Error,
    },
    /// File of intermediate CAs without valid certificates.
    #[error("the intermediate CA certificates are unreadable")]
    IntermediatesUnreadable(#[source] X509Error),
    /// Trust bundle without valid certificates.
    #[error("the trust bundle is unreadable")]
    Unreadable(#[source] X509Error),
}

impl TrustError {
    /// True for a trust anchor, as opposed to an intermediate CA.
    #[must_use]
    pub const fn is_of_anchor(&self) -> bool {
        matches!(self, Self::Anchor { .. } | Self::AnchorUnreadable { .. })
    }
}

impl Coded for TrustError {
    fn coded(&self) -> Code {
        match self {
            Self::Anchor { fault, .. } => fault.coded(),
            Self::Intermediate { fault, .. } => fault.coded(),
            Self::AnchorUnreadable { source, .. }
            | Self::IntermediateUnreadable { source, .. }
            | Self::IntermediatesUnreadable(source)
            | Self::Unreadable(source) => source.coded(),
        }
    }
}

/// Unfitness of a trust anchor or an intermediate CA.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// Same subject and key as another trust anchor.
    #[error("it has the subject and key of trust anchor {other}")]
    Duplicate {
        /// Position of the other one, which expires later or comes first, from 1.
        other: usize,
    },
    /// Same certificate as another intermediate CA.
    #[error("it is the same certificate as intermediate CA {earlier}")]
    DuplicateIntermediate {
        /// Position of the other one, from 1.
        earlier: usize,
    },
    /// `notAfter` has passed.
    #[error("it expired at {}", rfc3339(*not_after))]
    Expired {
        /// Expiry.
        not_after: OffsetDateTime,
    },
    /// Key identifier of another trust anchor.
    #[error("its subject key identifier is that of trust anchor {earlier}")]
    KeyIdentifierTaken {
        /// Position of the other one, from 1.
        earlier: usize,
    },
    /// Key identifier of another CA's key.
    #[error("its subject key identifier is that of another CA's key")]
    KeyIdentifierOfAnother,
    /// Key usage without both `keyCertSign` and `cRLSign`.
    #[error("its key usage does not include both keyCertSign and cRLSign")]
    KeyUsage,
    /// No path to a trust anchor, including through the other intermediate CAs.
    #[error("no trust anchor issued it, directly or through the other intermediate CAs")]
    NoIssuer,
    /// Violation of RFC 5280.
    #[error("it violates RFC 5280")]
    Nonconforming(#[source] Nonconformity),
    /// Missing subject key identifier.
    #[error("it has no subject key identifier")]
    NoKeyIdentifier,
    /// No critical `basicConstraints` with `CA:TRUE`.
    #[error("it has no critical basicConstraints with CA:TRUE")]
    NotAnAuthority,
    /// Other issuer, by name or by key identifier.
    #[error("it is not self-issued: only self-signed roots can be trust anchors")]
    NotSelfIssued,
    /// `notBefore` is in the future.
    #[error("it is not valid before {}", rfc3339(*not_before))]
    NotYetValid {
        /// Start of its validity.
        not_before: OffsetDateTime,
    },
    /// Path length of a CA above it exceeded.
    #[error("the path length of a CA above it is exceeded")]
    PathTooLong,
    /// Root among intermediate CAs.
    #[error("it is self-signed: a root belongs in the trust bundle")]
    SelfSigned,
    /// Signature by another key.
    #[error("it is not signed by its own key")]
    Signature(#[source] SignatureError),
    /// Critical extension that this program does not process (RFC 5280, section 4.2).
    #[error("its critical extension {oid} is unknown")]
    UnknownCriticalExtension {
        /// Object identifier.
        oid: String,
    },
    /// Not readable as a trust anchor.
    #[error("it is unreadable as a trust anchor: {why}")]
    Unreadable {
        /// Violated rule.
        why: String,
    },
    /// Version other than 3.
    #[error("it is an X.509 certificate of version {version}, not 3")]
    Version {
        /// Version found.
        version: u32,
    },
}

impl Coded for AnchorError {
    fn coded(&self) -> Code {
        match self {
            Self::Duplicate { .. } | Self::DuplicateIntermediate { .. } => Code::refused("trust.duplicate"),
            Self::Expired { .. } => Code::refused("trust.expired"),
            Self::KeyIdentifierOfAnother | Self::KeyIdentifierTaken { .. } => {
                Code::refused("trust.key_identifier_taken")
            }
            Self::KeyUsage => Code::refused("trust.key_usage"),
            Self::Nonconforming(rule) => rule.in_trust(),
            Self::NoIssuer => Code::refused("trust.no_issuer"),
            Self::NoKeyIdentifier => Code::refused("trust.no_key_identifier"),
            Self::NotAnAuthority => Code::refused("trust.not_an_authority"),
            Self::NotSelfIssued => Code::refused("trust.not_self_issued"),
            Self::NotYetValid { .. } => Code::refused("trust.not_yet_valid"),
            Self::PathTooLong => Code::refused("trust.path_too_long"),
            Self::SelfSigned => Code::refused("trust.self_signed"),
            Self::Signature(_) => Code::refused("trust.signature"),
            Self::UnknownCriticalExtension { .. } => Code::refused("trust.unknown_critical_extension"),
            Self::Unreadable { .. } => Code::refused("trust.unreadable"),
            Self::Version { .. } => Code::refused("trust.version"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::pem;
    use crate::x509::testing::{Root, UNFIT_AUTHORITIES, authority, now};
    use crate::x509::trust::TrustBundle;
    use rcgen::{CertificateParams, CertifiedIssuer, KeyIdMethod, KeyPair};

    fn bundle_code(pem: &str) -> &'static str {
        TrustBundle::from_pem(pem.as_bytes(), now()).unwrap_err().code()
    }

    fn refused_root(change: impl FnOnce(&mut CertificateParams)) -> &'static str {
        let mut params = authority("root");
        change(&mut params);
        bundle_code(&Root::with(params).pem())
    }

    #[test]
    fn an_unfit_root_is_refused_with_its_reason() {
        for (code, change) in UNFIT_AUTHORITIES {
            assert_eq!(refused_root(change), *code);
        }
        let (root, other) = (Root::new("root"), Root::new("root"));
        let cross =
            CertifiedIssuer::signed_by(authority("root"), KeyPair::generate().unwrap(), &other.0).unwrap();
        assert_eq!(bundle_code(&pem::pem("CERTIFICATE", cross.der())), "trust.not_self_issued");
        let mut forged = root.der().to_vec();
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(bundle_code(&pem::pem("CERTIFICATE", &forged)), "trust.signature");
    }

    #[test]
    fn a_root_with_odd_extensions_is_refused() {
        /// Root signed again after flipping `bits` of the octet at `offset` after `pattern`.
        fn changed(pattern: &[u8], offset: usize, bits: u8) -> &'static str {
            let root = Root::new("root");
            let der = root.resign(root.der(), |fields| {
                let field =
                    fields.iter_mut().find(|f| f.windows(pattern.len()).any(|w| w == pattern)).unwrap();
                let at = field.windows(pattern.len()).position(|w| w == pattern).unwrap();
                field[at + offset] ^= bits;
            });
            bundle_code(&pem::pem("CERTIFICATE", &der))
        }
        const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 35, 4, 24, 0x30, 22, 0x80, 20];
        const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19, 1, 1, 0xff];
        const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 14];
        const VERSION: &[u8] = &[0xa0, 3, 2, 1, 2];
        assert_eq!(changed(AUTHORITY_KEY_IDENTIFIER, 9, 1), "trust.not_self_issued");
        assert_eq!(changed(BASIC_CONSTRAINTS, 5, 0xff), "trust.not_an_authority");
        assert_eq!(changed(SUBJECT_KEY_IDENTIFIER, 2, 0x40), "trust.no_key_identifier");
        assert_eq!(changed(VERSION, 4, 3), "trust.version");
    }

    #[test]
    fn ambiguous_anchors_are_refused() {
        let (a, b) = (Root::new("root"), Root::new("root"));
        assert_eq!(bundle_code(&format!("{}{}", a.pem(), a.pem())), "trust.duplicate");
        assert!(TrustBundle::from_pem(format!("{}{}", a.pem(), b.pem()).as_bytes(), now()).is_ok());
        let with_id = |name| {
            let mut params = authority(name);
            params.key_identifier_method = KeyIdMethod::PreSpecified(vec![7; 20]);
            Root::with(params).pem()
        };
        let taken = format!("{}{}", with_id("a"), with_id("b"));
        match TrustBundle::from_pem(taken.as_bytes(), now()).unwrap_err() {
            TrustError::Anchor {
                index: 2, fault: AnchorError::KeyIdentifierTaken { earlier: 1 }, ..
            } => {}
            other => panic!("{other:?}"),
        }
    }
}
