//! One trust anchor, judged before it is trusted and on the day of use.

use time::OffsetDateTime;

use super::error::ChainError;
use crate::clock::rfc3339;
use crate::x509::certificate::Certificate;
use crate::x509::error::X509Error;
use crate::x509::key_identifier::KeyIdentifier;
use crate::x509::sha256::Sha256;
use crate::x509::signed::{SignatureError, Signed};

/// A root that is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustAnchor {
    /// Its certificate.
    pub certificate: Certificate,
    /// Its subject key identifier, by which CRLs and chains name it.
    pub key_identifier: KeyIdentifier,
}

impl TrustAnchor {
    /// What webpki does not look at in an anchor, on the day of use.
    pub(super) fn check_issues_at(&self, at: OffsetDateTime, intermediates: usize) -> Result<(), ChainError> {
        let certificate = &self.certificate;
        if !certificate.is_valid_at(at) {
            return Err(ChainError::AnchorNotValid {
                not_before: certificate.not_before,
                not_after: certificate.not_after,
            });
        }
        let allowed = certificate.basic_constraints.and_then(|constraints| constraints.path_length);
        match allowed.map(usize::try_from) {
            Some(Ok(allowed)) if intermediates > allowed => Err(ChainError::PathTooLong),
            _ => Ok(()),
        }
    }
}

/// Judges a root before it is trusted, and gives the identifier of its key.
pub(super) fn lint(certificate: &Certificate, at: OffsetDateTime) -> Result<KeyIdentifier, AnchorFault> {
    let own = lint_authority(certificate, at)?;
    let signer = certificate.authority_key_identifier.as_ref().and_then(|id| id.key_identifier.as_ref());
    if certificate.issuer.der != certificate.subject.der || signer.is_some_and(|signer| *signer != own) {
        return Err(AnchorFault::NotSelfIssued);
    }
    signed(certificate)?.verify(&certificate.public_key_info).map_err(AnchorFault::Signature)?;
    Ok(own)
}

/// A certificate as something signed.
pub(super) fn signed(certificate: &Certificate) -> Result<Signed<'_>, AnchorFault> {
    Signed::from_der(&certificate.der)
        .map_err(|error| AnchorFault::Unreadable { why: error.as_str().to_owned() })
}

/// Judges what every authority must be, root or not, and gives the identifier of its key.
pub(super) fn lint_authority(
    certificate: &Certificate,
    at: OffsetDateTime,
) -> Result<KeyIdentifier, AnchorFault> {
    if certificate.version != 3 {
        return Err(AnchorFault::Version { version: certificate.version });
    }
    if at < certificate.not_before {
        return Err(AnchorFault::NotYetValid { not_before: certificate.not_before });
    }
    if at > certificate.not_after {
        return Err(AnchorFault::Expired { not_after: certificate.not_after });
    }
    match certificate.basic_constraints {
        Some(constraints) if constraints.ca && constraints.critical => {}
        _ => return Err(AnchorFault::NotAnAuthority),
    }
    match certificate.key_usage {
        Some(usage) if usage.key_cert_sign() && usage.crl_sign() => {}
        _ => return Err(AnchorFault::KeyUsage),
    }
    if let Some(oid) = certificate.unknown_critical_extensions.first() {
        return Err(AnchorFault::UnknownCriticalExtension { oid: oid.clone() });
    }
    certificate.subject_key_identifier.clone().ok_or(AnchorFault::NoKeyIdentifier)
}

/// Why a trust bundle, or the authorities below it, are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// One of its certificates must not be trusted.
    #[error("trust anchor {index} ({subject}, SHA-256 {fingerprint}) is refused")]
    Anchor {
        /// Its place in the file, from 1.
        index: usize,
        /// Its subject.
        subject: String,
        /// Its fingerprint.
        fingerprint: Sha256,
        /// What is wrong with it.
        #[source]
        fault: AnchorFault,
    },
    /// One of the authorities below the trust anchors must not be believed.
    #[error("intermediate authority {index} ({which}) is refused")]
    Intermediate {
        /// Its place in the file, from 1.
        index: usize,
        /// Its subject and fingerprint.
        which: String,
        /// What is wrong with it.
        #[source]
        fault: Box<AnchorFault>,
    },
    /// The file of intermediate authorities is not one or more certificates.
    #[error("the intermediate authorities cannot be read")]
    IntermediatesUnreadable(#[source] X509Error),
    /// The file is not one or more certificates.
    #[error("the trust bundle cannot be read")]
    Unreadable(#[source] X509Error),
}

impl TrustError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Anchor { fault, .. } => fault.code(),
            Self::Intermediate { fault, .. } => fault.code(),
            Self::IntermediatesUnreadable(source) | Self::Unreadable(source) => source.code(),
        }
    }
}

/// What is wrong with a trust anchor, or with an authority below one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorFault {
    /// The same subject and key stand in the bundle already.
    #[error("it has the subject and key of trust anchor {earlier}")]
    Duplicate {
        /// The place of the other one, from 1.
        earlier: usize,
    },
    /// The same certificate stands in the file already.
    #[error("it is the same certificate as intermediate authority {earlier}")]
    DuplicateIntermediate {
        /// The place of the other one, from 1.
        earlier: usize,
    },
    /// It has ended.
    #[error("it expired at {}", rfc3339(*not_after))]
    Expired {
        /// When.
        not_after: OffsetDateTime,
    },
    /// Another anchor, with another name or key, bears the same key identifier.
    #[error("its subject key identifier is that of trust anchor {earlier}")]
    KeyIdentifierTaken {
        /// The place of the other one, from 1.
        earlier: usize,
    },
    /// Another authority, with another key, bears the same key identifier.
    #[error("its subject key identifier is that of another authority's key")]
    KeyIdentifierOfAnother,
    /// Its key may not sign both certificates and CRLs.
    #[error("its key usage does not include both keyCertSign and cRLSign")]
    KeyUsage,
    /// None of the trust anchors issued it, not even through the others of its file.
    #[error("no trust anchor issued it, not even through the other intermediate authorities")]
    NoIssuer,
    /// It has no subject key identifier.
    #[error("it has no subject key identifier")]
    NoKeyIdentifier,
    /// It is not a certificate authority's, or does not say so critically.
    #[error("it has no critical basicConstraints with CA:TRUE")]
    NotAnAuthority,
    /// Somebody else issued it, by name or by key identifier.
    #[error("its issuer is not itself: only self-signed roots are trusted")]
    NotSelfIssued,
    /// It has not begun.
    #[error("it is not valid before {}", rfc3339(*not_before))]
    NotYetValid {
        /// When it begins.
        not_before: OffsetDateTime,
    },
    /// An authority above it allows none at its depth.
    #[error("an authority above it allows no further authority below itself")]
    PathTooLong,
    /// It is a root.
    #[error("it is self-signed: a root belongs in the trust bundle, or nowhere")]
    SelfSigned,
    /// Its signature is not its own key's.
    #[error("it is not signed by its own key")]
    Signature(#[source] SignatureError),
    /// A critical extension that is not understood.
    #[error("its critical extension {oid} is not understood")]
    UnknownCriticalExtension {
        /// Which.
        oid: String,
    },
    /// It cannot be read as a trust anchor.
    #[error("it cannot be read as a trust anchor: {why}")]
    Unreadable {
        /// Where it went wrong.
        why: String,
    },
    /// Not an X.509 version 3 certificate.
    #[error("it is an X.509 certificate of version {version}, not 3")]
    Version {
        /// Which version it is.
        version: u32,
    },
}

impl AnchorFault {
    /// The stable code of this fault.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Duplicate { .. } | Self::DuplicateIntermediate { .. } => "trust.duplicate",
            Self::Expired { .. } => "trust.expired",
            Self::KeyIdentifierOfAnother | Self::KeyIdentifierTaken { .. } => "trust.key_identifier_taken",
            Self::KeyUsage => "trust.key_usage",
            Self::NoIssuer => "trust.no_issuer",
            Self::NoKeyIdentifier => "trust.no_key_identifier",
            Self::NotAnAuthority => "trust.not_an_authority",
            Self::NotSelfIssued => "trust.not_self_issued",
            Self::NotYetValid { .. } => "trust.not_yet_valid",
            Self::PathTooLong => "trust.path_too_long",
            Self::SelfSigned => "trust.self_signed",
            Self::Signature(_) => "trust.signature",
            Self::UnknownCriticalExtension { .. } => "trust.unknown_critical_extension",
            Self::Unreadable { .. } => "trust.unreadable",
            Self::Version { .. } => "trust.version",
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
    fn an_unfit_root_is_refused_by_its_fault() {
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
        /// A root signed anew after `bits` of the octet that stands `offset` after `pattern` were flipped.
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
    fn anchors_that_could_be_taken_for_each_other_are_refused() {
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
                index: 2, fault: AnchorFault::KeyIdentifierTaken { earlier: 1 }, ..
            } => {}
            other => panic!("{other:?}"),
        }
    }
}
