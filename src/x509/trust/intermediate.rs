//! Intermediate CAs that complete chains and whose CRLs are accepted, checked when they are loaded.
//!
//! A CRL arrives before any client: its signing key must be known to chain to a trust anchor.

use time::OffsetDateTime;

use super::anchor::{AnchorError, TrustAnchor, TrustError, lint_authority, signed};
use super::chain::ChainLink;
use crate::x509::certificate::Certificate;
use crate::x509::key_identifier::KeyIdentifier;
use crate::x509::pem::{self, ObjectKind};

/// Intermediate CA.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Intermediate {
    /// Signed by another CA, with a path that is verified at each use.
    pub certificate: Certificate,
    /// Subject key identifier, used by CRLs and chains.
    pub key_identifier: KeyIdentifier,
    /// Certificate as the CRL of its issuer identifies it.
    pub link: ChainLink,
}

impl Intermediate {
    /// Detect another key with the same identifier.
    pub(super) fn is_impersonated_by(&self, key_identifier: &KeyIdentifier, public_key_info: &[u8]) -> bool {
        self.key_identifier == *key_identifier && self.certificate.public_key_info != public_key_info
    }
}

/// Fit intermediate CA without a known issuer yet.
struct Candidate<'a> {
    index: usize,
    certificate: &'a Certificate,
    key_identifier: KeyIdentifier,
}

impl Candidate<'_> {
    fn refused(&self, fault: AnchorError) -> TrustError {
        refused(self.index, self.certificate, fault)
    }
}

fn refused(index: usize, certificate: &Certificate, fault: AnchorError) -> TrustError {
    let which = format!("{}, SHA-256 {}", certificate.subject, certificate.fingerprint());
    TrustError::Intermediate { index, which, fault: Box::new(fault) }
}

/// Intermediate CA below an anchor, and the maximum number of CAs below it in a chain.
type Placed = (Intermediate, Option<usize>);

/// Read the intermediate CAs below `anchors` in `bytes`, in any order, and the reasons for those that are unfit.
pub(super) fn read(
    bytes: &[u8],
    anchors: &[TrustAnchor],
    at: OffsetDateTime,
) -> Result<(Vec<Intermediate>, Vec<TrustError>), TrustError> {
    let blocks =
        pem::blocks_of(ObjectKind::Certificate, bytes).map_err(TrustError::IntermediatesUnreadable)?;
    let mut excluded = Vec::new();
    let mut certificates = Vec::with_capacity(blocks.len());
    for (index, block) in (1..).zip(&blocks) {
        match Certificate::from_der(block.der()) {
            Ok(certificate) => certificates.push((index, certificate)),
            Err(source) => excluded.push(TrustError::IntermediateUnreadable { index, source }),
        }
    }
    let mut waiting: Vec<Candidate<'_>> = Vec::with_capacity(certificates.len());
    for (index, certificate) in &certificates {
        match fit(*index, certificate, anchors, &waiting, at) {
            Ok(candidate) => waiting.push(candidate),
            Err(fault) => excluded.push(refused(*index, certificate, fault)),
        }
    }
    let mut placed: Vec<Placed> = Vec::with_capacity(waiting.len());
    loop {
        let before = placed.len();
        let mut left = Vec::new();
        for candidate in waiting {
            match place(&candidate, anchors, &placed) {
                Ok(found) => placed.push(found),
                Err(why) => left.push((candidate, why)),
            }
        }
        // A round without any success: the rest has no issuer.
        if placed.len() == before {
            excluded.extend(left.into_iter().map(|(candidate, why)| candidate.refused(why)));
            break;
        }
        waiting = left.into_iter().map(|(candidate, _)| candidate).collect();
    }
    Ok((placed.into_iter().map(|(intermediate, _)| intermediate).collect(), excluded))
}

/// Check that a certificate is fit beside the `earlier` ones.
fn fit<'a>(
    index: usize,
    certificate: &'a Certificate,
    anchors: &[TrustAnchor],
    earlier: &[Candidate<'_>],
    at: OffsetDateTime,
) -> Result<Candidate<'a>, AnchorError> {
    let key_identifier = lint_below(certificate, at)?;
    // The parser of webpki is stricter.
    webpki::anchor_from_trusted_cert(&certificate.der)
        .map_err(|error| AnchorError::Unreadable { why: error.to_string() })?;
    if let Some(same) = earlier.iter().find(|other| other.certificate.der == certificate.der) {
        return Err(AnchorError::DuplicateIntermediate { earlier: same.index });
    }
    let anchors = anchors.iter().map(|anchor| (&anchor.key_identifier, &anchor.certificate));
    let others = earlier.iter().map(|other| (&other.key_identifier, other.certificate));
    if anchors.chain(others).any(|(other_key, other)| {
        *other_key == key_identifier && other.public_key_info != certificate.public_key_info
    }) {
        return Err(AnchorError::KeyIdentifierOfAnother);
    }
    Ok(Candidate { index, certificate, key_identifier })
}

/// Check the requirements of an intermediate CA, which must not be self-signed.
fn lint_below(certificate: &Certificate, at: OffsetDateTime) -> Result<KeyIdentifier, AnchorError> {
    let key_identifier = lint_authority(certificate, at)?;
    let self_signed = certificate.issuer.der == certificate.subject.der
        && signed(certificate)?.verify(&certificate.public_key_info).is_ok();
    if self_signed { Err(AnchorError::SelfSigned) } else { Ok(key_identifier) }
}

/// Find the issuer of a candidate among the anchors and the intermediate CAs placed so far.
fn place(
    candidate: &Candidate<'_>,
    anchors: &[TrustAnchor],
    placed: &[Placed],
) -> Result<Placed, AnchorError> {
    let Candidate { certificate, key_identifier, .. } = candidate;
    let signed = signed(certificate)?;
    let signer = certificate.authority_key_identifier.as_ref().and_then(|id| id.key_identifier.as_ref());
    let anchors = anchors
        .iter()
        .map(|anchor| (&anchor.certificate, &anchor.key_identifier, path_length(&anchor.certificate)));
    let placed = placed.iter().map(|(above, room)| (&above.certificate, &above.key_identifier, *room));
    let mut fault = AnchorError::NoIssuer;
    for (above, key, room) in anchors.chain(placed) {
        let named = above.subject.der == certificate.issuer.der && signer.is_none_or(|signer| signer == key);
        if !named || signed.verify(&above.public_key_info).is_err() {
            continue;
        }
        let room = match room {
            // A change of a CA's key adds no CA (RFC 5280, section 6.1.4 (l)).
            room if certificate.is_self_issued() => room,
            Some(0) => {
                fault = AnchorError::PathTooLong;
                continue;
            }
            room => room.map(|room| room - 1),
        };
        let room = match (path_length(certificate), room) {
            (Some(own), Some(room)) => Some(own.min(room)),
            (own, room) => own.or(room),
        };
        let link = ChainLink { issuer: key.clone(), serial_number: certificate.serial_number };
        let (certificate, key_identifier) = ((*certificate).clone(), key_identifier.clone());
        return Ok((Intermediate { certificate, key_identifier, link }, room));
    }
    Err(fault)
}

fn path_length(certificate: &Certificate) -> Option<usize> {
    certificate.basic_constraints?.path_length.and_then(|length| usize::try_from(length).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Coded;
    use crate::x509::testing::{Root, UNFIT_AUTHORITIES, authority, client, now};
    use crate::x509::trust::{Purpose, TrustBundle};
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyIdMethod, KeyPair};

    fn below(above: &Root, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Root {
        let mut params = authority(name);
        params.serial_number = Some(99.into());
        change(&mut params);
        Root(CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &above.0).unwrap())
    }

    fn roomy() -> Root {
        let mut params = authority("root");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(2));
        Root::with(params)
    }

    fn read(root: &Root, text: &str) -> Result<TrustBundle, &'static str> {
        root.bundle().with_intermediates(text.as_bytes(), now()).map_err(|error| error.code())
    }

    #[test]
    fn intermediate_cas_are_linked_to_their_issuers_in_any_order() {
        let root = roomy();
        let upper = below(&root, "upper", |_| {});
        let lower = below(&upper, "lower", |params| params.serial_number = Some(98.into()));
        for text in [upper.pem() + &lower.pem(), lower.pem() + &upper.pem()] {
            let bundle = read(&root, &text).unwrap();
            let key = |certificate: Certificate| certificate.subject_key_identifier.unwrap();
            let links: Vec<_> = bundle.intermediates().iter().map(|known| known.link.clone()).collect();
            assert_eq!(
                links[0],
                ChainLink { issuer: key(root.certificate()), serial_number: "63".parse().unwrap() }
            );
            assert_eq!(
                links[1],
                ChainLink { issuer: key(upper.certificate()), serial_number: "62".parse().unwrap() }
            );
            let lower = lower.certificate();
            assert_eq!(bundle.authority(&key(lower.clone()), &lower.subject).unwrap(), &lower);
            assert_eq!(bundle.fingerprint(), root.bundle().fingerprint(), "no further anchor is trusted");
        }
    }

    #[test]
    fn an_unfit_intermediate_ca_is_refused_with_its_reason() {
        let root = Root::new("root");
        for (code, change) in UNFIT_AUTHORITIES {
            assert_eq!(read(&root, &below(&root, "below", change).pem()).unwrap_err(), *code);
        }
    }

    #[test]
    fn an_intermediate_ca_without_an_anchor_is_refused() {
        let (root, other) = (Root::new("root"), Root::new("root"));
        assert_eq!(read(&root, &below(&other, "below", |_| {}).pem()).unwrap_err(), "trust.no_issuer");
        assert_eq!(read(&root, &root.pem()).unwrap_err(), "trust.self_signed");
        assert_eq!(read(&root, &other.pem()).unwrap_err(), "trust.self_signed");
        // Signed by another key of the same name, with the root's key identifier.
        let impersonator = below(&other, "below", |_| {});
        let der = impersonator.der().to_vec();
        let identifier = |root: &Root| root.certificate().subject_key_identifier.unwrap().0;
        let (from, to) = (identifier(&other), identifier(&root));
        let at = der.windows(from.len()).position(|octets| octets == from).unwrap();
        let der = [&der[..at], &to, &der[at + to.len()..]].concat();
        assert_eq!(read(&root, &pem::pem("CERTIFICATE", &der)).unwrap_err(), "trust.no_issuer");
        let orphan = below(&below(&root, "upper", |_| {}), "lower", |_| {});
        assert_eq!(read(&root, &orphan.pem()).unwrap_err(), "trust.no_issuer");
    }

    #[test]
    fn an_intermediate_ca_beyond_a_path_length_is_refused() {
        let root = roomy();
        let upper = below(&root, "upper", |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
        let lower = below(&upper, "lower", |_| {});
        assert_eq!(read(&root, &(upper.pem() + &lower.pem())).unwrap_err(), "trust.path_too_long");

        let mut params = authority("root");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let root = Root::with(params);
        assert_eq!(read(&root, &below(&root, "below", |_| {}).pem()).unwrap_err(), "trust.path_too_long");

        // A lower CA cannot widen the path length of the root.
        let root = Root::new("root");
        let upper = below(&root, "upper", |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
        let lower = below(&upper, "lower", |_| {});
        assert_eq!(read(&root, &(lower.pem() + &upper.pem())).unwrap_err(), "trust.path_too_long");
    }

    #[test]
    fn ambiguous_intermediate_cas_are_refused() {
        let root = Root::new("root");
        let a = below(&root, "a", |_| {});
        assert_eq!(read(&root, &(a.pem() + &a.pem())).unwrap_err(), "trust.duplicate");
        let id = |of: &Root| of.certificate().subject_key_identifier.unwrap().0;
        for taken in [id(&a), id(&root)] {
            let b = below(&root, "b", |p| p.key_identifier_method = KeyIdMethod::PreSpecified(taken));
            assert_eq!(read(&root, &(a.pem() + &b.pem())).unwrap_err(), "trust.key_identifier_taken");
        }
    }

    #[test]
    fn anything_but_certificates_is_refused() {
        let root = Root::new("root");
        for (text, code) in [("", "x509.no_block"), ("nothing", "x509.no_block")] {
            assert_eq!(read(&root, text).unwrap_err(), code);
        }
        let a = below(&root, "a", |_| {});
        for at in 0..a.der().len() {
            let mut flipped = a.der().to_vec();
            flipped[at] ^= 1;
            assert!(root.bundle().with_intermediates(&flipped, now()).is_err(), "{at}");
        }
    }

    #[test]
    fn a_client_cannot_use_the_crl_of_another_ca_by_its_identifier() {
        let root = roomy();
        let known = below(&root, "known", |_| {});
        let bundle = read(&root, &known.pem()).unwrap();
        let taken = known.certificate().subject_key_identifier.unwrap().0;
        let impersonator =
            below(&root, "known", |p| p.key_identifier_method = KeyIdMethod::PreSpecified(taken));
        let leaf = impersonator.issue(&client(7));
        let sent = [impersonator.0.der().clone()];
        let error = bundle.verify(&leaf, &sent, Purpose::Client, now()).unwrap_err();
        assert_eq!(error.code(), "chain.issuer_key_identifier");
        let before = root.bundle().verify(&leaf, &sent, Purpose::Client, now()).unwrap();
        assert!(root.bundle().still_trusts(&before) && !bundle.still_trusts(&before));
    }
}
