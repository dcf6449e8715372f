//! The CRLs in force, one for each issuer, and where a chain stands with them.

use std::fmt;
use std::sync::Arc;

use time::OffsetDateTime;

use super::{Crl, CrlError};
use crate::clock::rfc3339;
use crate::x509::KeyIdentifier;
use crate::x509::trust::{Link, TrustBundle, VerifiedChain};

/// The newest CRL of each issuer. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct RevocationSet(Arc<[Arc<Crl>]>);

impl RevocationSet {
    /// Reads a file of CRLs, PEM or DER, and verifies each. Every anchor of the bundle must have
    /// one; of several of one issuer the newest counts.
    ///
    /// # Errors
    /// [`CrlError`] for the first that is refused, or for the first anchor without one.
    pub fn from_pem(bytes: &[u8], bundle: &TrustBundle, at: OffsetDateTime) -> Result<Self, CrlError> {
        Self::newest_of(Crl::read_all(bytes, bundle, at)?, bundle)
    }

    /// The newest of each issuer. Every anchor of the bundle must have one.
    ///
    /// # Errors
    /// [`CrlError::NumberReused`], or [`CrlError::MissingForIssuer`] for the first anchor without one.
    pub fn newest_of(offered: Vec<Crl>, bundle: &TrustBundle) -> Result<Self, CrlError> {
        let mut crls: Vec<Arc<Crl>> = Vec::new();
        for crl in offered {
            match crls.iter_mut().find(|known| known.issuer == crl.issuer) {
                Some(known) if known.number > crl.number => {}
                Some(known) => {
                    if known.gives_way_to(&crl)? {
                        *known = Arc::new(crl);
                    }
                }
                None => crls.push(Arc::new(crl)),
            }
        }
        let missing =
            bundle.anchors().iter().find(|anchor| crls.iter().all(|crl| crl.issuer != anchor.key_identifier));
        match missing {
            Some(anchor) => Err(CrlError::MissingForIssuer {
                issuer: anchor.key_identifier.clone(),
                subject: anchor.certificate.subject.to_string(),
            }),
            None => Ok(Self(crls.into())),
        }
    }

    /// This set with one newer CRL in it; the same set when it has that CRL already.
    ///
    /// # Errors
    /// [`CrlError::Rollback`] or [`CrlError::NumberReused`]; this set stays as it is.
    pub fn with(&self, crl: Crl) -> Result<Self, CrlError> {
        let mut crls = self.0.to_vec();
        match crls.iter_mut().find(|known| known.issuer == crl.issuer) {
            Some(known) if known.gives_way_to(&crl)? => *known = Arc::new(crl),
            Some(_) => return Ok(self.clone()),
            None => crls.push(Arc::new(crl)),
        }
        Ok(Self(crls.into()))
    }

    /// `next`, read after this one, provided that none of its CRLs is older than the one here. An
    /// issuer that `next` does not have is no longer trusted.
    ///
    /// # Errors
    /// [`CrlError::Rollback`] or [`CrlError::NumberReused`]; this set should stay in force.
    pub fn succeeded_by(&self, next: Self) -> Result<Self, CrlError> {
        for offered in next.crls() {
            if let Some(current) = self.crl(&offered.issuer) {
                current.gives_way_to(offered)?;
            }
        }
        Ok(next)
    }

    /// The CRLs.
    pub fn crls(&self) -> impl Iterator<Item = &Crl> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// The CRL of one issuer.
    #[must_use]
    pub fn crl(&self, issuer: &KeyIdentifier) -> Option<&Crl> {
        self.crls().find(|crl| crl.issuer == *issuer)
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
    use crate::x509::testing::{Root, client, now};
    use crate::x509::trust::Purpose;
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
        let verify = |der: &[u8]| Crl::verify(der, &bundle, now()).unwrap();
        let second = root.crl(2, &[7], now());
        let current = RevocationSet::from_pem(&second, &bundle, now()).unwrap();

        match current.with(verify(&root.crl(1, &[], now()))).unwrap_err() {
            CrlError::Rollback { current, offered, .. } => {
                assert_eq!((current, offered), (2.into(), 1.into()))
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(current.with(verify(&root.crl(2, &[], now()))).unwrap_err().code(), "crl.number_reused");
        assert!(
            Arc::ptr_eq(&current.with(verify(&second)).unwrap().0, &current.0),
            "the same changes nothing"
        );
        let newer = current.with(verify(&root.crl(3, &[7, 8], now()))).unwrap();
        assert_eq!(newer.crls().map(Crl::len).sum::<usize>(), 2);

        let older = RevocationSet::from_pem(&root.crl(1, &[], now()), &bundle, now()).unwrap();
        assert_eq!(current.succeeded_by(older).unwrap_err().code(), "crl.rollback");
        assert!(current.succeeded_by(newer).is_ok() && current.succeeded_by(current.clone()).is_ok());
    }

    #[test]
    fn a_newly_trusted_issuer_joins() {
        let (a, b) = (Root::new("a"), Root::new("b"));
        let both = TrustBundle::from_pem((a.pem() + &b.pem()).as_bytes(), now()).unwrap();
        let only_a = set(&crl(&a, 1, &[]), &a.bundle()).unwrap();
        let joined = only_a.with(Crl::verify(&b.crl(1, &[7], now()), &both, now()).unwrap()).unwrap();
        assert_eq!(joined.standing(&chain(&b, &both, 7), now()).code(), "revocation.revoked");
    }
}
