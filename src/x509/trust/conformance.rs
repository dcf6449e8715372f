//! Rules of RFC 5280, section 4.2 for each certificate of a path, which webpki does not check.

use crate::error::Code;
use crate::x509::certificate::Certificate;

/// Check the extensions of a leaf.
pub(super) fn check_leaf(certificate: &Certificate) -> Result<(), Nonconformity> {
    check_common(certificate)?;
    if certificate.key_usage.is_some_and(|usage| usage.key_cert_sign()) {
        return Err(Nonconformity::CertSignWithoutCa);
    }
    if certificate.name_constraints.is_some() {
        return Err(Nonconformity::NameConstraintsOfLeaf);
    }
    Ok(())
}

/// Check the extensions of a CA certificate, an anchor or not, apart from its `basicConstraints`.
pub(super) fn check_authority(certificate: &Certificate) -> Result<(), Nonconformity> {
    check_common(certificate)?;
    if certificate.basic_constraints.is_some_and(|constraints| !constraints.critical) {
        return Err(Nonconformity::BasicConstraintsNotCritical);
    }
    if certificate.subject.is_empty() {
        return Err(Nonconformity::NoSubject);
    }
    if !certificate.key_usage.is_some_and(|usage| usage.key_cert_sign()) {
        return Err(Nonconformity::IssuerKeyUsage);
    }
    if certificate.subject_key_identifier.is_none() {
        return Err(Nonconformity::NoSubjectKeyIdentifier);
    }
    if let Some(constraints) = &certificate.name_constraints {
        if !constraints.critical {
            return Err(Nonconformity::NameConstraintsNotCritical);
        }
        if let Some(why) = constraints.fault() {
            return Err(Nonconformity::NameConstraints { why });
        }
    }
    Ok(())
}

fn check_common(certificate: &Certificate) -> Result<(), Nonconformity> {
    let authority = certificate.authority_key_identifier.as_ref();
    if authority.is_some_and(|id| id.critical) {
        return Err(Nonconformity::AuthorityKeyIdentifierCritical);
    }
    if authority.and_then(|id| id.key_identifier.as_ref()).is_none() && !certificate.is_self_issued() {
        return Err(Nonconformity::NoAuthorityKeyIdentifier);
    }
    if certificate.subject_key_identifier_critical {
        return Err(Nonconformity::SubjectKeyIdentifierCritical);
    }
    if certificate.policy_constraints.is_some_and(|constraints| constraints.not_critical) {
        return Err(Nonconformity::PolicyConstraintsNotCritical);
    }
    Ok(())
}

/// Rule of RFC 5280 that a certificate violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Nonconformity {
    /// Critical authority key identifier (section 4.2.1.1).
    #[error("its authority key identifier is critical")]
    AuthorityKeyIdentifierCritical,
    /// CA whose basic constraints are not critical (section 4.2.1.9).
    #[error("its basicConstraints are not critical")]
    BasicConstraintsNotCritical,
    /// `keyCertSign` in a certificate that is not a CA's (section 4.2.1.3).
    #[error("its key usage includes keyCertSign, although it is not a CA certificate")]
    CertSignWithoutCa,
    /// Issuer without `keyCertSign` (section 6.1.4 (n)).
    #[error("its key usage does not include keyCertSign: it may not issue certificates")]
    IssuerKeyUsage,
    /// Invalid name constraints (section 4.2.1.10).
    #[error("its name constraints are not valid: {why}")]
    NameConstraints {
        /// Violated rule.
        why: &'static str,
    },
    /// Name constraints that are not critical (section 4.2.1.10).
    #[error("its name constraints are not critical")]
    NameConstraintsNotCritical,
    /// Name constraints in a certificate that is not a CA's (section 4.2.1.10).
    #[error("it has name constraints, although it is not a CA certificate")]
    NameConstraintsOfLeaf,
    /// Missing authority key identifier (section 4.2.1.1).
    #[error("it has no authority key identifier")]
    NoAuthorityKeyIdentifier,
    /// CA without a name (section 4.1.2.6).
    #[error("its subject is empty")]
    NoSubject,
    /// CA without a subject key identifier (section 4.2.1.2).
    #[error("it has no subject key identifier")]
    NoSubjectKeyIdentifier,
    /// Policy constraints that are not critical (sections 4.2.1.11 and 4.2.1.14).
    #[error("its policy constraints are not critical")]
    PolicyConstraintsNotCritical,
    /// Critical subject key identifier (section 4.2.1.2).
    #[error("its subject key identifier is critical")]
    SubjectKeyIdentifierCritical,
}

impl Nonconformity {
    /// Code of a certificate in the chain of a peer.
    pub(super) fn in_chain(self) -> Code {
        match self {
            Self::AuthorityKeyIdentifierCritical | Self::NoAuthorityKeyIdentifier => {
                Code::refused("chain.authority_key_identifier")
            }
            Self::BasicConstraintsNotCritical => Code::refused("chain.basic_constraints"),
            Self::CertSignWithoutCa => Code::refused("chain.cert_sign_without_ca"),
            Self::IssuerKeyUsage => Code::refused("chain.issuer_key_usage"),
            Self::NameConstraints { .. } | Self::NameConstraintsNotCritical | Self::NameConstraintsOfLeaf => {
                Code::refused("chain.name_constraints")
            }
            Self::NoSubject => Code::refused("chain.no_subject"),
            Self::NoSubjectKeyIdentifier => Code::refused("chain.issuer_key_identifier"),
            Self::PolicyConstraintsNotCritical => Code::refused("chain.policy_constraints"),
            Self::SubjectKeyIdentifierCritical => Code::refused("chain.subject_key_identifier"),
        }
    }

    /// Code of a trust anchor or an intermediate CA when it is loaded.
    pub(super) fn in_trust(self) -> Code {
        match self {
            Self::AuthorityKeyIdentifierCritical | Self::NoAuthorityKeyIdentifier => {
                Code::refused("trust.authority_key_identifier")
            }
            Self::BasicConstraintsNotCritical => Code::refused("trust.not_an_authority"),
            Self::CertSignWithoutCa | Self::IssuerKeyUsage => Code::refused("trust.key_usage"),
            Self::NameConstraints { .. } | Self::NameConstraintsNotCritical | Self::NameConstraintsOfLeaf => {
                Code::refused("trust.name_constraints")
            }
            Self::NoSubject => Code::refused("trust.no_subject"),
            Self::NoSubjectKeyIdentifier => Code::refused("trust.no_key_identifier"),
            Self::PolicyConstraintsNotCritical => Code::refused("trust.policy_constraints"),
            Self::SubjectKeyIdentifierCritical => Code::refused("trust.subject_key_identifier"),
        }
    }
}
