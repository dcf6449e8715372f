//! Search for a path from a leaf to a trust anchor, and validation of each (RFC 5280, section 6; RFC 4158).
//!
//! Candidates are the presented certificates, then the configured intermediate CAs. A path that is refused, also by the
//! caller, does not end the search. A configured certificate replaces a presented one of the same key if that one has
//! expired, is revoked, or leads nowhere, not if it breaks a rule.

use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use webpki::EndEntityCert;

use super::anchor::TrustAnchor;
use super::chain::{ChainLink, VerifiedChain};
use super::conformance;
use super::error::ChainError;
use super::policies;
use super::purpose::Purpose;
use crate::x509::certificate::Certificate;
use crate::x509::key_identifier::KeyIdentifier;
use crate::x509::name_constraints::{CertificateNames, NameConstraints, NameFault};
use crate::x509::public_key::unsupported_in_tls;
use crate::x509::signed::{SignatureError, Signed};

/// Most intermediate CAs of a path.
const MAX_INTERMEDIATES: usize = 6;

/// Most signatures that are verified for one leaf. Clients choose what they present.
const MAX_SIGNATURES: usize = 100;

/// Most comparisons of a name with a constraint for one leaf.
const MAX_COMPARISONS: usize = 250_000;

/// Anchors and rules that paths are held to.
#[derive(Clone, Copy)]
pub(super) struct PathRules<'a> {
    pub(super) anchors: &'a [TrustAnchor],
    /// Key identifier of an intermediate CA, which must not be that of another known key.
    pub(super) key_of: &'a dyn Fn(&Certificate) -> Result<KeyIdentifier, ChainError>,
    pub(super) purpose: Purpose,
    pub(super) at: OffsetDateTime,
}

/// Certificate that may be an issuer.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) certificate: &'a Certificate,
    /// Set if it was checked when it was loaded.
    pub(super) conforming: bool,
    /// Set if the peer sent it.
    pub(super) presented: bool,
}

/// Parse a leaf.
pub(super) fn read_leaf(der: &CertificateDer<'_>) -> Result<Certificate, ChainError> {
    let certificate = Certificate::from_der(der)?;
    check_encoding(&certificate)?;
    if certificate.key_algorithm.is_none()
        && let Some(found) = unsupported_in_tls(&certificate.public_key_info)
    {
        return Err(ChainError::UnsupportedKey { found });
    }
    Ok(certificate)
}

/// Require version 3, no unknown critical extension, and an encoding that the parser of webpki accepts. It is stricter,
/// and knows fewer extensions.
fn check_encoding(certificate: &Certificate) -> Result<(), ChainError> {
    if certificate.version != 3 {
        return Err(ChainError::UnsupportedVersion);
    }
    if !certificate.unknown_critical_extensions.is_empty() {
        return Err(ChainError::UnsupportedExtension);
    }
    match EndEntityCert::try_from(&certificate.der) {
        Ok(_) | Err(webpki::Error::UnsupportedCriticalExtension) => Ok(()),
        Err(error) => Err(ChainError::from_webpki(&error)),
    }
}

/// Find a path from `leaf` that is valid and accepted.
pub(super) fn find<E: From<ChainError>>(
    rules: PathRules<'_>,
    leaf: &Certificate,
    candidates: &[Candidate<'_>],
    accept: &mut dyn FnMut(&VerifiedChain) -> Result<(), E>,
) -> Result<VerifiedChain, E> {
    check_validity(leaf, rules.at)?;
    if leaf.is_ca() {
        return Err(ChainError::CaAsLeaf.into());
    }
    let wanted = rules.purpose.extended_key_usage();
    if leaf.extended_key_usage.as_ref().is_some_and(|usages| !usages.contains(&wanted)) {
        return Err(ChainError::WrongPurpose { wanted: rules.purpose }.into());
    }
    let mut search = Search {
        rules,
        candidates,
        accept,
        signatures: MAX_SIGNATURES,
        comparisons: MAX_COMPARISONS,
        refusal: None,
        fault: ChainError::UnknownIssuer,
        broken_rules: 0,
    };
    match search.extend(&mut vec![leaf])? {
        Some(chain) => Ok(chain),
        None => Err(search.refusal.unwrap_or_else(|| search.fault.into())),
    }
}

struct Search<'a, 's, E> {
    rules: PathRules<'a>,
    candidates: &'s [Candidate<'s>],
    accept: &'s mut dyn FnMut(&VerifiedChain) -> Result<(), E>,
    /// Signatures and comparisons that are left.
    signatures: usize,
    comparisons: usize,
    /// First refusal of a valid path by the caller.
    refusal: Option<E>,
    /// Most telling fault of the other paths.
    fault: ChainError,
    /// Number of faults that time or another certificate would not mend.
    broken_rules: usize,
}

impl<E> Search<'_, '_, E> {
    /// Continue `path`, whose last certificate has no issuer yet; `None` if no path is accepted.
    ///
    /// # Errors
    /// [`ChainError::TooComplex`], which ends the search.
    fn extend<'p>(&mut self, path: &mut Vec<&'p Certificate>) -> Result<Option<VerifiedChain>, ChainError>
    where
        Self: 'p,
    {
        let Some(head) = path.last().copied() else { return Ok(None) };
        for anchor in self.rules.anchors {
            if anchor.certificate.subject.der != head.issuer.der {
                continue;
            }
            let chain = match self.verify_signature(head, &anchor.certificate)? {
                Ok(()) => self.validate(path, anchor),
                Err(fault) => Err(fault),
            };
            match chain {
                Err(ChainError::TooComplex) => return Err(ChainError::TooComplex),
                Err(fault) => self.note(fault),
                Ok(chain) => match (self.accept)(&chain) {
                    Ok(()) => return Ok(Some(chain)),
                    Err(refusal) => drop(self.refusal.get_or_insert(refusal)),
                },
            }
        }
        let named = |candidate: &&Candidate<'_>| candidate.certificate.subject.der == head.issuer.der;
        let claimed = head.authority_key_identifier.as_ref().and_then(|id| id.key_identifier.as_ref());
        let is_claimed =
            |candidate: &Candidate<'_>| candidate.certificate.subject_key_identifier.as_ref() == claimed;
        let mut issuers: Vec<_> = self.candidates.iter().filter(named).copied().collect();
        issuers.sort_by_key(|candidate| (candidate.conforming, !is_claimed(candidate)));
        let mut presented_in_vain: Vec<&[u8]> = Vec::new();
        for candidate in issuers {
            let issuer = candidate.certificate;
            if !candidate.presented && presented_in_vain.contains(&issuer.public_key_info.as_slice()) {
                continue;
            }
            // A path visits a key of a CA once (RFC 4158, section 5.2).
            let visited = |earlier: &&Certificate| {
                earlier.public_key_info == issuer.public_key_info && earlier.subject.der == issuer.subject.der
            };
            if path.iter().any(visited) {
                continue;
            }
            if path.len() > MAX_INTERMEDIATES {
                self.note(ChainError::PathTooLong);
                break;
            }
            let before = self.broken_rules;
            let found = self.continue_with(candidate, path)?;
            if found.is_some() {
                return Ok(found);
            }
            if !candidate.conforming && self.broken_rules > before {
                presented_in_vain.push(&issuer.public_key_info);
            }
        }
        Ok(None)
    }

    /// Continue `path` with an issuer of its last certificate.
    fn continue_with<'p>(
        &mut self,
        candidate: Candidate<'p>,
        path: &mut Vec<&'p Certificate>,
    ) -> Result<Option<VerifiedChain>, ChainError>
    where
        Self: 'p,
    {
        let Some(head) = path.last().copied() else { return Ok(None) };
        let issuer = candidate.certificate;
        if let Err(fault) = self.check_issuer(candidate) {
            self.note(fault);
            return Ok(None);
        }
        if let Err(fault) = self.verify_signature(head, issuer)? {
            self.note(fault);
            return Ok(None);
        }
        path.push(issuer);
        let found = self.extend(path)?;
        path.pop();
        Ok(found)
    }

    /// Verify the signature of `certificate` by the key of `issuer`, within the limit of the search.
    fn verify_signature(
        &mut self,
        certificate: &Certificate,
        issuer: &Certificate,
    ) -> Result<Result<(), ChainError>, ChainError> {
        self.signatures = self.signatures.checked_sub(1).ok_or(ChainError::TooComplex)?;
        let verified = Signed::from_der(&certificate.der).map_err(|_| SignatureError::Unsupported);
        let verified = verified.and_then(|signed| signed.verify(&issuer.public_key_info));
        Ok(verified.map_err(|error| match error {
            SignatureError::Unsupported => ChainError::UnsupportedAlgorithm,
            SignatureError::Wrong => ChainError::BadSignature,
        }))
    }

    /// Check an intermediate CA for itself.
    fn check_issuer(&self, candidate: Candidate<'_>) -> Result<(), ChainError> {
        let issuer = candidate.certificate;
        if !candidate.conforming {
            check_encoding(issuer)?;
        }
        check_validity(issuer, self.rules.at)?;
        if !issuer.is_ca() {
            return Err(ChainError::LeafAsCa);
        }
        if !candidate.conforming {
            conformance::check_authority(issuer).map_err(|rule| ChainError::nonconforming(issuer, rule))?;
        }
        self.check_purpose(issuer)
    }

    fn check_purpose(&self, issuer: &Certificate) -> Result<(), ChainError> {
        let wanted = self.rules.purpose;
        if wanted.is_permitted_by(issuer.extended_key_usage.as_deref()) {
            Ok(())
        } else {
            Err(ChainError::IssuerPurpose { issuer: issuer.subject.to_string(), wanted })
        }
    }

    /// Check a path whose signatures are verified, the leaf first, and describe it.
    fn validate(&mut self, path: &[&Certificate], anchor: &TrustAnchor) -> Result<VerifiedChain, ChainError> {
        let Some((leaf, intermediates)) = path.split_first() else { return Err(ChainError::UnknownIssuer) };
        anchor.check_validity(self.rules.at)?;
        self.check_purpose(&anchor.certificate)?;
        check_leaf(leaf, self.rules.purpose)?;
        check_path_lengths(intermediates, anchor)?;
        // From the anchor down to the leaf, so that the issuing key of each link is known.
        let mut links = Vec::with_capacity(path.len());
        let mut issuer = anchor.key_identifier.clone();
        let mut expires = leaf.not_after.min(anchor.certificate.not_after);
        for intermediate in intermediates.iter().rev() {
            let next = (self.rules.key_of)(intermediate)?;
            links.push(ChainLink { issuer, serial_number: intermediate.serial_number });
            expires = expires.min(intermediate.not_after);
            issuer = next;
        }
        links.push(ChainLink { issuer, serial_number: leaf.serial_number });
        links.reverse();
        let downward: Vec<_> =
            std::iter::once(&anchor.certificate).chain(path.iter().rev().copied()).collect();
        self.check_names(&downward)?;
        if !policies::are_satisfied(&downward) {
            return Err(ChainError::NoPolicy);
        }
        Ok(VerifiedChain {
            leaf: (*leaf).clone(),
            intermediates: intermediates.iter().map(|certificate| (*certificate).clone()).collect(),
            links,
            anchor: anchor.key_identifier.clone(),
            expires,
        })
    }

    /// Apply the name constraints of each CA to all certificates below it. A self-issued certificate is exempt unless
    /// it is the leaf (RFC 5280, section 6.1.3 (b)).
    fn check_names(&mut self, downward: &[&Certificate]) -> Result<(), ChainError> {
        let mut above: Vec<&NameConstraints> = Vec::new();
        for (index, certificate) in downward.iter().enumerate() {
            let is_leaf = index + 1 == downward.len();
            if !above.is_empty() && (is_leaf || !certificate.is_self_issued()) {
                let names = CertificateNames::of(&certificate.der).ok_or(ChainError::NameConstraint)?;
                for constraints in &above {
                    let checked = names.are_within(constraints, &mut self.comparisons);
                    checked.map_err(|fault| match fault {
                        NameFault::Excluded => ChainError::NameConstraint,
                        NameFault::TooMany => ChainError::TooComplex,
                    })?;
                }
            }
            above.extend(certificate.name_constraints.as_deref());
        }
        Ok(())
    }

    /// Keep the more telling of two faults; the first if they are equal.
    fn note(&mut self, fault: ChainError) {
        let rank = |fault: &ChainError| match fault {
            ChainError::UnknownIssuer => 0,
            ChainError::BadSignature => 1,
            _ => 2,
        };
        self.broken_rules += usize::from(!matches!(
            fault,
            ChainError::AnchorNotValid { .. }
                | ChainError::BadSignature
                | ChainError::Expired { .. }
                | ChainError::NotYetValid { .. }
                | ChainError::UnknownIssuer
                | ChainError::UnsupportedAlgorithm
        ));
        if rank(&fault) > rank(&self.fault) {
            self.fault = fault;
        }
    }
}

fn check_validity(certificate: &Certificate, at: OffsetDateTime) -> Result<(), ChainError> {
    let Certificate { not_before, not_after, .. } = *certificate;
    if at < not_before {
        Err(ChainError::NotYetValid { not_before })
    } else if at > not_after {
        Err(ChainError::Expired { not_after })
    } else {
        Ok(())
    }
}

/// Require an extended key usage, `digitalSignature` in a key usage, and conformance.
fn check_leaf(leaf: &Certificate, wanted: Purpose) -> Result<(), ChainError> {
    if leaf.extended_key_usage.is_none() {
        return Err(ChainError::WrongPurpose { wanted });
    }
    if leaf.key_usage.is_some_and(|usage| !usage.digital_signature()) {
        return Err(ChainError::KeyUsage);
    }
    conformance::check_leaf(leaf).map_err(|rule| ChainError::nonconforming(leaf, rule))
}

/// Check the path length of each CA: the number of intermediate CAs below it, without self-issued ones
/// (RFC 5280, section 6.1.4 (l) and (m)).
fn check_path_lengths(intermediates: &[&Certificate], anchor: &TrustAnchor) -> Result<(), ChainError> {
    let mut below = 0_u32;
    for authority in intermediates.iter().copied().chain([&anchor.certificate]) {
        let allowed = authority.basic_constraints.and_then(|constraints| constraints.path_length);
        if allowed.is_some_and(|allowed| below > allowed) {
            return Err(ChainError::PathTooLong);
        }
        below += u32::from(!authority.is_self_issued());
    }
    Ok(())
}
