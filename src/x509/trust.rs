//! What a verifier trusts, and checking a chain against it (RFC 5280, section 6).
//!
//! webpki builds and checks the path; what it takes on faith, we check: the trust anchors
//! themselves when they are loaded, and on every path the anchor's validity and path length, and
//! that the leaf says in words what it may be used for. Revocation is judged elsewhere, on the
//! [`VerifiedChain`] that comes out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde::Serialize;
use time::OffsetDateTime;
use webpki::EndEntityCert;

use super::signed::ALGORITHMS;
use super::{
    Certificate, ExtendedKeyUsage, KeyIdentifier, SerialNumber, Sha256, SignatureError, Signed, X509Error,
    pem,
};
use crate::clock::rfc3339;

/// A root that is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustAnchor {
    /// Its certificate.
    pub certificate: Certificate,
    /// Its subject key identifier, by which CRLs and chains name it.
    pub key_identifier: KeyIdentifier,
}

/// The roots that are trusted, each found to be fit for it. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct TrustBundle(Arc<Anchors>);

#[derive(Debug)]
struct Anchors {
    anchors: Vec<TrustAnchor>,
    /// The same, in the same order, as webpki wants them.
    webpki: Vec<rustls_pki_types::TrustAnchor<'static>>,
    fingerprint: Sha256,
}

impl TrustBundle {
    /// Reads a bundle, PEM or DER, and refuses it whole when one of its anchors is unfit at `at`.
    ///
    /// # Errors
    /// [`TrustError`] naming the first unfit anchor and its fault, or what cannot be read.
    pub fn from_pem(bytes: &[u8], at: OffsetDateTime) -> Result<Self, TrustError> {
        let certificates = pem::certificates(bytes).map_err(TrustError::Unreadable)?;
        let mut anchors: Vec<TrustAnchor> = Vec::with_capacity(certificates.len());
        let mut webpki = Vec::with_capacity(certificates.len());
        for (index, certificate) in (1..).zip(certificates) {
            let refused = |fault| TrustError::Anchor {
                index,
                subject: certificate.subject.to_string(),
                fingerprint: certificate.fingerprint(),
                fault,
            };
            let key_identifier = lint(&certificate, at).map_err(refused)?;
            for (earlier, anchor) in (1..).zip(&anchors) {
                if anchor.certificate.public_key_info == certificate.public_key_info
                    && anchor.certificate.subject.der == certificate.subject.der
                {
                    return Err(refused(AnchorFault::Duplicate { earlier }));
                }
                if anchor.key_identifier == key_identifier {
                    return Err(refused(AnchorFault::KeyIdentifierTaken { earlier }));
                }
            }
            let anchor = webpki::anchor_from_trusted_cert(&certificate.der)
                .map_err(|error| refused(AnchorFault::Unreadable { why: error.to_string() }))?;
            webpki.push(anchor.to_owned());
            anchors.push(TrustAnchor { certificate, key_identifier });
        }
        let mut digests: Vec<_> = anchors.iter().map(|anchor| anchor.certificate.fingerprint().0).collect();
        digests.sort_unstable();
        let fingerprint = Sha256::of(digests.as_flattened());
        Ok(Self(Arc::new(Anchors { anchors, webpki, fingerprint })))
    }

    /// The anchors, in the file's order.
    #[must_use]
    pub fn anchors(&self) -> &[TrustAnchor] {
        &self.0.anchors
    }

    /// The anchor of this key.
    #[must_use]
    pub fn anchor(&self, key_identifier: &KeyIdentifier) -> Option<&TrustAnchor> {
        self.0.anchors.iter().find(|anchor| anchor.key_identifier == *key_identifier)
    }

    /// A digest of which anchors there are, whatever their order: it changes exactly when what is
    /// trusted changes.
    #[must_use]
    pub fn fingerprint(&self) -> Sha256 {
        self.0.fingerprint
    }

    /// Verifies that a certificate chains to an anchor and may be used for `purpose` at `at`.
    /// Revocation is not looked at.
    ///
    /// # Errors
    /// [`ChainError`] with the rule that the chain breaks.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        purpose: Purpose,
        at: OffsetDateTime,
    ) -> Result<VerifiedChain, ChainError> {
        let refused = |error| ChainError::from_webpki(&error, purpose);
        let end_entity = EndEntityCert::try_from(leaf).map_err(refused)?;
        let seconds = u64::try_from(at.unix_timestamp()).unwrap_or_default();
        let path = end_entity
            .verify_for_usage(
                ALGORITHMS,
                &self.0.webpki,
                intermediates,
                UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
                purpose.webpki(),
                None,
                None,
            )
            .map_err(refused)?;
        let anchor = (self.0.webpki.iter().zip(&self.0.anchors))
            .find_map(|(candidate, anchor)| (candidate == path.anchor()).then_some(anchor))
            .ok_or(ChainError::UnknownIssuer)?;
        anchor.check_issues_at(at, path.intermediate_certificates().count())?;

        let leaf = Certificate::from_der(leaf).map_err(ChainError::Malformed)?;
        check_leaf(&leaf, purpose)?;
        // From the anchor down to the leaf, so that each link knows the key that signed it.
        let mut links = Vec::with_capacity(1);
        let mut issuer = anchor.key_identifier.clone();
        let mut expires = leaf.not_after.min(anchor.certificate.not_after);
        for intermediate in path.intermediate_certificates().rev() {
            let certificate = Certificate::from_der(&intermediate.der()).map_err(ChainError::Malformed)?;
            let next = self.intermediate_key(&certificate)?;
            links.push(Link { issuer, serial_number: certificate.serial_number });
            expires = expires.min(certificate.not_after);
            issuer = next;
        }
        links.push(Link { issuer, serial_number: leaf.serial_number });
        links.reverse();
        Ok(VerifiedChain { leaf, links, anchor: anchor.key_identifier.clone(), expires })
    }

    /// The identifier of an intermediate authority's key. It may not bear that of an anchor whose
    /// key it does not have: its certificates would be looked for in the anchor's CRL.
    fn intermediate_key(&self, certificate: &Certificate) -> Result<KeyIdentifier, ChainError> {
        let key_identifier =
            certificate.subject_key_identifier.clone().ok_or(ChainError::IssuerKeyIdentifier)?;
        match self.anchor(&key_identifier) {
            Some(anchor) if anchor.certificate.public_key_info != certificate.public_key_info => {
                Err(ChainError::IssuerKeyIdentifier)
            }
            _ => Ok(key_identifier),
        }
    }
}

impl TrustAnchor {
    /// What webpki does not look at in an anchor, on the day of use.
    fn check_issues_at(&self, at: OffsetDateTime, intermediates: usize) -> Result<(), ChainError> {
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

/// webpki takes a missing extended key usage for every usage and never looks at the key usage.
fn check_leaf(leaf: &Certificate, purpose: Purpose) -> Result<(), ChainError> {
    if leaf.extended_key_usage.is_none() {
        return Err(ChainError::WrongPurpose { wanted: purpose });
    }
    match leaf.key_usage {
        Some(usage) if !usage.digital_signature() => Err(ChainError::KeyUsage),
        _ => Ok(()),
    }
}

/// Judges a root before it is trusted, and gives the identifier of its key.
fn lint(certificate: &Certificate, at: OffsetDateTime) -> Result<KeyIdentifier, AnchorFault> {
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
    let own = certificate.subject_key_identifier.clone().ok_or(AnchorFault::NoKeyIdentifier)?;
    let signer = certificate.authority_key_identifier.as_ref().and_then(|id| id.key_identifier.as_ref());
    if certificate.issuer.der != certificate.subject.der || signer.is_some_and(|signer| *signer != own) {
        return Err(AnchorFault::NotSelfIssued);
    }
    Signed::from_der(&certificate.der)
        .map_err(|error| AnchorFault::Unreadable { why: error.as_str().to_owned() })?
        .verify(&certificate.public_key_info)
        .map_err(AnchorFault::Signature)?;
    Ok(own)
}

/// Verifies that a server's certificate names the host that was meant.
///
/// # Errors
/// [`ChainError::WrongName`], or what cannot be read.
pub fn verify_host(leaf: &CertificateDer<'_>, host: &ServerName<'_>) -> Result<(), ChainError> {
    EndEntityCert::try_from(leaf)
        .and_then(|leaf| leaf.verify_is_valid_for_subject_name(host))
        .map_err(|error| ChainError::from_webpki(&error, Purpose::Server))
}

/// What a certificate is to be used for (RFC 5280, section 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// To call.
    Client,
    /// To be called.
    Server,
}

impl Purpose {
    /// The usage that the certificate must state.
    #[must_use]
    pub const fn extended_key_usage(self) -> ExtendedKeyUsage {
        match self {
            Self::Client => ExtendedKeyUsage::ClientAuth,
            Self::Server => ExtendedKeyUsage::ServerAuth,
        }
    }

    const fn webpki(self) -> webpki::KeyUsage {
        match self {
            Self::Client => webpki::KeyUsage::client_auth(),
            Self::Server => webpki::KeyUsage::server_auth(),
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// A certificate whose chain has been verified, and the links of that chain. Only
/// [`TrustBundle::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedChain {
    /// The certificate itself.
    pub leaf: Certificate,
    /// Each certificate of the path below the anchor, the leaf first.
    pub links: Vec<Link>,
    /// The key of the anchor that the path ends at.
    pub anchor: KeyIdentifier,
    /// The last second in which every certificate of it holds, the anchor's included.
    pub expires: OffsetDateTime,
}

/// One certificate of a chain, as a CRL names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// The key that really signed it, whatever the certificate says about that.
    pub issuer: KeyIdentifier,
    /// Its serial number.
    pub serial_number: SerialNumber,
}

/// Why a trust bundle is refused.
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
            Self::Unreadable(source) => source.code(),
        }
    }
}

/// What is wrong with a trust anchor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorFault {
    /// The same subject and key stand in the bundle already.
    #[error("it has the subject and key of trust anchor {earlier}")]
    Duplicate {
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
    /// Its key may not sign both certificates and CRLs.
    #[error("its key usage does not include both keyCertSign and cRLSign")]
    KeyUsage,
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
            Self::Duplicate { .. } => "trust.duplicate",
            Self::Expired { .. } => "trust.expired",
            Self::KeyIdentifierTaken { .. } => "trust.key_identifier_taken",
            Self::KeyUsage => "trust.key_usage",
            Self::NoKeyIdentifier => "trust.no_key_identifier",
            Self::NotAnAuthority => "trust.not_an_authority",
            Self::NotSelfIssued => "trust.not_self_issued",
            Self::NotYetValid { .. } => "trust.not_yet_valid",
            Self::Signature(_) => "trust.signature",
            Self::UnknownCriticalExtension { .. } => "trust.unknown_critical_extension",
            Self::Unreadable { .. } => "trust.unreadable",
            Self::Version { .. } => "trust.version",
        }
    }
}

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
    fn from_webpki(error: &webpki::Error, purpose: Purpose) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::testing::{Root, authority, client, now};
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType,
        ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose,
        NameConstraints, SanType,
    };

    type Change = fn(&mut CertificateParams);

    fn bundle_code(pem: &str) -> &'static str {
        TrustBundle::from_pem(pem.as_bytes(), now()).unwrap_err().code()
    }

    fn refused_root(change: impl FnOnce(&mut CertificateParams)) -> &'static str {
        let mut params = authority("root");
        change(&mut params);
        bundle_code(&Root::with(params).pem())
    }

    fn verdict(bundle: &TrustBundle, leaf: &CertificateDer<'_>, purpose: Purpose) -> &'static str {
        bundle.verify(leaf, &[], purpose, now()).map_or_else(|error| error.code(), |_| "verified")
    }

    fn critical(oid: &[u64]) -> CustomExtension {
        let mut extension = CustomExtension::from_oid_content(oid, vec![5, 0]);
        extension.set_criticality(true);
        extension
    }

    #[test]
    fn a_fit_root_is_trusted() {
        let root = Root::new("root");
        let bundle = root.bundle();
        let key_identifier = root.certificate().subject_key_identifier.unwrap();
        assert_eq!(bundle.anchor(&key_identifier).unwrap().certificate, root.certificate());
        assert!(bundle.anchor(&KeyIdentifier(vec![1])).is_none());
    }

    #[test]
    fn an_unfit_root_is_refused_by_its_fault() {
        use time::Duration;
        let cases: &[(&str, Change)] = &[
            ("trust.expired", |p| p.not_after = now() - Duration::SECOND),
            ("trust.not_yet_valid", |p| p.not_before = now() + Duration::SECOND),
            ("trust.not_an_authority", |p| p.is_ca = IsCa::ExplicitNoCa),
            ("trust.key_usage", |p| p.key_usages = vec![KeyUsagePurpose::KeyCertSign]),
            ("trust.key_usage", |p| p.key_usages = vec![KeyUsagePurpose::CrlSign]),
            ("trust.key_usage", |p| p.key_usages.clear()),
            ("trust.unknown_critical_extension", |p| {
                p.custom_extensions.push(critical(&[1, 3, 6, 1, 4, 1, 99999, 1]))
            }),
        ];
        for (code, change) in cases {
            assert_eq!(refused_root(change), *code);
        }
        let (root, other) = (Root::new("root"), Root::new("root"));
        let cross =
            CertifiedIssuer::signed_by(authority("root"), KeyPair::generate().unwrap(), &other.0).unwrap();
        assert_eq!(bundle_code(&pem::pem("CERTIFICATE", cross.der())), "trust.not_self_issued");
        let mut forged = root.der().to_vec();
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(bundle_code(&pem::pem("CERTIFICATE", &forged)), "trust.signature");
        // rcgen cannot make an authority that does not say so critically.
        let critical = [0x55, 0x1d, 0x13, 0x01, 0x01, 0xff];
        let at = forged.windows(6).position(|window| window == critical).unwrap();
        forged[at + 5] = 0;
        let code = bundle_code(&pem::pem("CERTIFICATE", &forged));
        assert!(["trust.not_an_authority", "x509.malformed"].contains(&code), "{code}");
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

    #[test]
    fn the_fingerprint_tells_sets_of_anchors_apart() {
        let (a, b) = (Root::new("a"), Root::new("b"));
        let of = |text: String| TrustBundle::from_pem(text.as_bytes(), now()).unwrap().fingerprint();
        assert_eq!(of(a.pem() + &b.pem()), of(b.pem() + &a.pem()));
        assert_ne!(of(a.pem() + &b.pem()), of(a.pem()));
    }

    #[test]
    fn a_chain_is_verified_for_its_purpose_only() {
        let root = Root::new("root");
        let leaf = root.issue(&client(7));
        let chain = root.bundle().verify(&leaf, &[], Purpose::Client, now()).unwrap();
        let key_identifier = root.certificate().subject_key_identifier.unwrap();
        assert_eq!(chain.anchor, key_identifier);
        let serial_number = "7".parse().unwrap();
        assert_eq!(chain.links, [Link { issuer: key_identifier, serial_number }]);
        assert_eq!(chain.leaf.der, leaf);
        assert_eq!(verdict(&root.bundle(), &leaf, Purpose::Server), "chain.wrong_purpose");
    }

    #[test]
    fn a_chain_that_breaks_a_rule_is_refused_by_that_rule() {
        use time::Duration;
        let root = Root::new("root");
        let cases: &[(&str, Change)] = &[
            ("chain.expired", |p| p.not_after = now() - Duration::SECOND),
            ("chain.not_yet_valid", |p| p.not_before = now() + Duration::SECOND),
            ("chain.wrong_purpose", |p| p.extended_key_usages.clear()),
            ("chain.wrong_purpose", |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]),
            ("chain.key_usage", |p| p.key_usages = vec![KeyUsagePurpose::KeyEncipherment]),
            ("chain.ca_as_leaf", |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            ("chain.unsupported_extension", |p| {
                p.custom_extensions.push(critical(&[1, 3, 6, 1, 4, 1, 99999, 1]))
            }),
        ];
        for (code, change) in cases {
            let mut params = client(7);
            change(&mut params);
            assert_eq!(verdict(&root.bundle(), &root.issue(&params), Purpose::Client), *code);
        }
        let leaf = root.issue(&client(7));
        assert_eq!(verdict(&Root::new("other").bundle(), &leaf, Purpose::Client), "chain.unknown_issuer");
        assert_eq!(verdict(&Root::new("root").bundle(), &leaf, Purpose::Client), "chain.bad_signature");
        assert_eq!(
            verdict(&root.bundle(), &CertificateDer::from(vec![0x30, 0]), Purpose::Client),
            "chain.malformed"
        );
    }

    #[test]
    fn a_root_that_ends_after_it_was_loaded_verifies_nothing() {
        let root = Root::new("root");
        let mut params = client(7);
        params.not_after = now() + time::Duration::days(1000);
        let leaf = root.issue(&params);
        let later = now() + time::Duration::days(400);
        let error = root.bundle().verify(&leaf, &[], Purpose::Client, later).unwrap_err();
        assert_eq!(error.code(), "chain.anchor_not_valid");
    }

    fn intermediate(root: &Root, change: impl FnOnce(&mut CertificateParams)) -> Root {
        let mut params = authority("intermediate");
        params.serial_number = Some(99.into());
        change(&mut params);
        Root(CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &root.0).unwrap())
    }

    #[test]
    fn every_certificate_below_the_anchor_is_a_link_under_the_key_that_signed_it() {
        let root = Root::new("root");
        let intermediate = intermediate(&root, |_| {});
        let leaf = intermediate.issue(&client(7));
        let unrelated = Root::new("unrelated");
        let sent = [unrelated.0.der().clone(), intermediate.0.der().clone()];
        let chain = root.bundle().verify(&leaf, &sent, Purpose::Client, now()).unwrap();
        let links: Vec<_> =
            chain.links.iter().map(|l| (l.issuer.clone(), l.serial_number.as_be_bytes()[0])).collect();
        let key = |certificate: Certificate| certificate.subject_key_identifier.unwrap();
        assert_eq!(links, [(key(intermediate.certificate()), 7), (key(root.certificate()), 99)]);
        assert_eq!(verdict(&root.bundle(), &leaf, Purpose::Client), "chain.unknown_issuer");
    }

    #[test]
    fn an_intermediate_cannot_pass_for_the_root() {
        let root = Root::new("root");
        let anchor_key = root.certificate().subject_key_identifier.unwrap();
        let posing = intermediate(&root, |p| {
            p.key_identifier_method = KeyIdMethod::PreSpecified(anchor_key.0);
        });
        let leaf = posing.issue(&client(7));
        let error =
            root.bundle().verify(&leaf, &[posing.0.der().clone()], Purpose::Client, now()).unwrap_err();
        assert_eq!(error.code(), "chain.issuer_key_identifier");
    }

    #[test]
    fn limits_of_authorities_hold() {
        let mut params = authority("root");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let root = Root::with(params);
        let below = intermediate(&root, |_| {});
        let verify = |root: &Root, below: &Root, leaf: &CertificateDer<'_>| {
            let sent = [below.0.der().clone()];
            root.bundle().verify(leaf, &sent, Purpose::Client, now()).unwrap_err().code()
        };
        assert_eq!(verify(&root, &below, &below.issue(&client(7))), "chain.path_too_long");

        let root = Root::new("root");
        let below = intermediate(&root, |p| p.is_ca = IsCa::ExplicitNoCa);
        assert_eq!(verify(&root, &below, &below.issue(&client(7))), "chain.leaf_as_ca");

        let below = intermediate(&root, |p| {
            let permitted_subtrees = vec![GeneralSubtree::DnsName("inside.example".into())];
            p.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
        });
        let mut params = client(7);
        params.subject_alt_names = vec![SanType::DnsName("outside.example".try_into().unwrap())];
        assert_eq!(verify(&root, &below, &below.issue(&params)), "chain.name_constraint");
    }

    #[test]
    fn a_host_is_found_in_alternative_names_only() {
        let root = Root::new("root");
        let mut params = client(7);
        params.distinguished_name.push(DnType::CommonName, "common.example");
        params.subject_alt_names = vec![
            SanType::DnsName("api.example".try_into().unwrap()),
            SanType::IpAddress("10.0.0.1".parse().unwrap()),
        ];
        let leaf = root.issue(&params);
        let host = |name: &str| verify_host(&leaf, &ServerName::try_from(name.to_owned()).unwrap());
        assert_eq!((host("api.example"), host("10.0.0.1")), (Ok(()), Ok(())));
        for name in ["common.example", "other.example", "10.0.0.2", "sub.api.example"] {
            assert_eq!(host(name).unwrap_err().code(), "chain.wrong_name", "{name}");
        }
    }

    #[test]
    fn roots_of_every_key_type_verify() {
        for algorithm in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519, &rcgen::PKCS_RSA_SHA256] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let root = Root(CertifiedIssuer::self_signed(authority("root"), key).unwrap());
            assert_eq!(verdict(&root.bundle(), &root.issue(&client(7)), Purpose::Client), "verified");
        }
    }

    #[test]
    fn nothing_that_was_tampered_with_verifies_or_panics() {
        let root = Root::new("root");
        let bundle = root.bundle();
        let leaf = root.issue(&client(7));
        for at in 0..leaf.len() {
            let mut flipped = leaf.to_vec();
            flipped[at] ^= 1;
            assert_ne!(verdict(&bundle, &CertificateDer::from(flipped), Purpose::Client), "verified", "{at}");
            assert_ne!(
                verdict(&bundle, &CertificateDer::from(leaf[..at].to_vec()), Purpose::Client),
                "verified"
            );
        }
        for at in 0..root.der().len() {
            let mut flipped = root.der().to_vec();
            flipped[at] ^= 1;
            assert!(TrustBundle::from_pem(&flipped, now()).is_err(), "{at}");
            assert!(TrustBundle::from_pem(&root.der()[..at], now()).is_err(), "{at}");
        }
    }
}
