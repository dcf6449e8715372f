//! Trust bundles and verification of chains.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, ServerName};
use time::OffsetDateTime;
use webpki::EndEntityCert;

use super::anchor::{AnchorError, TrustAnchor, TrustError, lint};
use super::chain::VerifiedChain;
use super::error::ChainError;
use super::intermediate::{self, Intermediate};
use super::path::{self, Candidate, PathRules};
use super::purpose::Purpose;
use crate::x509::certificate::Certificate;
use crate::x509::key_identifier::KeyIdentifier;
use crate::x509::name::DistinguishedName;
use crate::x509::pem::{self, ObjectKind};
use crate::x509::sha256::Sha256;

/// Checked trust anchors, and intermediate CAs that complete chains and whose CRLs are accepted. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct TrustBundle {
    trusted: Arc<Anchors>,
    intermediates: Arc<[Intermediate]>,
    excluded: Arc<[TrustError]>,
}

#[derive(Debug)]
struct Anchors {
    anchors: Vec<TrustAnchor>,
    fingerprint: Sha256,
}

impl Anchors {
    fn new(anchors: Vec<TrustAnchor>) -> Self {
        let mut digests: Vec<_> = anchors.iter().map(|anchor| anchor.certificate.fingerprint().0).collect();
        digests.sort_unstable();
        Self { anchors, fingerprint: Sha256::of(digests.as_flattened()) }
    }
}

impl TrustBundle {
    /// Read a bundle, PEM or DER. A single anchor that is unfit at `at` fails the bundle.
    ///
    /// # Errors
    /// [`TrustError`] for the first unfit anchor, or an unreadable file.
    pub fn from_pem(bytes: &[u8], at: OffsetDateTime) -> Result<Self, TrustError> {
        Self::from_pem_excluding(bytes, at)?.without_exclusions()
    }

    /// Read a bundle, PEM or DER, without the anchors that are unfit at `at`: see [`TrustBundle::excluded`].
    ///
    /// # Errors
    /// [`TrustError`] for an unreadable file, or for the first unfit anchor if none is fit.
    pub fn from_pem_excluding(bytes: &[u8], at: OffsetDateTime) -> Result<Self, TrustError> {
        let blocks = pem::blocks_of(ObjectKind::Certificate, bytes).map_err(TrustError::Unreadable)?;
        let (mut fit, mut excluded) = (Vec::with_capacity(blocks.len()), Vec::new());
        for (index, block) in (1..).zip(&blocks) {
            match Certificate::from_der(block.der()) {
                Ok(certificate) => excluded.extend(add(index, certificate, &mut fit, at)),
                Err(source) => excluded.push(TrustError::AnchorUnreadable { index, source }),
            }
        }
        match excluded.first() {
            Some(first) if fit.is_empty() => Err(first.clone()),
            _ => {
                let anchors = fit.into_iter().map(|(_, anchor)| anchor).collect();
                let trusted = Arc::new(Anchors::new(anchors));
                Ok(Self { trusted, intermediates: Arc::new([]), excluded: excluded.into() })
            }
        }
    }

    /// Add the intermediate CAs in `bytes`, PEM or DER, in any order. A single unfit one fails all.
    ///
    /// # Errors
    /// [`TrustError`] for the first unfit intermediate CA, or an unreadable file.
    pub fn with_intermediates(&self, bytes: &[u8], at: OffsetDateTime) -> Result<Self, TrustError> {
        self.with_intermediates_excluding(bytes, at)?.without_exclusions()
    }

    /// Add the intermediate CAs in `bytes`, PEM or DER, in any order, without unfit ones.
    ///
    /// # Errors
    /// [`TrustError`] for an unreadable file, or for the first unfit intermediate CA if none is fit.
    pub fn with_intermediates_excluding(&self, bytes: &[u8], at: OffsetDateTime) -> Result<Self, TrustError> {
        let (intermediates, excluded) = intermediate::read(bytes, self.anchors(), at)?;
        match excluded.first() {
            Some(first) if intermediates.is_empty() => Err(first.clone()),
            _ => {
                let excluded = self.excluded.iter().cloned().chain(excluded).collect();
                Ok(Self { trusted: Arc::clone(&self.trusted), intermediates: intermediates.into(), excluded })
            }
        }
    }

    /// Refuse a bundle from which an authority was excluded.
    ///
    /// # Errors
    /// The first exclusion.
    pub fn without_exclusions(self) -> Result<Self, TrustError> {
        match self.excluded.first() {
            Some(first) => Err(first.clone()),
            None => Ok(self),
        }
    }

    /// Trust anchors and intermediate CAs of the files that are not trusted, since they are unfit.
    #[must_use]
    pub fn excluded(&self) -> &[TrustError] {
        &self.excluded
    }

    /// Trust anchors in the order of the file.
    #[must_use]
    pub fn anchors(&self) -> &[TrustAnchor] {
        &self.trusted.anchors
    }

    /// Find a trust anchor by its key.
    #[must_use]
    pub fn anchor(&self, key_identifier: &KeyIdentifier) -> Option<&TrustAnchor> {
        self.trusted.anchors.iter().find(|anchor| anchor.key_identifier == *key_identifier)
    }

    /// Intermediate CAs that complete chains, and whose CRLs are accepted.
    #[must_use]
    pub fn intermediates(&self) -> &[Intermediate] {
        &self.intermediates
    }

    /// Key and certificate of each trust anchor, then of each intermediate CA.
    pub fn authorities(&self) -> impl Iterator<Item = (&KeyIdentifier, &Certificate)> {
        let below = self.intermediates.iter().map(|below| (&below.key_identifier, &below.certificate));
        self.anchors().iter().map(|anchor| (&anchor.key_identifier, &anchor.certificate)).chain(below)
    }

    /// Find a trust anchor or an intermediate CA by key and name.
    #[must_use]
    pub fn authority(&self, key: &KeyIdentifier, subject: &DistinguishedName) -> Option<&Certificate> {
        self.authorities()
            .find_map(|(id, found)| (id == key && found.subject.der == subject.der).then_some(found))
    }

    /// Restrict the bundle to the anchors with `is_kept` keys, and to the intermediate CAs below them.
    #[must_use]
    pub fn restricted_to(&self, is_kept: impl Fn(&KeyIdentifier) -> bool) -> Self {
        let kept = self.trusted.anchors.iter().filter(|anchor| is_kept(&anchor.key_identifier));
        let trusted = Arc::new(Anchors::new(kept.cloned().collect()));
        let mut intermediates: Vec<Intermediate> = Vec::new();
        // Issuers precede the CAs below them.
        for below in self.intermediates.iter() {
            let issuer = &below.link.issuer;
            if trusted.anchors.iter().any(|anchor| anchor.key_identifier == *issuer)
                || intermediates.iter().any(|above| above.key_identifier == *issuer)
            {
                intermediates.push(below.clone());
            }
        }
        Self { trusted, intermediates: intermediates.into(), excluded: Arc::clone(&self.excluded) }
    }

    /// Check a chain that was verified earlier, perhaps by another bundle, against this one.
    ///
    /// Its anchor must be trusted, and the keys of its intermediate CAs unchanged.
    #[must_use]
    pub fn still_trusts(&self, chain: &VerifiedChain) -> bool {
        self.anchor(&chain.anchor).is_some()
            && chain.intermediates.iter().all(|authority| self.intermediate_key(authority).is_ok())
    }

    /// Compare anchors and intermediate CAs. If they are the same, chains need not be verified again.
    #[must_use]
    pub fn has_same_authorities(&self, other: &Self) -> bool {
        self.fingerprint() == other.fingerprint() && self.intermediates == other.intermediates
    }

    /// Digest of the set of anchors, independent of their order.
    #[must_use]
    pub fn fingerprint(&self) -> Sha256 {
        self.trusted.fingerprint
    }

    /// Verify that a certificate chains to an anchor, and is valid for `purpose` at `at`.
    ///
    /// Revocation is not checked.
    ///
    /// # Errors
    /// [`ChainError`] with the violated rule.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        presented: &[CertificateDer<'_>],
        purpose: Purpose,
        at: OffsetDateTime,
    ) -> Result<VerifiedChain, ChainError> {
        self.verify_accepted(leaf, presented, purpose, at, |_| Ok(()))
    }

    /// Verify as [`TrustBundle::verify`], and take the first path that `accept` does not refuse.
    ///
    /// # Errors
    /// The first refusal by `accept`, or [`ChainError`] if no path is valid.
    pub fn verify_accepted<E: From<ChainError>>(
        &self,
        leaf: &CertificateDer<'_>,
        presented: &[CertificateDer<'_>],
        purpose: Purpose,
        at: OffsetDateTime,
        mut accept: impl FnMut(&VerifiedChain) -> Result<(), E>,
    ) -> Result<VerifiedChain, E> {
        let leaf = path::read_leaf(leaf)?;
        // Many clients send the root too. Parsing it again would cost 2 % of a handshake.
        let known = |der: &CertificateDer<'_>| self.authorities().any(|(_, known)| known.der == *der);
        // One that cannot be read issues nothing, and may have nothing to do with the leaf.
        let others: Vec<_> = presented
            .iter()
            .filter(|der| !known(der))
            .filter_map(|der| Certificate::from_der(der).ok())
            .collect();
        let others =
            others.iter().map(|certificate| Candidate { certificate, conforming: false, presented: true });
        let configured = self.intermediates.iter().map(|known| &known.certificate);
        let configured = configured.map(|certificate| Candidate {
            certificate,
            conforming: true,
            presented: presented.contains(&certificate.der),
        });
        let candidates: Vec<_> = others.chain(configured).collect();
        let key_of = |certificate: &Certificate| self.intermediate_key(certificate);
        let rules = PathRules { anchors: self.anchors(), key_of: &key_of, purpose, at };
        path::find(rules, &leaf, &candidates, &mut accept)
    }

    /// Key identifier of an intermediate CA, which must not be that of another known key.
    ///
    /// Otherwise its certificates would be looked up in the CRL of the other CA.
    fn intermediate_key(&self, certificate: &Certificate) -> Result<KeyIdentifier, ChainError> {
        let key_identifier =
            certificate.subject_key_identifier.clone().ok_or(ChainError::IssuerKeyIdentifier)?;
        let key = &certificate.public_key_info;
        let anchor =
            self.anchor(&key_identifier).is_some_and(|anchor| anchor.certificate.public_key_info != *key);
        let impersonates =
            anchor || self.intermediates.iter().any(|known| known.is_impersonated_by(&key_identifier, key));
        if impersonates { Err(ChainError::IssuerKeyIdentifier) } else { Ok(key_identifier) }
    }
}

/// Fit trust anchor, and its position in the file.
type NumberedAnchor = (usize, TrustAnchor);

/// Add a certificate to the `fit` anchors. Return the one that is refused.
///
/// Of two certificates of one key, such as a root and its renewal, the one that expires later stays.
fn add(
    index: usize,
    certificate: Certificate,
    fit: &mut Vec<NumberedAnchor>,
    at: OffsetDateTime,
) -> Option<TrustError> {
    let refused = |index, certificate: &Certificate, fault| TrustError::Anchor {
        index,
        subject: certificate.subject.to_string(),
        fingerprint: certificate.fingerprint(),
        fault,
    };
    let key_identifier = match check_anchor(&certificate, at) {
        Ok(key_identifier) => key_identifier,
        Err(fault) => return Some(refused(index, &certificate, fault)),
    };
    for (earlier, anchor) in &mut *fit {
        let known = &anchor.certificate;
        let same_key = known.public_key_info == certificate.public_key_info;
        let same_identifier = anchor.key_identifier == key_identifier;
        if same_key && known.subject.der == certificate.subject.der {
            if !same_identifier || known.not_after >= certificate.not_after {
                return Some(refused(index, &certificate, AnchorError::Duplicate { other: *earlier }));
            }
            let error = refused(*earlier, known, AnchorError::Duplicate { other: index });
            (*earlier, anchor.certificate) = (index, certificate);
            return Some(error);
        }
        if same_identifier {
            return Some(refused(index, &certificate, AnchorError::KeyIdentifierTaken { earlier: *earlier }));
        }
    }
    fit.push((index, TrustAnchor { certificate, key_identifier }));
    None
}

/// Check that a certificate is fit as an anchor, and return its key identifier.
fn check_anchor(certificate: &Certificate, at: OffsetDateTime) -> Result<KeyIdentifier, AnchorError> {
    let key_identifier = lint(certificate, at)?;
    // The parser of webpki is stricter.
    webpki::anchor_from_trusted_cert(&certificate.der)
        .map_err(|error| AnchorError::Unreadable { why: error.to_string() })?;
    Ok(key_identifier)
}

/// Verify that a server certificate is valid for `host`.
///
/// # Errors
/// [`ChainError::WrongName`], or [`ChainError::Malformed`].
pub fn verify_host(leaf: &CertificateDer<'_>, host: &ServerName<'_>) -> Result<(), ChainError> {
    EndEntityCert::try_from(leaf)
        .and_then(|leaf| leaf.verify_is_valid_for_subject_name(host))
        .map_err(|error| ChainError::from_webpki(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Coded;
    use crate::x509::der::tag;
    use crate::x509::testing::{Root, authority, client, encode, now, unknown_critical};
    use crate::x509::trust::ChainLink;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose,
        GeneralSubtree, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
    };

    type Change = fn(&mut CertificateParams);

    fn verify_code(bundle: &TrustBundle, leaf: &CertificateDer<'_>, purpose: Purpose) -> &'static str {
        bundle.verify(leaf, &[], purpose, now()).map_or_else(|error| error.code(), |_| "verified")
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
    fn the_fingerprint_distinguishes_sets_of_anchors() {
        let (a, b) = (Root::new("a"), Root::new("b"));
        let of = |text: String| TrustBundle::from_pem(text.as_bytes(), now()).unwrap().fingerprint();
        assert_eq!(of(a.pem() + &b.pem()), of(b.pem() + &a.pem()));
        assert_ne!(of(a.pem() + &b.pem()), of(a.pem()));
    }

    #[test]
    fn a_restricted_bundle_trusts_the_common_anchors() {
        let [a, b, c] = ["a", "b", "c"].map(Root::new);
        let of = |roots: &[&Root]| {
            let text: String = roots.iter().map(|root| root.pem()).collect();
            TrustBundle::from_pem(text.as_bytes(), now()).unwrap()
        };
        let narrowed =
            |bundle: TrustBundle, other: TrustBundle| bundle.restricted_to(|key| other.anchor(key).is_some());
        let both = narrowed(of(&[&a, &b]), of(&[&b, &c]));
        assert!(both.has_same_authorities(&of(&[&b])));
        assert_eq!(verify_code(&both, &b.issue(&client(7)), Purpose::Client), "verified");
        for stranger in [&a, &c] {
            let leaf = stranger.issue(&client(7));
            assert_eq!(verify_code(&both, &leaf, Purpose::Client), "chain.unknown_issuer");
        }
        assert!(narrowed(of(&[&a]), of(&[&b])).anchors().is_empty());
    }

    #[test]
    fn a_renewed_root_takes_the_place_of_the_one_that_expires_earlier() {
        let old = Root::new("root");
        let renewed = |not_after| {
            let late = old.resign(old.der(), |fields| {
                let start = encode(tag::UTC_TIME, b"290101000000Z");
                fields[4] = encode(tag::SEQUENCE, &[start, encode(tag::UTC_TIME, not_after)].concat());
            });
            pem::pem("CERTIFICATE", &late)
        };
        let unfit = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n".to_owned();
        for (text, other, refused) in [
            (unfit.clone() + &old.pem() + &renewed(b"330101000000Z"), 3, 2),
            (unfit + &renewed(b"330101000000Z") + &old.pem(), 2, 3),
        ] {
            let bundle = TrustBundle::from_pem_excluding(text.as_bytes(), now()).unwrap();
            assert_eq!(bundle.anchors().len(), 1);
            assert_eq!(bundle.anchors()[0].certificate.not_after.year(), 2033);
            let fault = AnchorError::Duplicate { other };
            let named = |error: &TrustError| matches!(error, TrustError::Anchor { index, fault: found, .. } if *index == refused && *found == fault);
            assert!(bundle.excluded().iter().any(named), "{:?}", bundle.excluded());
            assert_eq!(verify_code(&bundle, &old.issue(&client(7)), Purpose::Client), "verified");
        }
    }

    #[test]
    fn a_chain_is_verified_for_its_purpose_only() {
        let root = Root::new("root");
        let leaf = root.issue(&client(7));
        let chain = root.bundle().verify(&leaf, &[], Purpose::Client, now()).unwrap();
        let key_identifier = root.certificate().subject_key_identifier.unwrap();
        assert_eq!(chain.anchor, key_identifier);
        let serial_number = "7".parse().unwrap();
        assert_eq!(chain.links, [ChainLink { issuer: key_identifier, serial_number }]);
        assert_eq!(chain.leaf.der, leaf);
        assert_eq!(verify_code(&root.bundle(), &leaf, Purpose::Server), "chain.wrong_purpose");
    }

    #[test]
    fn a_chain_is_refused_with_the_violated_rule() {
        use time::Duration;
        let root = Root::new("root");
        let cases: &[(&str, Change)] = &[
            ("chain.expired", |p| p.not_after = now() - Duration::SECOND),
            ("chain.not_yet_valid", |p| p.not_before = now() + Duration::SECOND),
            ("chain.wrong_purpose", |p| p.extended_key_usages.clear()),
            ("chain.wrong_purpose", |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]),
            ("chain.key_usage", |p| p.key_usages = vec![KeyUsagePurpose::KeyEncipherment]),
            ("chain.ca_as_leaf", |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            ("chain.unsupported_extension", |p| p.custom_extensions.push(unknown_critical())),
        ];
        for (code, change) in cases {
            let mut params = client(7);
            change(&mut params);
            assert_eq!(verify_code(&root.bundle(), &root.issue(&params), Purpose::Client), *code);
        }
        let leaf = root.issue(&client(7));
        assert_eq!(verify_code(&Root::new("other").bundle(), &leaf, Purpose::Client), "chain.unknown_issuer");
        assert_eq!(verify_code(&Root::new("root").bundle(), &leaf, Purpose::Client), "chain.bad_signature");
        assert_eq!(
            verify_code(&root.bundle(), &CertificateDer::from(vec![0x30, 0]), Purpose::Client),
            "chain.malformed"
        );
    }

    #[test]
    fn a_root_that_expires_after_loading_verifies_nothing() {
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
        assert_eq!(verify_code(&root.bundle(), &leaf, Purpose::Client), "chain.unknown_issuer");
    }

    #[test]
    fn an_intermediate_ca_cannot_impersonate_the_root() {
        let root = Root::new("root");
        let anchor_key = root.certificate().subject_key_identifier.unwrap();
        let impersonator = intermediate(&root, |p| {
            p.key_identifier_method = KeyIdMethod::PreSpecified(anchor_key.0);
        });
        let leaf = impersonator.issue(&client(7));
        let error =
            root.bundle().verify(&leaf, &[impersonator.0.der().clone()], Purpose::Client, now()).unwrap_err();
        assert_eq!(error.code(), "chain.issuer_key_identifier");
    }

    #[test]
    fn limits_of_cas_are_enforced() {
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
            assert_eq!(verify_code(&root.bundle(), &root.issue(&client(7)), Purpose::Client), "verified");
        }
    }

    #[test]
    fn a_modified_certificate_neither_verifies_nor_panics() {
        let root = Root::new("root");
        let bundle = root.bundle();
        let leaf = root.issue(&client(7));
        for at in 0..leaf.len() {
            let mut flipped = leaf.to_vec();
            flipped[at] ^= 1;
            assert_ne!(
                verify_code(&bundle, &CertificateDer::from(flipped), Purpose::Client),
                "verified",
                "{at}"
            );
            assert_ne!(
                verify_code(&bundle, &CertificateDer::from(leaf[..at].to_vec()), Purpose::Client),
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
