//! One issuer's CRL, verified.

use std::fmt;

use time::{Duration, OffsetDateTime};

use crate::clock::rfc3339;
use crate::x509::crl::{CertificateList, CrlFault, CrlNumber};
use crate::x509::pem::{Kind, blocks_of};
use crate::x509::trust::TrustBundle;
use crate::x509::{KeyIdentifier, RevocationReason, SerialNumber, Sha256, SignatureError, X509Error};

/// How far ahead of this machine's clock the issuer's may be.
const CLOCK_SKEW: Duration = Duration::minutes(5);

/// What one issuer has revoked. Only [`Crl::verify`] makes one, so that whoever holds one may rely
/// on it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Crl {
    /// The key that signed it.
    pub issuer: KeyIdentifier,
    /// Its number: of two, the higher is the newer.
    pub number: CrlNumber,
    /// When it was made.
    pub this_update: OffsetDateTime,
    /// When the next one is due at the latest.
    pub next_update: OffsetDateTime,
    /// The digest of its DER.
    pub sha256: Sha256,
    revoked: SerialNumbers,
}

impl Crl {
    /// Reads one CRL (DER) and verifies that an authority of `bundle` made it, a trust anchor or one
    /// below. One past its end is let in: what it revoked stays revoked, and [`super::Standing`] tells
    /// the rest. Whether the authority has itself been revoked is for [`super::RevocationSet`] to say.
    ///
    /// # Errors
    /// [`CrlError`] when it is none that can be relied on, nobody trusted made it, or it is from the
    /// future.
    pub fn verify(der: &[u8], bundle: &TrustBundle, at: OffsetDateTime) -> Result<Self, CrlError> {
        let list = CertificateList::from_der(der).map_err(CrlError::Unfit)?;
        let authority = bundle.authority(&list.authority_key_identifier, &list.issuer).ok_or_else(|| {
            CrlError::UnknownIssuer {
                issuer: list.issuer.to_string(),
                key_identifier: list.authority_key_identifier.clone(),
            }
        })?;
        let issuer = list.authority_key_identifier.clone();
        if let Err(source) = list.verify(&authority.public_key_info) {
            return Err(CrlError::Signature { issuer, source });
        }
        if list.this_update > at.saturating_add(CLOCK_SKEW) {
            return Err(CrlError::NotYetValid { issuer, this_update: list.this_update });
        }
        Ok(Self {
            issuer,
            number: list.number,
            this_update: list.this_update,
            next_update: list.next_update,
            sha256: Sha256::of(der),
            revoked: SerialNumbers::read(&list).map_err(CrlError::Unfit)?,
        })
    }

    /// Reads a file of CRLs, PEM or DER, and verifies each.
    ///
    /// # Errors
    /// [`CrlError`] for the first that is refused, or [`CrlError::Unreadable`].
    pub fn read_all(bytes: &[u8], bundle: &TrustBundle, at: OffsetDateTime) -> Result<Vec<Self>, CrlError> {
        let blocks = blocks_of(Kind::Crl, bytes).map_err(CrlError::Unreadable)?;
        blocks.iter().map(|block| Self::verify(block.der(), bundle, at)).collect()
    }

    /// Whether the issuer has revoked the certificate of this number.
    #[must_use]
    pub fn contains(&self, serial_number: &SerialNumber) -> bool {
        self.revoked.contains(serial_number)
    }

    /// How many certificates it revokes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.revoked.short.len() + self.revoked.long.len()
    }

    /// Whether it revokes none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether its time is over at `at`.
    #[must_use]
    pub fn is_expired_at(&self, at: OffsetDateTime) -> bool {
        self.next_update <= at
    }

    /// Which of the issuer's lists it is.
    #[must_use]
    pub const fn version(&self) -> CrlVersion {
        CrlVersion { number: self.number, sha256: self.sha256 }
    }

    /// Whether `offered` takes the place of this one of the same issuer; `false` when it is the same.
    ///
    /// # Errors
    /// As [`CrlVersion::gives_way_to`].
    pub(super) fn gives_way_to(&self, offered: &Self) -> Result<bool, CrlError> {
        self.version().gives_way_to(offered)
    }
}

/// Which of an issuer's lists one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrlVersion {
    /// Its number.
    pub number: CrlNumber,
    /// The digest of its DER: a number alone can be given twice.
    pub sha256: Sha256,
}

impl CrlVersion {
    /// Whether `offered` takes the place of the list of this version; `false` when it is the same.
    ///
    /// # Errors
    /// [`CrlError::Rollback`] for an older one, [`CrlError::NumberReused`] for another one of the
    /// same number.
    pub fn gives_way_to(&self, offered: &Crl) -> Result<bool, CrlError> {
        let (issuer, current) = (offered.issuer.clone(), self.number);
        if offered.number < current {
            return Err(CrlError::Rollback { issuer, current, offered: offered.number });
        }
        if offered.number == current && offered.sha256 != self.sha256 {
            return Err(CrlError::NumberReused { issuer, number: current });
        }
        Ok(offered.number > current)
    }
}

/// A set of serial numbers: sorted, 16 octets each, since hardly any have more.
#[derive(Clone)]
struct SerialNumbers {
    short: Box<[u128]>,
    long: Box<[SerialNumber]>,
}

impl SerialNumbers {
    fn read(list: &CertificateList<'_>) -> Result<Self, CrlFault> {
        let (mut short, mut long) = (Vec::new(), Vec::new());
        for entry in list.entries() {
            let entry = entry?;
            // It says that a certificate is not revoked, and has no business in a complete list.
            if entry.reason_code == Some(RevocationReason::RemoveFromCrl.code()) {
                continue;
            }
            match narrow(&entry.serial_number) {
                Some(number) => short.push(number),
                None => long.push(entry.serial_number),
            }
        }
        short.sort_unstable();
        short.dedup();
        long.sort_unstable();
        long.dedup();
        Ok(Self { short: short.into_boxed_slice(), long: long.into_boxed_slice() })
    }

    fn contains(&self, serial_number: &SerialNumber) -> bool {
        match narrow(serial_number) {
            Some(number) => self.short.binary_search(&number).is_ok(),
            None => self.long.binary_search(serial_number).is_ok(),
        }
    }
}

impl fmt::Debug for SerialNumbers {
    /// How many: a million numbers help nobody.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} serial numbers", self.short.len() + self.long.len())
    }
}

fn narrow(serial_number: &SerialNumber) -> Option<u128> {
    match serial_number.to_octets() {
        [0, 0, 0, 0, low @ ..] => Some(u128::from_be_bytes(low)),
        _ => None,
    }
}

/// Why a CRL is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CrlError {
    /// The authority that made it has been revoked, so that it counts for nothing.
    #[error("the CRL is of key {issuer}, whose certificate has been revoked: it counts for nothing")]
    IssuerRevoked {
        /// Whose it is.
        issuer: KeyIdentifier,
    },
    /// A trusted root, or an authority below one, has no CRL.
    #[error("there is no CRL of {subject} (key {issuer})")]
    MissingForIssuer {
        /// Its key.
        issuer: KeyIdentifier,
        /// Its subject.
        subject: String,
    },
    /// It is from the future.
    #[error("the CRL of key {issuer} begins only at {}", rfc3339(*this_update))]
    NotYetValid {
        /// Whose it is.
        issuer: KeyIdentifier,
        /// When it begins.
        this_update: OffsetDateTime,
    },
    /// Two different CRLs of one issuer bear the same number.
    #[error("there are two different CRLs {number} of key {issuer}")]
    NumberReused {
        /// Whose they are.
        issuer: KeyIdentifier,
        /// Their number.
        number: CrlNumber,
    },
    /// It is older than one that has been in force.
    #[error("CRL {offered} of key {issuer} is older than CRL {current}, which has been in force")]
    Rollback {
        /// Whose they are.
        issuer: KeyIdentifier,
        /// The number of the one that has been in force.
        current: CrlNumber,
        /// The number of the one that came.
        offered: CrlNumber,
    },
    /// The issuer that it names did not sign it.
    #[error("the CRL is not signed by its issuer, key {issuer}")]
    Signature {
        /// Whose it should be.
        issuer: KeyIdentifier,
        /// Why it is not.
        source: SignatureError,
    },
    /// It is not a CRL that can be relied on.
    #[error("the CRL is refused")]
    Unfit(#[source] CrlFault),
    /// No authority that is known has both this name and this key.
    #[error(
        "the CRL is of {issuer} (key {key_identifier}), which is neither a trusted root nor an authority known to be below one"
    )]
    UnknownIssuer {
        /// Who made it, as it says.
        issuer: String,
        /// The key that signed it, as it says.
        key_identifier: KeyIdentifier,
    },
    /// The file does not hold CRLs.
    #[error("the CRL file cannot be read")]
    Unreadable(#[source] X509Error),
}

impl CrlError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::IssuerRevoked { .. } => "crl.issuer_revoked",
            Self::MissingForIssuer { .. } => "crl.missing_for_issuer",
            Self::NotYetValid { .. } => "crl.not_yet_valid",
            Self::NumberReused { .. } => "crl.number_reused",
            Self::Rollback { .. } => "crl.rollback",
            Self::Signature { .. } => "crl.bad_signature",
            Self::Unfit(fault) => fault.code(),
            Self::UnknownIssuer { .. } => "crl.unknown_issuer",
            Self::Unreadable(source) => source.code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::testing::{Root, authority, encode, now, revoke};
    use rcgen::{
        CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope,
        KeyIdMethod,
    };

    fn code(der: &[u8], bundle: &TrustBundle) -> &'static str {
        Crl::verify(der, bundle, now()).map_or_else(|error| error.code(), |_| "verified")
    }

    fn params(number: &[u8]) -> CertificateRevocationListParams {
        CertificateRevocationListParams {
            this_update: now(),
            next_update: now() + Duration::days(1),
            crl_number: rcgen::SerialNumber::from_slice(number),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
    }

    #[test]
    fn a_crl_revokes_what_it_lists_and_nothing_else() {
        let root = Root::new("root");
        let mut wanted = params(&[5]);
        let long = rcgen::SerialNumber::from_slice(&[0x7f; 20]);
        wanted.revoked_certs = vec![
            revoke(9, None),
            revoke(2, Some(rcgen::RevocationReason::KeyCompromise)),
            revoke(2, None),
            revoke(4, Some(rcgen::RevocationReason::RemoveFromCrl)),
            rcgen::RevokedCertParams { serial_number: long, ..revoke(0, None) },
        ];
        let crl = Crl::verify(&root.sign_crl(&wanted), &root.bundle(), now()).unwrap();
        let contains = |text: &str| crl.contains(&text.parse().unwrap());
        assert!(contains("2") && contains("9") && contains(&"7f".repeat(20)));
        assert!(!contains("1") && !contains("3") && !contains("4") && !contains(&"7e".repeat(20)));
        assert_eq!((crl.len(), crl.number), (3, 5.into()));
        let empty = Crl::verify(&root.crl(1, &[], now()), &root.bundle(), now()).unwrap();
        assert!(empty.is_empty());
    }

    #[test]
    fn only_a_trusted_root_can_revoke() {
        let root = Root::new("root");
        let crl = root.crl(1, &[7], now());
        assert_eq!(code(&crl, &root.bundle()), "verified");
        assert_eq!(code(&crl, &Root::new("other").bundle()), "crl.unknown_issuer");
        assert_eq!(code(&crl, &Root::new("root").bundle()), "crl.unknown_issuer", "same name, other key");
        let posing = |name: &str| {
            let mut params = authority(name);
            let id = root.certificate().subject_key_identifier.unwrap().0;
            params.key_identifier_method = KeyIdMethod::PreSpecified(id.clone());
            let mut list = self::params(&[9]);
            list.key_identifier_method = KeyIdMethod::PreSpecified(id);
            Root::with(params).sign_crl(&list)
        };
        assert_eq!(code(&posing("root"), &root.bundle()), "crl.bad_signature", "same name, same identifier");
        assert_eq!(
            code(&posing("other"), &root.bundle()),
            "crl.unknown_issuer",
            "same identifier, other name"
        );
    }

    #[test]
    fn incomplete_lists_are_refused() {
        let root = Root::new("root");
        let mut partial = params(&[1]);
        let uris = vec!["http://crl.example".to_owned()];
        partial.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint { uris },
            scope: Some(CrlScope::UserCertsOnly),
        });
        assert_eq!(code(&root.sign_crl(&partial), &root.bundle()), "crl.partial");

        let plain = root.crl(1, &[7], now());
        let extension = |extension: &[u8]| {
            let changed = root.resign(&plain, |fields| {
                let extensions = fields.last_mut().unwrap();
                extensions.extend_from_slice(extension);
                extensions[1] += u8::try_from(extension.len()).unwrap();
                extensions[3] += u8::try_from(extension.len()).unwrap();
            });
            code(&changed, &root.bundle())
        };
        let delta = [0x30, 13, 6, 3, 0x55, 0x1d, 27, 1, 1, 0xff, 4, 3, 2, 1, 1];
        assert_eq!(extension(&delta), "crl.delta");
        let indirect = [0x30, 15, 6, 3, 0x55, 0x1d, 28, 1, 1, 0xff, 4, 5, 0x30, 3, 0x84, 1, 0xff];
        assert_eq!(extension(&indirect), "crl.indirect");
        let unknown = [0x30, 12, 6, 3, 0x55, 0x1d, 99, 1, 1, 0xff, 4, 2, 5, 0];
        assert_eq!(extension(&unknown), "crl.unknown_critical_extension");
        let harmless = [0x30, 9, 6, 3, 0x55, 0x1d, 99, 4, 2, 5, 0];
        assert_eq!(extension(&harmless), "verified");
        let second_number = [0x30, 10, 6, 3, 0x55, 0x1d, 20, 4, 3, 2, 1, 9];
        assert_eq!(extension(&second_number), "crl.malformed");
    }

    #[test]
    fn an_entry_that_is_not_understood_is_refused() {
        let root = Root::new("root");
        let plain = root.crl(1, &[7], now());
        let with = |extension: &[u8]| {
            let changed = root.resign(&plain, |fields| {
                let date = [0x17, 13].iter().chain(b"300101000000Z").copied().collect::<Vec<_>>();
                let wrapped = encode(0x30, extension);
                let entry = encode(0x30, &[&[2, 1, 7][..], &date, &wrapped].concat());
                fields[5] = encode(0x30, &entry);
            });
            code(&changed, &root.bundle())
        };
        assert_eq!(with(&[0x30, 10, 6, 3, 0x55, 0x1d, 21, 4, 3, 10, 1, 1]), "verified");
        assert_eq!(with(&[0x30, 11, 6, 3, 0x55, 0x1d, 29, 4, 4, 0x30, 2, 5, 0]), "crl.indirect");
        assert_eq!(
            with(&[0x30, 12, 6, 3, 0x55, 0x1d, 99, 1, 1, 0xff, 4, 2, 5, 0]),
            "crl.unknown_critical_extension"
        );
    }

    #[test]
    fn a_crl_without_number_dates_or_key_is_refused() {
        let root = Root::new("root");
        let plain = root.crl(1, &[7], now());
        let changed = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
            code(&root.resign(&plain, |fields| change(fields)), &root.bundle())
        };
        assert_eq!(changed(&|_| {}), "verified");
        assert_eq!(changed(&|fields| drop(fields.remove(0))), "crl.version");
        assert_eq!(changed(&|fields| fields[0] = vec![2, 1, 0]), "crl.version");
        assert_eq!(changed(&|fields| drop(fields.remove(4))), "crl.no_next_update");
        assert_eq!(changed(&|fields| drop(fields.pop())), "crl.no_number");
        // The number is the last extension and twelve bytes long.
        let cut = |fields: &mut Vec<Vec<u8>>| {
            let extensions = fields.last_mut().unwrap();
            extensions.truncate(extensions.len() - 12);
            extensions[1] -= 12;
            extensions[3] -= 12;
        };
        assert_eq!(changed(&cut), "crl.no_number");
        assert_eq!(
            changed(&|fields| fields[1] = vec![0x30, 5, 6, 3, 0x2b, 0x65, 0x70]),
            "crl.algorithm_mismatch"
        );
    }

    #[test]
    fn numbers_of_20_octets_are_the_most() {
        let root = Root::new("root");
        assert_eq!(code(&root.sign_crl(&params(&[0xff; 20])), &root.bundle()), "verified");
        assert_eq!(code(&root.sign_crl(&params(&[0x01; 21])), &root.bundle()), "crl.number");
        assert_eq!(CrlNumber::from(u64::MAX).to_string(), u64::MAX.to_string());
        assert!(CrlNumber::from(255) < CrlNumber::from(256));
    }

    #[test]
    fn a_crl_from_the_future_is_refused_and_one_past_its_end_is_read() {
        let root = Root::new("root");
        let ahead = |minutes| root.crl(1, &[7], now() + Duration::minutes(minutes));
        assert_eq!(code(&ahead(5), &root.bundle()), "verified");
        assert_eq!(code(&ahead(6), &root.bundle()), "crl.not_yet_valid");
        assert_eq!(code(&root.crl(1, &[7], now() - Duration::days(100)), &root.bundle()), "verified");
    }

    #[test]
    fn nothing_that_was_tampered_with_verifies_or_panics() {
        let root = Root::new("root");
        let bundle = root.bundle();
        let crl = root.crl(1, &[7, 8, 9], now());
        for at in 0..crl.len() {
            let mut flipped = crl.clone();
            flipped[at] ^= 1;
            assert_ne!(code(&flipped, &bundle), "verified", "{at}");
            assert_ne!(code(&crl[..at], &bundle), "verified", "{at}");
        }
        assert_eq!(code(&[crl.as_slice(), &[0]].concat(), &bundle), "crl.malformed");
    }

    #[test]
    fn a_hundred_thousand_entries_are_one_flat_set() {
        let root = Root::new("root");
        let serials: Vec<u64> = (1..=100_000).map(|n| n * 2).rev().collect();
        let crl = Crl::verify(&root.crl(1, &serials, now()), &root.bundle(), now()).unwrap();
        assert_eq!(crl.len(), 100_000);
        assert_eq!(size_of_val(&*crl.revoked.short), 1_600_000);
        for number in [2_u64, 100_000, 200_000] {
            let of = |n: u64| SerialNumber::from_be_bytes(&n.to_be_bytes()).unwrap();
            assert!(crl.contains(&of(number)) && !crl.contains(&of(number + 1)));
        }
    }
}
