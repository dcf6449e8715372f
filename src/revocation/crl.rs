//! Verified CRL of one issuer.

use std::fmt;

use time::{Duration, OffsetDateTime};

use crate::clock::rfc3339;
use crate::error::{Code, Coded};
use crate::x509::crl::{CrlFormatError, CrlNumber, UnverifiedCrl};
use crate::x509::pem::{ObjectKind, blocks_of};
use crate::x509::trust::TrustBundle;
use crate::x509::{KeyIdentifier, RevocationReason, SerialNumber, Sha256, SignatureError, X509Error};

/// Tolerated lead of the issuer's clock.
const CLOCK_SKEW: Duration = Duration::minutes(5);

/// Verified CRL of one issuer, constructed by [`Crl::verify`] only.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Crl {
    /// Key of the issuer.
    pub issuer: KeyIdentifier,
    /// CRL number, higher in a newer CRL of the same issuer.
    pub number: CrlNumber,
    /// Time of issue.
    pub this_update: OffsetDateTime,
    /// Expiry.
    pub next_update: OffsetDateTime,
    /// Digest of the DER.
    pub sha256: Sha256,
    revoked: SerialNumbers,
}

impl Crl {
    /// Parse a CRL (DER) and verify that a CA of `bundle` signed it.
    ///
    /// An expired CRL is accepted, because its revocations remain valid; see [`super::RevocationStatus`]. A
    /// revoked issuer is handled by [`super::RevocationSet`].
    ///
    /// # Errors
    /// [`CrlError`] for a malformed or unsupported CRL, an unknown issuer, a wrong signature, or a future
    /// `thisUpdate`.
    pub fn verify(der: &[u8], bundle: &TrustBundle, at: OffsetDateTime) -> Result<Self, CrlError> {
        let crl = UnverifiedCrl::from_der(der).map_err(CrlError::Unfit)?;
        let authority = bundle.authority(&crl.authority_key_identifier, &crl.issuer).ok_or_else(|| {
            CrlError::UnknownIssuer {
                issuer: crl.issuer.to_string(),
                key_identifier: crl.authority_key_identifier.clone(),
            }
        })?;
        let issuer = crl.authority_key_identifier.clone();
        if let Err(source) = crl.verify(&authority.public_key_info) {
            return Err(CrlError::Signature { issuer, source });
        }
        if crl.this_update > at.saturating_add(CLOCK_SKEW) {
            return Err(CrlError::NotYetValid { issuer, this_update: crl.this_update });
        }
        Ok(Self {
            issuer,
            number: crl.number,
            this_update: crl.this_update,
            next_update: crl.next_update,
            sha256: Sha256::of(der),
            revoked: SerialNumbers::read(&crl).map_err(CrlError::Unfit)?,
        })
    }

    /// Read and verify the CRLs in a file, PEM or DER.
    ///
    /// # Errors
    /// [`CrlError`] for the first refused CRL, or [`CrlError::Unreadable`].
    pub fn read_all(bytes: &[u8], bundle: &TrustBundle, at: OffsetDateTime) -> Result<Vec<Self>, CrlError> {
        let blocks = blocks_of(ObjectKind::Crl, bytes).map_err(CrlError::Unreadable)?;
        blocks.iter().map(|block| Self::verify(block.der(), bundle, at)).collect()
    }

    /// Check for an entry with this serial number.
    #[must_use]
    pub fn contains(&self, serial_number: &SerialNumber) -> bool {
        self.revoked.contains(serial_number)
    }

    /// Number of revoked certificates.
    #[must_use]
    pub fn len(&self) -> usize {
        self.revoked.short.len() + self.revoked.long.len()
    }

    /// True without revoked certificates.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Check for expiry at `at`.
    #[must_use]
    pub fn is_expired_at(&self, at: OffsetDateTime) -> bool {
        self.next_update <= at
    }

    /// Version among the CRLs of the issuer.
    #[must_use]
    pub const fn version(&self) -> CrlVersion {
        CrlVersion { number: self.number, sha256: self.sha256 }
    }

    /// Same as [`CrlVersion::superseded_by`].
    ///
    /// # Errors
    /// Those of [`CrlVersion::superseded_by`].
    pub(super) fn superseded_by(&self, offered: &Self) -> Result<bool, CrlError> {
        self.version().superseded_by(offered)
    }
}

/// Version among the CRLs of one issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrlVersion {
    /// CRL number.
    pub number: CrlNumber,
    /// Digest of the DER, because a number alone may be reused.
    pub sha256: Sha256,
}

impl CrlVersion {
    /// Check that `offered` is newer than this version; `false` if it is the same CRL.
    ///
    /// # Errors
    /// [`CrlError::Rollback`] for an older CRL, [`CrlError::NumberReused`] for another CRL of the same
    /// number.
    pub fn superseded_by(&self, offered: &Crl) -> Result<bool, CrlError> {
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

/// Sorted serial numbers. Those of up to 16 octets, nearly all, are kept as `u128`.
#[derive(Clone)]
struct SerialNumbers {
    short: Box<[u128]>,
    long: Box<[SerialNumber]>,
}

impl SerialNumbers {
    fn read(crl: &UnverifiedCrl<'_>) -> Result<Self, CrlFormatError> {
        let (mut short, mut long) = (Vec::new(), Vec::new());
        for entry in crl.entries() {
            let entry = entry?;
            // Means "not revoked", and has no effect in a complete CRL.
            if entry.reason_code == Some(RevocationReason::RemoveFromCrl.code()) {
                continue;
            }
            match to_u128(&entry.serial_number) {
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
        match to_u128(serial_number) {
            Some(number) => self.short.binary_search(&number).is_ok(),
            None => self.long.binary_search(serial_number).is_ok(),
        }
    }
}

impl fmt::Debug for SerialNumbers {
    /// Print the number of entries only, because there may be a million.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} serial numbers", self.short.len() + self.long.len())
    }
}

fn to_u128(serial_number: &SerialNumber) -> Option<u128> {
    match serial_number.to_octets() {
        [0, 0, 0, 0, low @ ..] => Some(u128::from_be_bytes(low)),
        _ => None,
    }
}

/// Refusal of a CRL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CrlError {
    /// CRL of a revoked issuer, which has no effect.
    #[error("the certificate of the issuer of the CRL, key {issuer}, is revoked: the CRL has no effect")]
    IssuerRevoked {
        /// Key of the issuer.
        issuer: KeyIdentifier,
    },
    /// Trust anchor or intermediate CA without a CRL.
    #[error("there is no CRL of {subject} (key {issuer})")]
    MissingForIssuer {
        /// Key of the issuer.
        issuer: KeyIdentifier,
        /// Subject of the issuer.
        subject: String,
    },
    /// CRL with a `thisUpdate` in the future.
    #[error("the CRL of key {issuer} is not valid before {}", rfc3339(*this_update))]
    NotYetValid {
        /// Key of the issuer.
        issuer: KeyIdentifier,
        /// Start of its validity.
        this_update: OffsetDateTime,
    },
    /// Two different CRLs of one issuer with the same number.
    #[error("there are two different CRLs {number} of key {issuer}")]
    NumberReused {
        /// Key of the issuer.
        issuer: KeyIdentifier,
        /// Number of both.
        number: CrlNumber,
    },
    /// CRL older than one that was in force.
    #[error("CRL {offered} of key {issuer} is older than CRL {current}, which was already in force")]
    Rollback {
        /// Key of the issuer.
        issuer: KeyIdentifier,
        /// Number of the CRL in force.
        current: CrlNumber,
        /// Number of the refused CRL.
        offered: CrlNumber,
    },
    /// Signature by another key than that of the issuer.
    #[error("the CRL is not signed by its issuer, key {issuer}")]
    Signature {
        /// Key of the issuer.
        issuer: KeyIdentifier,
        /// Cause.
        source: SignatureError,
    },
    /// Malformed or unsupported CRL.
    #[error("the CRL is refused")]
    Unfit(#[source] CrlFormatError),
    /// Issuer that is neither a trust anchor nor a known intermediate CA.
    #[error(
        "the CRL is of {issuer} (key {key_identifier}), which is neither a trust anchor nor a known intermediate CA"
    )]
    UnknownIssuer {
        /// Claimed issuer.
        issuer: String,
        /// Claimed key of the issuer.
        key_identifier: KeyIdentifier,
    },
    /// File without CRLs.
    #[error("the CRL file is unreadable")]
    Unreadable(#[source] X509Error),
}

impl Coded for CrlError {
    fn coded(&self) -> Code {
        match self {
            Self::IssuerRevoked { .. } => Code::refused("crl.issuer_revoked"),
            Self::MissingForIssuer { .. } => Code::refused("crl.missing_for_issuer"),
            Self::NotYetValid { .. } => Code::refused("crl.not_yet_valid"),
            Self::NumberReused { .. } => Code::refused("crl.number_reused"),
            Self::Rollback { .. } => Code::refused("crl.rollback"),
            Self::Signature { .. } => Code::refused("crl.bad_signature"),
            Self::Unfit(fault) => fault.coded(),
            Self::UnknownIssuer { .. } => Code::refused("crl.unknown_issuer"),
            Self::Unreadable(source) => source.coded(),
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
    fn only_listed_certificates_are_revoked() {
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
    fn incomplete_crls_are_refused() {
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
    fn an_entry_with_an_unknown_critical_extension_is_refused() {
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
    fn an_entry_with_an_impossible_serial_number_keeps_no_other_out() {
        let root = Root::new("root");
        let plain = root.crl(1, &[7], now());
        let with = |serials: &[&[u8]]| {
            root.resign(&plain, |fields| {
                let date = encode(0x17, b"300101000000Z");
                let entries =
                    serials.iter().map(|serial| encode(0x30, &[&encode(2, serial), &date[..]].concat()));
                fields[5] = encode(0x30, &entries.collect::<Vec<_>>().concat());
            })
        };
        let odd = with(&[&[0xff, 1], &[0], &[9], &[0x7f; 21], &[0x80]]);
        let crl = Crl::verify(&odd, &root.bundle(), now()).unwrap();
        assert!(crl.contains(&"9".parse().unwrap()));
        assert_eq!(crl.len(), 1);
        assert_eq!(code(&with(&[&[9], &[]]), &root.bundle()), "crl.malformed");
    }

    #[test]
    fn an_extension_that_occurs_twice_is_refused_wherever_it_is() {
        let root = Root::new("root");
        let plain = root.crl(1, &[7], now());
        let reason = |code: u8| [0x30, 10, 6, 3, 0x55, 0x1d, 21, 4, 3, 10, 1, code];
        let harmless = [0x30, 9, 6, 3, 0x55, 0x1d, 99, 4, 2, 5, 0];
        let of_entry = |extensions: &[&[u8]]| {
            let changed = root.resign(&plain, |fields| {
                let list = encode(0x30, &extensions.concat());
                let entry = [&encode(2, &[7])[..], &encode(0x17, b"300101000000Z"), &list].concat();
                fields[5] = encode(0x30, &encode(0x30, &entry));
            });
            code(&changed, &root.bundle())
        };
        assert_eq!(of_entry(&[&reason(1), &harmless]), "verified");
        assert_eq!(of_entry(&[&reason(1), &reason(8)]), "crl.malformed");
        assert_eq!(of_entry(&[&harmless, &reason(1), &harmless]), "crl.malformed");
        let of_list = root.resign(&plain, |fields| {
            let extensions = fields.last_mut().unwrap();
            extensions.extend_from_slice(&[harmless, harmless].concat());
            extensions[1] += 22;
            extensions[3] += 22;
        });
        assert_eq!(code(&of_list, &root.bundle()), "crl.malformed");
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
    fn numbers_have_at_most_20_octets() {
        let root = Root::new("root");
        assert_eq!(code(&root.sign_crl(&params(&[0xff; 20])), &root.bundle()), "verified");
        assert_eq!(code(&root.sign_crl(&params(&[0x01; 21])), &root.bundle()), "crl.number");
        assert_eq!(CrlNumber::from(u64::MAX).to_string(), u64::MAX.to_string());
        assert!(CrlNumber::from(255) < CrlNumber::from(256));
    }

    #[test]
    fn a_future_crl_is_refused_and_an_expired_one_accepted() {
        let root = Root::new("root");
        let ahead = |minutes| root.crl(1, &[7], now() + Duration::minutes(minutes));
        assert_eq!(code(&ahead(5), &root.bundle()), "verified");
        assert_eq!(code(&ahead(6), &root.bundle()), "crl.not_yet_valid");
        assert_eq!(code(&root.crl(1, &[7], now() - Duration::days(100)), &root.bundle()), "verified");
    }

    #[test]
    fn modified_input_neither_verifies_nor_panics() {
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
