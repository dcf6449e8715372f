//! The CRLs in force, one for each issuer, and where a chain stands with them.

use std::fmt;
use std::sync::Arc;

use time::OffsetDateTime;

use super::crl::{Crl, CrlError};
use crate::clock::rfc3339;
use crate::x509::trust::{Link, TrustBundle, VerifiedChain};
use crate::x509::{Certificate, KeyIdentifier};

/// The newest CRL of each issuer. Cloning is cheap.
///
/// An authority below a root is an issuer as long as the CRL of the authority above it does not revoke
/// its certificate. Once it does, what the authority itself says counts for nothing.
#[derive(Clone, Debug)]
pub struct RevocationSet {
    in_force: Arc<[Arc<Crl>]>,
    set_aside: Arc<[SetAside]>,
}

/// An authority whose certificates have all been revoked.
#[derive(Clone, Debug)]
struct SetAside {
    issuer: KeyIdentifier,
    /// Its last CRL that counted: the authority may be released one day, and no older one count then.
    last: Option<Arc<Crl>>,
}

impl RevocationSet {
    /// Reads a file of CRLs, PEM or DER, and verifies each. Every authority of the bundle must have
    /// one; of several of one issuer the newest counts.
    ///
    /// # Errors
    /// [`CrlError`] for the first that is refused, or for the first authority without one.
    pub fn from_pem(bytes: &[u8], bundle: &TrustBundle, at: OffsetDateTime) -> Result<Self, CrlError> {
        let read: Vec<_> = Crl::read_all(bytes, bundle, at)?.into_iter().map(Arc::new).collect();
        Self::newest_of(&read, bundle)
    }

    /// The newest of each issuer. Every authority of the bundle must have one, unless it is revoked.
    ///
    /// # Errors
    /// [`CrlError::NumberReused`], or [`CrlError::MissingForIssuer`] for the first authority without one.
    pub fn newest_of(offered: &[Arc<Crl>], bundle: &TrustBundle) -> Result<Self, CrlError> {
        Self::assemble(bundle, |issuer, certificate| match newest(offered, issuer)? {
            Some(crl) => Ok(Some(crl)),
            None => Err(CrlError::MissingForIssuer {
                issuer: issuer.clone(),
                subject: certificate.subject.to_string(),
            }),
        })
    }

    /// This set with newer CRLs in it, each of an authority of `bundle`; one that is in it already
    /// changes nothing, and neither does one of an authority that is then revoked.
    ///
    /// # Errors
    /// [`CrlError::Rollback`] or [`CrlError::NumberReused`]; this set stays as it is.
    pub fn with(&self, offered: &[Arc<Crl>], bundle: &TrustBundle) -> Result<Self, CrlError> {
        let next = Self::assemble(bundle, |issuer, _| {
            let known = self.last_known(issuer);
            match (newest(offered, issuer)?, known) {
                (Some(crl), Some(known)) if !known.gives_way_to(&crl)? => Ok(Some(Arc::clone(known))),
                (Some(crl), _) => Ok(Some(crl)),
                (None, known) => Ok(known.cloned()),
            }
        })?;
        Ok(self.remembered_in(next))
    }

    /// This set with those of `offered` in it that are newer, each of an authority of `bundle`: what is
    /// older, or at odds with what is known, is passed over and keeps out nothing else.
    #[must_use]
    pub fn with_newer_of(&self, offered: &[Arc<Crl>], bundle: &TrustBundle) -> Self {
        // What of it is of no authority any more goes.
        let mut set = self.with(&[], bundle).unwrap_or_else(|_| self.clone());
        // One CRL may release the authority whose own stands before it.
        for _ in 0..=bundle.intermediates().len() {
            for crl in offered {
                set = set.with(std::slice::from_ref(crl), bundle).unwrap_or(set);
            }
        }
        set
    }

    /// `next`, read after this one, provided that none of its CRLs is older than the one here. An
    /// issuer that `next` does not have is no longer trusted.
    ///
    /// # Errors
    /// [`CrlError::Rollback`] or [`CrlError::NumberReused`]; this set should stay in force.
    pub fn succeeded_by(&self, next: Self) -> Result<Self, CrlError> {
        for offered in next.crls() {
            if let Some(current) = self.last_known(&offered.issuer) {
                current.gives_way_to(offered)?;
            }
        }
        Ok(self.remembered_in(next))
    }

    /// The CRLs in force.
    pub fn crls(&self) -> impl Iterator<Item = &Crl> {
        self.in_force.iter().map(AsRef::as_ref)
    }

    /// The CRL in force of one issuer.
    #[must_use]
    pub fn crl(&self, issuer: &KeyIdentifier) -> Option<&Crl> {
        self.crls().find(|crl| crl.issuer == *issuer)
    }

    /// Whether this authority has been revoked, so that its own CRL counts for nothing.
    #[must_use]
    pub fn has_set_aside(&self, issuer: &KeyIdentifier) -> bool {
        self.set_aside.iter().any(|aside| aside.issuer == *issuer)
    }

    /// Goes from the anchors downward, and asks for the CRL of each authority that is not revoked by
    /// those above it.
    fn assemble(
        bundle: &TrustBundle,
        crl_of: impl Fn(&KeyIdentifier, &Certificate) -> Result<Option<Arc<Crl>>, CrlError>,
    ) -> Result<Self, CrlError> {
        let anchors = bundle.anchors().iter().map(|anchor| (&anchor.key_identifier, &anchor.certificate));
        let mut issuers: Vec<_> = anchors.collect();
        let mut in_force = Vec::with_capacity(issuers.len());
        let mut next = 0;
        while let Some(&(issuer, certificate)) = issuers.get(next) {
            next += 1;
            let crl = crl_of(issuer, certificate)?;
            for below in bundle.intermediates().iter().filter(|below| below.link.issuer == *issuer) {
                let revoked = crl.as_ref().is_some_and(|crl| crl.contains(&below.link.serial_number));
                // One key may have several certificates, and needs one that holds.
                if !revoked && issuers.iter().all(|(known, _)| *known != &below.key_identifier) {
                    issuers.push((&below.key_identifier, &below.certificate));
                }
            }
            in_force.extend(crl);
        }
        let mut set_aside: Vec<SetAside> = Vec::new();
        for below in bundle.intermediates() {
            let issuer = &below.key_identifier;
            if issuers.iter().all(|(known, _)| *known != issuer)
                && set_aside.iter().all(|aside| aside.issuer != *issuer)
            {
                set_aside.push(SetAside { issuer: issuer.clone(), last: None });
            }
        }
        Ok(Self { in_force: in_force.into(), set_aside: set_aside.into() })
    }

    /// The last CRL of an issuer that counted.
    fn last_known(&self, issuer: &KeyIdentifier) -> Option<&Arc<Crl>> {
        let aside = self.set_aside.iter().find(|aside| aside.issuer == *issuer);
        let in_force = || self.in_force.iter().find(|crl| crl.issuer == *issuer);
        aside.and_then(|aside| aside.last.as_ref()).or_else(in_force)
    }

    /// `next`, which remembers of revoked authorities what this set knows.
    fn remembered_in(&self, next: Self) -> Self {
        let remembered = |aside: &SetAside| SetAside {
            issuer: aside.issuer.clone(),
            last: self.last_known(&aside.issuer).cloned(),
        };
        Self { set_aside: next.set_aside.iter().map(remembered).collect(), ..next }
    }

    /// Where a chain stands at `at`: every certificate of it is looked up. A revocation counts
    /// whatever else is missing.
    pub fn standing(&self, chain: &VerifiedChain, at: OffsetDateTime) -> Standing {
        let mut standing = Standing::Good;
        for link in &chain.links {
            let found = match self.crl(&link.issuer) {
                Some(crl) if crl.contains(&link.serial_number) => {
                    return Standing::Revoked { link: link.clone() };
                }
                Some(crl) if crl.is_expired_at(at) => {
                    Standing::Expired { issuer: link.issuer.clone(), next_update: crl.next_update }
                }
                Some(_) => Standing::Good,
                None => Standing::NoCrl { issuer: link.issuer.clone() },
            };
            standing = standing.or(found);
        }
        standing
    }
}

/// The newest of those that `issuer` has made.
fn newest(offered: &[Arc<Crl>], issuer: &KeyIdentifier) -> Result<Option<Arc<Crl>>, CrlError> {
    let mut newest: Option<&Arc<Crl>> = None;
    for crl in offered.iter().filter(|crl| crl.issuer == *issuer) {
        newest = match newest {
            Some(known) if known.number > crl.number || !known.gives_way_to(crl)? => Some(known),
            _ => Some(crl),
        };
    }
    Ok(newest.cloned())
}

/// Where a chain stands with the CRLs in force. Only [`Standing::Good`] is a yes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Standing {
    /// Each certificate's issuer has a current CRL, and it is in none.
    Good,
    /// Not revoked as far as is known, but a CRL is past its end.
    Expired {
        /// Whose CRL.
        issuer: KeyIdentifier,
        /// When its successor was due.
        next_update: OffsetDateTime,
    },
    /// Nobody knows: there is no CRL of one of the issuers.
    NoCrl {
        /// Which.
        issuer: KeyIdentifier,
    },
    /// A certificate of the chain is revoked.
    Revoked {
        /// Which.
        link: Link,
    },
}

impl Standing {
    /// The worse of two; of two that are as bad, the first.
    fn or(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Expired { .. } => 1,
            Self::NoCrl { .. } => 2,
            Self::Revoked { .. } => 3,
        }
    }

    /// The stable code of this answer.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Good => "revocation.good",
            Self::Expired { .. } => "revocation.crl_expired",
            Self::NoCrl { .. } => "revocation.no_crl",
            Self::Revoked { .. } => "revocation.revoked",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good => write!(f, "not revoked"),
            Self::Expired { issuer, next_update } => {
                write!(f, "the CRL of issuer {issuer} should have been replaced by {}", rfc3339(*next_update))
            }
            Self::NoCrl { issuer } => write!(f, "there is no CRL of issuer {issuer}"),
            Self::Revoked { link } => write!(f, "certificate {} is revoked", link.serial_number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::pem::pem;
    use crate::x509::testing::{Root, authority, client, now};
    use crate::x509::trust::Purpose;
    use rcgen::{BasicConstraints, CertifiedIssuer, IsCa, KeyPair};
    use time::Duration;

    fn crl(root: &Root, number: u64, revoked: &[u64]) -> String {
        pem("X509 CRL", &root.crl(number, revoked, now()))
    }

    fn set(text: &str, bundle: &TrustBundle) -> Result<RevocationSet, &'static str> {
        RevocationSet::from_pem(text.as_bytes(), bundle, now()).map_err(|error| error.code())
    }

    fn chain(root: &Root, bundle: &TrustBundle, serial: u64) -> VerifiedChain {
        bundle.verify(&root.issue(&client(serial)), &[], Purpose::Client, now()).unwrap()
    }

    #[test]
    fn a_revoked_certificate_is_told_from_a_good_one() {
        let root = Root::new("root");
        let bundle = root.bundle();
        let set = set(&crl(&root, 1, &[7]), &bundle).unwrap();
        let (revoked, good) = (chain(&root, &bundle, 7), chain(&root, &bundle, 8));
        assert_eq!(set.standing(&revoked, now()), Standing::Revoked { link: revoked.links[0].clone() });
        assert_eq!(set.standing(&good, now()), Standing::Good);
        let late = now() + Duration::days(10);
        assert_eq!(set.standing(&good, late).code(), "revocation.crl_expired");
        assert_eq!(set.standing(&good, late - Duration::SECOND), Standing::Good);
        assert_eq!(set.standing(&revoked, late).code(), "revocation.revoked", "what is revoked stays so");
    }

    #[test]
    fn a_serial_number_is_revoked_for_its_issuer_only() {
        let (a, b) = (Root::new("root"), Root::new("root"));
        let bundle = TrustBundle::from_pem((a.pem() + &b.pem()).as_bytes(), now()).unwrap();
        let set = set(&(crl(&a, 1, &[7]) + &crl(&b, 1, &[])), &bundle).unwrap();
        assert_eq!(set.standing(&chain(&a, &bundle, 7), now()).code(), "revocation.revoked");
        assert_eq!(set.standing(&chain(&b, &bundle, 7), now()), Standing::Good);
    }

    #[test]
    fn an_issuer_without_crl_is_never_good() {
        let (a, b) = (Root::new("a"), Root::new("b"));
        let bundle = TrustBundle::from_pem((a.pem() + &b.pem()).as_bytes(), now()).unwrap();
        assert_eq!(set(&crl(&a, 1, &[]), &bundle).unwrap_err(), "crl.missing_for_issuer");
        let only_a = set(&crl(&a, 1, &[]), &a.bundle()).unwrap();
        assert_eq!(only_a.standing(&chain(&b, &bundle, 7), now()).code(), "revocation.no_crl");
    }

    #[test]
    fn a_file_without_crl_is_refused() {
        let root = Root::new("root");
        for (text, code) in [
            (String::new(), "x509.no_block"),
            ("nothing".to_owned(), "x509.no_block"),
            (root.pem(), "x509.unexpected_block"),
            (crl(&root, 1, &[]).replace("-----END", ""), "x509.pem"),
            (pem("X509 CRL", &[0x30, 0]), "crl.malformed"),
        ] {
            assert_eq!(set(&text, &root.bundle()).unwrap_err(), code, "{text}");
        }
        let der = root.crl(1, &[], now());
        assert!(RevocationSet::from_pem(&der, &root.bundle(), now()).is_ok());
        assert!(RevocationSet::from_pem(&der[..der.len() - 1], &root.bundle(), now()).is_err());
    }

    #[test]
    fn the_newest_of_an_issuer_counts_wherever_it_stands() {
        let root = Root::new("root");
        let (old, new) = (crl(&root, 1, &[]), crl(&root, 2, &[7]));
        let bundle = root.bundle();
        let chain = chain(&root, &bundle, 7);
        for text in [format!("{old}{new}"), format!("{new}{old}"), format!("{new}{new}")] {
            assert_eq!(set(&text, &bundle).unwrap().standing(&chain, now()).code(), "revocation.revoked");
        }
        let other = crl(&root, 2, &[]);
        assert_eq!(set(&(new + &other), &bundle).unwrap_err(), "crl.number_reused");
    }

    #[test]
    fn an_older_crl_never_replaces_a_newer_one() {
        let root = Root::new("root");
        let bundle = root.bundle();
        let verify = |der: &[u8]| [Arc::new(Crl::verify(der, &bundle, now()).unwrap())];
        let second = root.crl(2, &[7], now());
        let current = RevocationSet::from_pem(&second, &bundle, now()).unwrap();

        let with = |der: Vec<u8>| current.with(&verify(&der), &bundle);
        match with(root.crl(1, &[], now())).unwrap_err() {
            CrlError::Rollback { current, offered, .. } => {
                assert_eq!((current, offered), (2.into(), 1.into()))
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(with(root.crl(2, &[], now())).unwrap_err().code(), "crl.number_reused");
        let same = with(second.clone()).unwrap();
        assert!(Arc::ptr_eq(&same.in_force[0], &current.in_force[0]), "the same changes nothing");
        let newer = with(root.crl(3, &[7, 8], now())).unwrap();
        assert_eq!(newer.crls().map(Crl::len).sum::<usize>(), 2);

        let older = RevocationSet::from_pem(&root.crl(1, &[], now()), &bundle, now()).unwrap();
        assert_eq!(current.succeeded_by(older).unwrap_err().code(), "crl.rollback");
        assert!(current.succeeded_by(newer).is_ok() && current.succeeded_by(current.clone()).is_ok());
    }

    #[test]
    fn what_is_newer_is_not_kept_out_by_what_is_not() {
        let (root, below, bundle) = with_authority_below();
        let issuer = below.certificate().subject_key_identifier.unwrap();
        let offered = |ders: &[Vec<u8>]| -> Vec<_> {
            ders.iter().map(|der| Arc::new(Crl::verify(der, &bundle, now()).unwrap())).collect()
        };
        let current = set(&(crl(&root, 5, &[]) + &crl(&below, 5, &[])), &bundle).unwrap();
        let mixed = [below.crl(4, &[], now()), below.crl(5, &[7], now()), root.crl(6, &[8], now())];
        let next = current.with_newer_of(&offered(&mixed), &bundle);
        assert_eq!(next.crls().map(|crl| crl.number).collect::<Vec<_>>(), [6.into(), 5.into()]);
        assert!(!next.crl(&issuer).unwrap().contains(&"7".parse().unwrap()));

        let aside = current.with_newer_of(&offered(&[root.crl(6, &[99], now())]), &bundle);
        assert!(aside.has_set_aside(&issuer));
        let released = [below.crl(9, &[7], now()), root.crl(7, &[], now())];
        let released = aside.with_newer_of(&offered(&released), &bundle);
        assert_eq!(released.crl(&issuer).unwrap().number, 9.into());
    }

    #[test]
    fn a_newly_trusted_issuer_joins() {
        let (a, b) = (Root::new("a"), Root::new("b"));
        let both = TrustBundle::from_pem((a.pem() + &b.pem()).as_bytes(), now()).unwrap();
        let only_a = set(&crl(&a, 1, &[]), &a.bundle()).unwrap();
        let offered = [Arc::new(Crl::verify(&b.crl(1, &[7], now()), &both, now()).unwrap())];
        let joined = only_a.with(&offered, &both).unwrap();
        assert_eq!(joined.standing(&chain(&b, &both, 7), now()).code(), "revocation.revoked");
    }

    /// A root, an authority below it with the serial number 99, and a bundle that knows both.
    fn with_authority_below() -> (Root, Root, TrustBundle) {
        let root = Root::new("root");
        let mut params = authority("below");
        params.serial_number = Some(99.into());
        let below = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &root.0).unwrap();
        let below = Root(below);
        let bundle = root.bundle().with_intermediates(below.pem().as_bytes(), now()).unwrap();
        (root, below, bundle)
    }

    #[test]
    fn an_authority_below_a_root_has_a_crl_of_its_own() {
        let (root, below, bundle) = with_authority_below();
        assert_eq!(set(&crl(&root, 1, &[]), &bundle).unwrap_err(), "crl.missing_for_issuer");
        let set = set(&(crl(&below, 1, &[7]) + &crl(&root, 1, &[8])), &bundle).unwrap();
        let standing = |serial| {
            let (leaf, sent) = (below.issue(&client(serial)), [below.0.der().clone()]);
            set.standing(&bundle.verify(&leaf, &sent, Purpose::Client, now()).unwrap(), now()).code()
        };
        assert_eq!((standing(7), standing(8)), ("revocation.revoked", "revocation.good"));
    }

    #[test]
    fn what_a_revoked_authority_says_counts_for_nothing() {
        let (root, below, bundle) = with_authority_below();
        let issuer = below.certificate().subject_key_identifier.unwrap();
        let read = |text: &str| set(text, &bundle);
        let good = read(&(crl(&root, 1, &[]) + &crl(&below, 5, &[7]))).unwrap();
        assert!(!good.has_set_aside(&issuer));

        // Neither a CRL of it is missed, nor do two of the same number matter.
        assert!(read(&crl(&root, 2, &[99])).unwrap().has_set_aside(&issuer));
        let quarrelling = crl(&root, 2, &[99]) + &crl(&below, 6, &[]) + &crl(&below, 6, &[8]);
        let revoked = good.succeeded_by(read(&quarrelling).unwrap()).unwrap();
        assert!(revoked.has_set_aside(&issuer) && revoked.crl(&issuer).is_none());
        let leaf = below.issue(&client(8));
        let chain = bundle.verify(&leaf, &[below.0.der().clone()], Purpose::Client, now()).unwrap();
        assert_eq!(revoked.standing(&chain, now()), Standing::Revoked { link: chain.links[1].clone() });

        // Released, it takes up where it was left.
        let offer = |der: Vec<u8>| [Arc::new(Crl::verify(&der, &bundle, now()).unwrap())];
        let huge = offer(below.crl(900, &[], now()));
        let still = revoked.with(&huge, &bundle).unwrap();
        assert!(still.has_set_aside(&issuer));
        let released = still.with(&offer(root.crl(3, &[], now())), &bundle).unwrap();
        assert_eq!(released.crl(&issuer).unwrap().number, 5.into());
        let older = read(&(crl(&root, 3, &[]) + &crl(&below, 4, &[]))).unwrap();
        assert_eq!(still.succeeded_by(older).unwrap_err().code(), "crl.rollback");
    }

    #[test]
    fn a_key_with_two_certificates_is_revoked_with_the_last_of_them() {
        let (root, below, _) = with_authority_below();
        let mut params = authority("below");
        params.serial_number = Some(98.into());
        let renewed = params.signed_by(below.0.key(), &root.0).unwrap();
        let text = below.pem() + &pem("CERTIFICATE", renewed.der());
        let bundle = root.bundle().with_intermediates(text.as_bytes(), now()).unwrap();
        let issuer = below.certificate().subject_key_identifier.unwrap();
        for (revoked, aside) in [(&[99][..], false), (&[98], false), (&[98, 99], true)] {
            let set = set(&(crl(&root, 1, revoked) + &crl(&below, 1, &[])), &bundle).unwrap();
            assert_eq!(set.has_set_aside(&issuer), aside, "{revoked:?}");
        }
    }

    #[test]
    fn what_stands_below_a_revoked_authority_is_set_aside_with_it() {
        let mut params = authority("root");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(2));
        let root = Root::with(params);
        let below = |above: &Root, name: &str, serial: u64| {
            let mut params = authority(name);
            params.serial_number = Some(serial.into());
            Root(CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &above.0).unwrap())
        };
        let upper = below(&root, "upper", 99);
        let lower = below(&upper, "lower", 98);
        let text = lower.pem() + &upper.pem();
        let bundle = root.bundle().with_intermediates(text.as_bytes(), now()).unwrap();
        let set = set(&(crl(&root, 1, &[99]) + &crl(&upper, 1, &[])), &bundle).unwrap();
        for authority in [&upper, &lower] {
            assert!(set.has_set_aside(&authority.certificate().subject_key_identifier.unwrap()));
        }
    }
}
