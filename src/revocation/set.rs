//! CRLs in force, one for each issuer, and the revocation status of chains.

use std::fmt;
use std::sync::Arc;

use time::OffsetDateTime;

use super::crl::{Crl, CrlError};
use super::read::{ReadCrls, meant_for};
use crate::clock::rfc3339;
use crate::error::Code;
use crate::x509::trust::{ChainLink, TrustBundle, VerifiedChain};
use crate::x509::{Certificate, KeyIdentifier};

/// Newest CRL of each issuer. Cloning is cheap.
///
/// If the issuer of an intermediate CA revokes its certificate, the CRLs of that CA lose their effect.
#[derive(Clone, Debug)]
pub struct RevocationSet {
    in_force: Arc<[Arc<Crl>]>,
    revoked_issuers: Arc<[RevokedIssuer]>,
}

/// Intermediate CA whose certificates are all revoked.
#[derive(Clone, Debug)]
struct RevokedIssuer {
    issuer: KeyIdentifier,
    /// Newest of the last CRL that had an effect and those read since. It is in force again if the revocation is
    /// lifted, and no older CRL is accepted then.
    last: Option<Arc<Crl>>,
}

impl RevocationSet {
    /// Read and verify the CRLs in a file, PEM or DER, which must have one of every CA in the bundle.
    ///
    /// Of several CRLs of one issuer, the newest is used. CRLs of issuers that are not in the bundle have no effect.
    ///
    /// # Errors
    /// [`CrlError`] for the first refused CRL, or the first CA without one.
    pub fn from_pem(bytes: &[u8], bundle: &TrustBundle, at: OffsetDateTime) -> Result<Self, CrlError> {
        Self::newest_read(&ReadCrls::read(bytes, bundle, at)?, bundle)
    }

    /// Select the newest CRL of each issuer from a file. Every CA of the bundle must have one.
    ///
    /// # Errors
    /// Those of [`RevocationSet::newest_of`], or the reason for setting aside the CRL that seems to be meant.
    pub fn newest_read(read: &ReadCrls, bundle: &TrustBundle) -> Result<Self, CrlError> {
        Self::newest_of(&read.trusted, bundle).map_err(|error| {
            let meant = meant_for(&error, &read.set_aside).and_then(|index| read.set_aside.get(index));
            meant.cloned().unwrap_or(error)
        })
    }

    /// Select the newest CRL of each issuer. Every CA of the bundle must have one, unless it is revoked.
    ///
    /// # Errors
    /// [`CrlError::NumberReused`], or [`CrlError::MissingForIssuer`] for the first CA without one.
    pub fn newest_of(offered: &[Arc<Crl>], bundle: &TrustBundle) -> Result<Self, CrlError> {
        let mut set = Self::assemble(bundle, |issuer, certificate| match newest(offered, issuer)? {
            Some(crl) => Ok(Some(crl)),
            None => Err(CrlError::MissingForIssuer {
                issuer: issuer.clone(),
                subject: certificate.subject.to_string(),
            }),
        })?;
        let standby = |revoked: &RevokedIssuer| RevokedIssuer {
            issuer: revoked.issuer.clone(),
            last: newest(offered, &revoked.issuer).unwrap_or_default(),
        };
        set.revoked_issuers = set.revoked_issuers.iter().map(standby).collect();
        Ok(set)
    }

    /// Keep the CRLs of revoked CAs that satisfy `is_fit` for the end of the revocation, and drop the others.
    #[must_use]
    pub fn with_standby_that(mut self, is_fit: impl Fn(&Crl) -> bool) -> Self {
        let standby = |revoked: &RevokedIssuer| RevokedIssuer {
            issuer: revoked.issuer.clone(),
            last: revoked.last.clone().filter(|crl| is_fit(crl)),
        };
        self.revoked_issuers = self.revoked_issuers.iter().map(standby).collect();
        self
    }

    /// Add newer CRLs of CAs in `bundle`. CRLs already in the set, and those of revoked CAs, have no effect.
    ///
    /// # Errors
    /// [`CrlError::Rollback`] or [`CrlError::NumberReused`].
    pub fn with(&self, offered: &[Arc<Crl>], bundle: &TrustBundle) -> Result<Self, CrlError> {
        let next = Self::assemble(bundle, |issuer, _| {
            let known = self.last_known(issuer);
            match (newest(offered, issuer)?, known) {
                (Some(crl), Some(known)) if !known.superseded_by(&crl)? => Ok(Some(Arc::clone(known))),
                (Some(crl), _) => Ok(Some(crl)),
                (None, known) => Ok(known.cloned()),
            }
        })?;
        Ok(self.carried_over_to(next))
    }

    /// Add those of `offered` that are newer, and ignores CRLs that [`RevocationSet::with`] refuses.
    #[must_use]
    pub fn with_newer_of(&self, offered: &[Arc<Crl>], bundle: &TrustBundle) -> Self {
        // Removes CRLs of issuers that are no longer in the bundle.
        let mut set = self.with(&[], bundle).unwrap_or_else(|_| self.clone());
        // A CRL may lift the revocation of a CA whose own CRL precedes it.
        for _ in 0..=bundle.intermediates().len() {
            for crl in offered {
                set = set.with(std::slice::from_ref(crl), bundle).unwrap_or(set);
            }
        }
        set
    }

    /// Accept `next`, read later, as the successor of this set, unless one of its CRLs is older.
    ///
    /// Issuers missing in `next` are no longer trusted.
    ///
    /// # Errors
    /// [`CrlError::Rollback`] or [`CrlError::NumberReused`]; this set should then stay in force.
    pub fn succeeded_by(&self, next: Self) -> Result<Self, CrlError> {
        for offered in next.crls() {
            if let Some(current) = self.last_known(&offered.issuer) {
                current.superseded_by(offered)?;
            }
        }
        Ok(self.carried_over_to(next))
    }

    /// CRLs in force.
    pub fn crls(&self) -> impl Iterator<Item = &Crl> {
        self.in_force.iter().map(AsRef::as_ref)
    }

    /// CRL in force of one issuer.
    #[must_use]
    pub fn crl(&self, issuer: &KeyIdentifier) -> Option<&Crl> {
        self.crls().find(|crl| crl.issuer == *issuer)
    }

    /// Check for a revoked intermediate CA, whose own CRL has no effect.
    #[must_use]
    pub fn is_issuer_revoked(&self, issuer: &KeyIdentifier) -> bool {
        self.revoked_issuers.iter().any(|revoked| revoked.issuer == *issuer)
    }

    /// Walk down from the anchors, and request the CRL of every CA that its issuers have not revoked.
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
                // A key may have several certificates, and needs one that is not revoked.
                if !revoked && issuers.iter().all(|(known, _)| *known != &below.key_identifier) {
                    issuers.push((&below.key_identifier, &below.certificate));
                }
            }
            in_force.extend(crl);
        }
        let mut revoked_issuers: Vec<RevokedIssuer> = Vec::new();
        for below in bundle.intermediates() {
            let issuer = &below.key_identifier;
            if issuers.iter().all(|(known, _)| *known != issuer)
                && revoked_issuers.iter().all(|revoked| revoked.issuer != *issuer)
            {
                revoked_issuers.push(RevokedIssuer { issuer: issuer.clone(), last: None });
            }
        }
        Ok(Self { in_force: in_force.into(), revoked_issuers: revoked_issuers.into() })
    }

    /// CRL in force of an issuer or, for a revoked CA, the one that a lifted revocation puts in force.
    #[must_use]
    pub fn last_known(&self, issuer: &KeyIdentifier) -> Option<&Arc<Crl>> {
        let revoked = self.revoked_issuers.iter().find(|revoked| revoked.issuer == *issuer);
        let in_force = || self.in_force.iter().find(|crl| crl.issuer == *issuer);
        revoked.and_then(|revoked| revoked.last.as_ref()).or_else(in_force)
    }

    /// Copy the last CRLs of revoked issuers to `next`, unless it has read newer ones.
    fn carried_over_to(&self, next: Self) -> Self {
        let carried_over = |revoked: &RevokedIssuer| {
            let (known, read) = (self.last_known(&revoked.issuer), revoked.last.as_ref());
            let is_newer =
                |read: &&Arc<Crl>| known.is_some_and(|known| known.superseded_by(read) == Ok(true));
            let last = read.filter(is_newer).or(known).or(read).cloned();
            RevokedIssuer { issuer: revoked.issuer.clone(), last }
        };
        Self { revoked_issuers: next.revoked_issuers.iter().map(carried_over).collect(), ..next }
    }

    /// Revocation status of a chain at `at`. A revocation has priority over a missing or expired CRL.
    pub fn status_of(&self, chain: &VerifiedChain, at: OffsetDateTime) -> RevocationStatus {
        let mut status = RevocationStatus::Good;

        for link in &chain.links {
            let found = match self.crl(&link.issuer) {
                Some(crl) if crl.contains(&link.serial_number) => {
                    return RevocationStatus::Revoked { link: link.clone() };
                }
                Some(crl) if crl.is_expired_at(at) => {
                    RevocationStatus::Expired { issuer: link.issuer.clone(), next_update: crl.next_update }
                }
                Some(_) => RevocationStatus::Good,
                None => RevocationStatus::NoCrl { issuer: link.issuer.clone() },
            };
            status = status.or(found);
        }
        status
    }
}

/// Newest CRL of `issuer`.
fn newest(offered: &[Arc<Crl>], issuer: &KeyIdentifier) -> Result<Option<Arc<Crl>>, CrlError> {
    let mut newest: Option<&Arc<Crl>> = None;
    for crl in offered.iter().filter(|crl| crl.issuer == *issuer) {
        newest = match newest {
            Some(known) if known.number > crl.number || !known.superseded_by(crl)? => Some(known),
            _ => Some(crl),
        };
    }
    Ok(newest.cloned())
}

/// Revocation status of a chain. Only [`RevocationStatus::Good`] means "not revoked".
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum RevocationStatus {
    /// Every issuer has a current CRL, without an entry for a certificate of the chain.
    Good,
    /// No known revocation, but an expired CRL.
    Expired {
        /// Key of the issuer.
        issuer: KeyIdentifier,
        /// Expiry of the CRL.
        next_update: OffsetDateTime,
    },
    /// No CRL of an issuer.
    NoCrl {
        /// Key of the issuer.
        issuer: KeyIdentifier,
    },
    /// Revoked certificate in the chain.
    Revoked {
        /// Revoked certificate.
        link: ChainLink,
    },
}

impl RevocationStatus {
    /// The worse of two; the first if they are equal.
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

    /// Error code and class of the status.
    #[must_use]
    pub fn coded(&self) -> Code {
        match self {
            Self::Good => Code::refused("revocation.good"),
            Self::Expired { .. } => Code::refused("revocation.crl_expired"),
            Self::NoCrl { .. } => Code::refused("revocation.no_crl"),
            Self::Revoked { .. } => Code::refused("revocation.revoked"),
        }
    }

    /// Name of the error code, such as `revocation.revoked`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.coded().name()
    }
}

impl fmt::Display for RevocationStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good => write!(f, "not revoked"),
            Self::Expired { issuer, next_update } => {
                write!(f, "the CRL of issuer {issuer} expired at {}", rfc3339(*next_update))
            }
            Self::NoCrl { issuer } => write!(f, "there is no CRL of issuer {issuer}"),
            Self::Revoked { link } => write!(f, "certificate {} is revoked", link.serial_number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Coded;
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
    fn revoked_and_good_certificates_are_distinguished() {
        let root = Root::new("root");
        let bundle = root.bundle();
        let set = set(&crl(&root, 1, &[7]), &bundle).unwrap();
        let (revoked, good) = (chain(&root, &bundle, 7), chain(&root, &bundle, 8));
        assert_eq!(
            set.status_of(&revoked, now()),
            RevocationStatus::Revoked { link: revoked.links[0].clone() }
        );
        assert_eq!(set.status_of(&good, now()), RevocationStatus::Good);
        let late = now() + Duration::days(10);
        assert_eq!(set.status_of(&good, late).code(), "revocation.crl_expired");
        assert_eq!(set.status_of(&good, late - Duration::SECOND), RevocationStatus::Good);
        assert_eq!(set.status_of(&revoked, late).code(), "revocation.revoked", "a revocation remains valid");
    }

    #[test]
    fn a_serial_number_is_revoked_for_its_issuer_only() {
        let (a, b) = (Root::new("root"), Root::new("root"));
        let bundle = TrustBundle::from_pem((a.pem() + &b.pem()).as_bytes(), now()).unwrap();
        let set = set(&(crl(&a, 1, &[7]) + &crl(&b, 1, &[])), &bundle).unwrap();
        assert_eq!(set.status_of(&chain(&a, &bundle, 7), now()).code(), "revocation.revoked");
        assert_eq!(set.status_of(&chain(&b, &bundle, 7), now()), RevocationStatus::Good);
    }

    #[test]
    fn an_issuer_without_crl_is_never_good() {
        let (a, b) = (Root::new("a"), Root::new("b"));
        let bundle = TrustBundle::from_pem((a.pem() + &b.pem()).as_bytes(), now()).unwrap();
        assert_eq!(set(&crl(&a, 1, &[]), &bundle).unwrap_err(), "crl.missing_for_issuer");
        let only_a = set(&crl(&a, 1, &[]), &a.bundle()).unwrap();
        assert_eq!(only_a.status_of(&chain(&b, &bundle, 7), now()).code(), "revocation.no_crl");
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
    fn the_newest_crl_of_an_issuer_is_used_in_any_order() {
        let root = Root::new("root");
        let (old, new) = (crl(&root, 1, &[]), crl(&root, 2, &[7]));
        let bundle = root.bundle();
        let chain = chain(&root, &bundle, 7);
        for text in [format!("{old}{new}"), format!("{new}{old}"), format!("{new}{new}")] {
            assert_eq!(set(&text, &bundle).unwrap().status_of(&chain, now()).code(), "revocation.revoked");
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
        assert!(Arc::ptr_eq(&same.in_force[0], &current.in_force[0]), "the same CRL has no effect");
        let newer = with(root.crl(3, &[7, 8], now())).unwrap();
        assert_eq!(newer.crls().map(Crl::len).sum::<usize>(), 2);

        let older = RevocationSet::from_pem(&root.crl(1, &[], now()), &bundle, now()).unwrap();
        assert_eq!(current.succeeded_by(older).unwrap_err().code(), "crl.rollback");
        assert!(current.succeeded_by(newer).is_ok() && current.succeeded_by(current.clone()).is_ok());
    }

    #[test]
    fn newer_crls_are_added_despite_older_ones() {
        let (root, below, bundle) = with_intermediate_ca();
        let issuer = below.certificate().subject_key_identifier.unwrap();
        let offered = |ders: &[Vec<u8>]| -> Vec<_> {
            ders.iter().map(|der| Arc::new(Crl::verify(der, &bundle, now()).unwrap())).collect()
        };
        let current = set(&(crl(&root, 5, &[]) + &crl(&below, 5, &[])), &bundle).unwrap();
        let mixed = [below.crl(4, &[], now()), below.crl(5, &[7], now()), root.crl(6, &[8], now())];
        let next = current.with_newer_of(&offered(&mixed), &bundle);
        assert_eq!(next.crls().map(|crl| crl.number).collect::<Vec<_>>(), [6.into(), 5.into()]);
        assert!(!next.crl(&issuer).unwrap().contains(&"7".parse().unwrap()));

        let with_revoked = current.with_newer_of(&offered(&[root.crl(6, &[99], now())]), &bundle);
        assert!(with_revoked.is_issuer_revoked(&issuer));
        let released = [below.crl(9, &[7], now()), root.crl(7, &[], now())];
        let released = with_revoked.with_newer_of(&offered(&released), &bundle);
        assert_eq!(released.crl(&issuer).unwrap().number, 9.into());
    }

    #[test]
    fn a_crl_of_a_newly_trusted_issuer_is_added() {
        let (a, b) = (Root::new("a"), Root::new("b"));
        let both = TrustBundle::from_pem((a.pem() + &b.pem()).as_bytes(), now()).unwrap();
        let only_a = set(&crl(&a, 1, &[]), &a.bundle()).unwrap();
        let offered = [Arc::new(Crl::verify(&b.crl(1, &[7], now()), &both, now()).unwrap())];
        let joined = only_a.with(&offered, &both).unwrap();
        assert_eq!(joined.status_of(&chain(&b, &both, 7), now()).code(), "revocation.revoked");
    }

    /// A root, an intermediate CA with the serial number 99, and a bundle with both.
    fn with_intermediate_ca() -> (Root, Root, TrustBundle) {
        let root = Root::new("root");
        let mut params = authority("below");
        params.serial_number = Some(99.into());
        let below = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &root.0).unwrap();
        let below = Root(below);
        let bundle = root.bundle().with_intermediates(below.pem().as_bytes(), now()).unwrap();
        (root, below, bundle)
    }

    #[test]
    fn an_intermediate_ca_has_a_crl_of_its_own() {
        let (root, below, bundle) = with_intermediate_ca();
        assert_eq!(set(&crl(&root, 1, &[]), &bundle).unwrap_err(), "crl.missing_for_issuer");
        let set = set(&(crl(&below, 1, &[7]) + &crl(&root, 1, &[8])), &bundle).unwrap();
        let status = |serial| {
            let (leaf, sent) = (below.issue(&client(serial)), [below.0.der().clone()]);
            set.status_of(&bundle.verify(&leaf, &sent, Purpose::Client, now()).unwrap(), now()).code()
        };
        assert_eq!((status(7), status(8)), ("revocation.revoked", "revocation.good"));
    }

    #[test]
    fn crls_of_a_revoked_ca_have_no_effect() {
        let (root, below, bundle) = with_intermediate_ca();
        let issuer = below.certificate().subject_key_identifier.unwrap();
        let read = |text: &str| set(text, &bundle);
        let good = read(&(crl(&root, 1, &[]) + &crl(&below, 5, &[7]))).unwrap();
        assert!(!good.is_issuer_revoked(&issuer));

        // Neither a missing CRL of it nor two of the same number matter.
        assert!(read(&crl(&root, 2, &[99])).unwrap().is_issuer_revoked(&issuer));
        let conflicting = crl(&root, 2, &[99]) + &crl(&below, 6, &[]) + &crl(&below, 6, &[8]);
        let revoked = good.succeeded_by(read(&conflicting).unwrap()).unwrap();
        assert!(revoked.is_issuer_revoked(&issuer) && revoked.crl(&issuer).is_none());
        let leaf = below.issue(&client(8));
        let chain = bundle.verify(&leaf, &[below.0.der().clone()], Purpose::Client, now()).unwrap();
        assert_eq!(
            revoked.status_of(&chain, now()),
            RevocationStatus::Revoked { link: chain.links[1].clone() }
        );

        // When the revocation is lifted, its last CRL is in force again.
        let offer = |der: Vec<u8>| [Arc::new(Crl::verify(&der, &bundle, now()).unwrap())];
        let huge = offer(below.crl(900, &[], now()));
        let still = revoked.with(&huge, &bundle).unwrap();
        assert!(still.is_issuer_revoked(&issuer));
        let released = still.with(&offer(root.crl(3, &[], now())), &bundle).unwrap();
        assert_eq!(released.crl(&issuer).unwrap().number, 5.into());
        // A newer one that was read while it was revoked is.
        let read_since = read(&(crl(&root, 3, &[99]) + &crl(&below, 7, &[8]))).unwrap();
        let released = still.succeeded_by(read_since).unwrap();
        let released = released.with(&offer(root.crl(4, &[], now())), &bundle).unwrap();
        assert_eq!(released.crl(&issuer).unwrap().number, 7.into());
        let older = read(&(crl(&root, 3, &[]) + &crl(&below, 4, &[]))).unwrap();
        assert_eq!(still.succeeded_by(older).unwrap_err().code(), "crl.rollback");
    }

    #[test]
    fn a_key_with_two_certificates_is_revoked_with_the_last_of_them() {
        let (root, below, _) = with_intermediate_ca();
        let mut params = authority("below");
        params.serial_number = Some(98.into());
        let renewed = params.signed_by(below.0.key(), &root.0).unwrap();
        let text = below.pem() + &pem("CERTIFICATE", renewed.der());
        let bundle = root.bundle().with_intermediates(text.as_bytes(), now()).unwrap();
        let issuer = below.certificate().subject_key_identifier.unwrap();
        for (revoked, is_revoked) in [(&[99][..], false), (&[98], false), (&[98, 99], true)] {
            let set = set(&(crl(&root, 1, revoked) + &crl(&below, 1, &[])), &bundle).unwrap();
            assert_eq!(set.is_issuer_revoked(&issuer), is_revoked, "{revoked:?}");
        }
    }

    #[test]
    fn cas_below_a_revoked_ca_lose_effect_with_it() {
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
            assert!(set.is_issuer_revoked(&authority.certificate().subject_key_identifier.unwrap()));
        }
    }

    fn text(crls: &[&[u8]]) -> Vec<u8> {
        crls.iter()
            .map(|der| crate::x509::pem::pem(crate::x509::pem::ObjectKind::Crl.label(), der))
            .collect::<String>()
            .into()
    }

    #[test]
    fn the_crl_of_a_removed_root_is_set_aside_beside_one_of_each_trusted_root() {
        let (kept, removed) = (Root::new("kept"), Root::new("removed"));
        let file = text(&[&kept.crl(1, &[7], now()), &removed.crl(1, &[8], now())]);
        let read = ReadCrls::read(&file, &kept.bundle(), now()).unwrap();
        assert_eq!((read.trusted.len(), read.set_aside.len()), (1, 1));
        assert!(
            RevocationSet::newest_read(&read, &kept.bundle())
                .unwrap()
                .crls()
                .all(|crl| crl.contains(&"7".parse().unwrap()))
        );
    }

    #[test]
    fn a_crl_of_another_key_is_named_where_the_right_one_is_missing() {
        let (root, impostor) = (Root::new("root"), Root::new("root"));
        let read = ReadCrls::read(&text(&[&impostor.crl(1, &[], now())]), &root.bundle(), now()).unwrap();
        assert_eq!(
            RevocationSet::newest_read(&read, &root.bundle()).unwrap_err().code(),
            "crl.unknown_issuer"
        );
        let none = ReadCrls::default();
        assert_eq!(
            RevocationSet::newest_read(&none, &root.bundle()).unwrap_err().code(),
            "crl.missing_for_issuer"
        );
    }
}
