//! A certificate revocation list (RFC 5280, section 5), read: its head at once, its entries one
//! after the other without an allocation.
//!
//! Only complete lists of one issuer's own certificates are read; a delta, an indirect or a
//! partial list is a [`CrlFault`], since taking it for a complete one would forget revocations.
//! Whether the signature holds, and whose it is, is judged by whoever trusts somebody.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use x509_parser::asn1_rs::Oid;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

use super::der::{DerError, Element, Reader, tag};
use super::hex::{hex, unhex};
use super::key_identifier::KeyIdentifier;
use super::name::DistinguishedName;
use super::serial_number::SerialNumber;
use super::signed::{SignatureError, Signed};

/// Content of the object identifiers below `id-ce` (2.5.29) that a CRL may use.
mod oid {
    pub(super) const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 20];
    pub(super) const REASON_CODE: &[u8] = &[0x55, 0x1d, 21];
    pub(super) const DELTA_CRL_INDICATOR: &[u8] = &[0x55, 0x1d, 27];
    pub(super) const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 28];
    pub(super) const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 29];
    pub(super) const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 35];
}

/// A CRL whose head has been read. Nothing in it is to be believed before
/// [`CertificateList::verify`].
#[derive(Clone, Debug)]
pub struct CertificateList<'a> {
    /// Who made it, as it says.
    pub issuer: DistinguishedName,
    /// The identifier of the key that signed it, as it says.
    pub authority_key_identifier: KeyIdentifier,
    /// Its number: of two lists of one issuer, the higher is the newer.
    pub number: CrlNumber,
    /// When it was made.
    pub this_update: OffsetDateTime,
    /// When the next one is due at the latest.
    pub next_update: OffsetDateTime,
    signed: Signed<'a>,
    entries: Reader<'a>,
}

impl<'a> CertificateList<'a> {
    /// Reads the head of one CRL and nothing after it.
    ///
    /// # Errors
    /// [`CrlFault`]: not a CRL, or not one that this project can rely on.
    pub fn from_der(der: &'a [u8]) -> Result<Self, CrlFault> {
        let signed = Signed::from_der(der)?;
        let mut body = Reader::new(Reader::whole(signed.body, tag::SEQUENCE)?);
        match body.optional(&[tag::INTEGER])? {
            Some(version) if version.content == [1] => {}
            _ => return Err(CrlFault::Version),
        }
        if body.expect(tag::SEQUENCE)? != signed.algorithm {
            return Err(CrlFault::AlgorithmMismatch);
        }
        let issuer = read_name(body.element()?)?;
        let this_update = read_time(body.element()?)?;
        let next_update =
            body.optional(&[tag::UTC_TIME, tag::GENERALIZED_TIME])?.ok_or(CrlFault::NoNextUpdate)?;
        let next_update = read_time(next_update)?;
        let entries = body.optional(&[tag::SEQUENCE])?.map_or(&[][..], |list| list.content);
        let extensions = match body.optional(&[tag::CONTEXT_0])? {
            Some(tagged) => Reader::whole(tagged.content, tag::SEQUENCE)?,
            None => &[],
        };
        body.end()?;
        let (number, authority_key_identifier) = read_extensions(Reader::new(extensions))?;
        Ok(Self {
            issuer,
            authority_key_identifier,
            number,
            this_update,
            next_update,
            signed,
            entries: Reader::new(entries),
        })
    }

    /// Whether the key of `public_key_info` (DER) signed it.
    ///
    /// # Errors
    /// [`SignatureError`] when it did not, or nobody can tell.
    pub fn verify(&self, public_key_info: &[u8]) -> Result<(), SignatureError> {
        self.signed.verify(public_key_info)
    }

    /// What it revokes, in its order.
    #[must_use]
    pub fn entries(&self) -> Entries<'a> {
        Entries(self.entries)
    }
}

fn read_name(element: Element<'_>) -> Result<DistinguishedName, CrlFault> {
    match X509Name::from_der(element.raw) {
        Ok(([], name)) => Ok(DistinguishedName::read(&name)),
        _ => Err(CrlFault::Malformed { why: "a name cannot be read" }),
    }
}

fn read_time(element: Element<'_>) -> Result<OffsetDateTime, CrlFault> {
    match ASN1Time::from_der(element.raw) {
        Ok(([], time)) => Ok(time.to_datetime()),
        _ => Err(CrlFault::Malformed { why: "a time cannot be read" }),
    }
}

fn read_extensions(mut extensions: Reader<'_>) -> Result<(CrlNumber, KeyIdentifier), CrlFault> {
    let (mut number, mut key_identifier) = (None, None);
    while !extensions.is_empty() {
        let extension = Extension::read(&mut extensions)?;
        let twice = match extension.oid {
            oid::CRL_NUMBER => number.replace(CrlNumber::read(extension.value)?).is_some(),
            oid::AUTHORITY_KEY_IDENTIFIER => {
                let mut fields = Reader::new(Reader::whole(extension.value, tag::SEQUENCE)?);
                let id = fields.optional(&[tag::CONTEXT_0_PRIMITIVE])?.ok_or(CrlFault::NoKeyIdentifier)?;
                key_identifier.replace(KeyIdentifier(id.content.to_vec())).is_some()
            }
            oid::DELTA_CRL_INDICATOR => return Err(CrlFault::Delta),
            oid::ISSUING_DISTRIBUTION_POINT => return Err(scope_fault(extension.value)?),
            _ if extension.critical => return Err(extension.not_understood()),
            _ => false,
        };
        if twice {
            return Err(CrlFault::Malformed { why: "an extension stands twice" });
        }
    }
    Ok((number.ok_or(CrlFault::NoNumber)?, key_identifier.ok_or(CrlFault::NoKeyIdentifier)?))
}

/// An issuing distribution point always says that the list is not everything its issuer revoked;
/// this tells which way.
fn scope_fault(distribution_point: &[u8]) -> Result<CrlFault, DerError> {
    let mut fields = Reader::new(Reader::whole(distribution_point, tag::SEQUENCE)?);
    while !fields.is_empty() {
        let field = fields.element()?;
        if field.tag == tag::CONTEXT_4_PRIMITIVE && field.content != [0] {
            return Ok(CrlFault::Indirect);
        }
    }
    Ok(CrlFault::Partial)
}

/// One extension, of a CRL or of an entry (RFC 5280, section 4.1.2.9).
struct Extension<'a> {
    oid: &'a [u8],
    critical: bool,
    value: &'a [u8],
}

impl<'a> Extension<'a> {
    fn read(list: &mut Reader<'a>) -> Result<Self, DerError> {
        let mut fields = Reader::new(list.expect(tag::SEQUENCE)?);
        let oid = fields.expect(tag::OBJECT_IDENTIFIER)?;
        let critical = fields.optional(&[tag::BOOLEAN])?.is_some_and(|flag| flag.content != [0]);
        let value = fields.expect(tag::OCTET_STRING)?;
        fields.end()?;
        Ok(Self { oid, critical, value })
    }

    fn not_understood(&self) -> CrlFault {
        CrlFault::UnknownCriticalExtension { oid: Oid::new(self.oid.into()).to_id_string() }
    }
}

/// The entries of a CRL, read as they are asked for; after an error there are no more.
#[derive(Clone, Debug)]
pub struct Entries<'a>(Reader<'a>);

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, CrlFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let entry = Entry::read(&mut self.0);
        if entry.is_err() {
            self.0 = Reader::new(&[]);
        }
        Some(entry)
    }
}

/// One entry of a CRL.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Which certificate of the issuer.
    pub serial_number: SerialNumber,
    /// Why, as the standard's number; absent means unspecified.
    pub reason_code: Option<u8>,
    revocation_date: Element<'a>,
}

impl<'a> Entry<'a> {
    fn read(list: &mut Reader<'a>) -> Result<Self, CrlFault> {
        let mut fields = Reader::new(list.expect(tag::SEQUENCE)?);
        let serial_number = match fields.expect(tag::INTEGER)? {
            [0x80..=0xff, ..] => None,
            octets => SerialNumber::from_be_bytes(octets).ok(),
        }
        .ok_or(CrlFault::Malformed { why: "a serial number is not positive or has more than 20 octets" })?;
        let revocation_date = fields
            .optional(&[tag::UTC_TIME, tag::GENERALIZED_TIME])?
            .ok_or(CrlFault::Malformed { why: "an entry has no revocation date" })?;
        let mut reason_code = None;
        if let Some(extensions) = fields.optional(&[tag::SEQUENCE])? {
            let mut extensions = Reader::new(extensions.content);
            while !extensions.is_empty() {
                let extension = Extension::read(&mut extensions)?;
                match extension.oid {
                    oid::REASON_CODE => match Reader::whole(extension.value, tag::ENUMERATED)? {
                        [code] => reason_code = Some(*code),
                        _ => return Err(CrlFault::Malformed { why: "a reason code cannot be read" }),
                    },
                    oid::CERTIFICATE_ISSUER => return Err(CrlFault::Indirect),
                    _ if extension.critical => return Err(extension.not_understood()),
                    _ => {}
                }
            }
        }
        fields.end()?;
        Ok(Self { serial_number, reason_code, revocation_date })
    }

    /// When it was revoked.
    ///
    /// # Errors
    /// [`CrlFault::Malformed`] when the date cannot be read: nothing is decided by it, so it is not
    /// looked at before.
    pub fn revoked_at(&self) -> Result<OffsetDateTime, CrlFault> {
        read_time(self.revocation_date)
    }
}

/// The number of a CRL (RFC 5280, section 5.2.3): at most 20 octets, compared as a number and
/// written in decimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrlNumber([u8; 20]);

impl CrlNumber {
    fn read(value: &[u8]) -> Result<Self, CrlFault> {
        let octets = match Reader::whole(value, tag::INTEGER)? {
            [] | [0x80..=0xff, ..] => return Err(CrlFault::Number),
            [0, octets @ ..] | octets => octets,
        };
        let mut padded = [0; 20];
        let offset = padded.len().checked_sub(octets.len()).ok_or(CrlFault::Number)?;
        padded.iter_mut().skip(offset).zip(octets).for_each(|(to, from)| *to = *from);
        Ok(Self(padded))
    }
}

impl CrlNumber {
    /// The number, unless it is larger than any that this project gives.
    #[must_use]
    pub fn to_u64(self) -> Option<u64> {
        let [high @ .., _, _, _, _, _, _, _, _] = self.0;
        let low = self.0.last_chunk::<8>().copied().map(u64::from_be_bytes)?;
        (high == [0; 12]).then_some(low)
    }
}

/// Writes the number of a list as [`CrlNumber`] is written, as text: it may be larger than what programs take for
/// an integer (RFC 5280, section 5.2.3, allows 20 octets), and whoever reads it needs one type.
///
/// # Errors
/// The serializer's.
pub fn number_as_text<S: serde::Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&CrlNumber::from(*number))
}

impl From<u64> for CrlNumber {
    fn from(number: u64) -> Self {
        let mut padded = [0; 20];
        padded.iter_mut().skip(12).zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
        Self(padded)
    }
}

impl fmt::Display for CrlNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [0, 0, 0, 0, low @ ..] => f.pad(&u128::from_be_bytes(low).to_string()),
            octets => f.pad(&format!("0x{}", hex(&octets))),
        }
    }
}

impl fmt::Debug for CrlNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CrlNumber({self})")
    }
}

impl FromStr for CrlNumber {
    type Err = CrlFault;

    /// Reads what [`fmt::Display`] writes: decimal digits, or `0x` and the 40 hexadecimal ones of all octets.
    fn from_str(text: &str) -> Result<Self, CrlFault> {
        if let Some(digits) = text.strip_prefix("0x") {
            return unhex(digits).and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(CrlFault::Number);
        }
        let is_decimal = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number: u128 = text.parse().ok().filter(|_| is_decimal).ok_or(CrlFault::Number)?;
        let mut padded = [0; 20];
        padded.iter_mut().skip(4).zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
        Ok(Self(padded))
    }
}

impl Serialize for CrlNumber {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CrlNumber {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why bytes are not a CRL that can be relied on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CrlFault {
    /// The signed body names another signature algorithm than the signature.
    #[error("it names two different signature algorithms")]
    AlgorithmMismatch,
    /// Only what changed since another list.
    #[error("it is a delta CRL: only complete ones are used")]
    Delta,
    /// It speaks for other issuers too.
    #[error("it is an indirect CRL: only those of an issuer about its own certificates are used")]
    Indirect,
    /// Not the DER of a CRL.
    #[error("it is not a CRL: {why}")]
    Malformed {
        /// Where it went wrong.
        why: &'static str,
    },
    /// It does not say which key signed it.
    #[error("it has no authority key identifier")]
    NoKeyIdentifier,
    /// It does not say until when it holds.
    #[error("it has no nextUpdate")]
    NoNextUpdate,
    /// It has no number, so that nobody could tell an old one from a new one.
    #[error("it has no CRL number")]
    NoNumber,
    /// Its number is negative or too long.
    #[error("its CRL number is negative or has more than 20 octets")]
    Number,
    /// It covers only some of its issuer's certificates or of the reasons.
    #[error("it has an issuing distribution point: only CRLs of all certificates of their issuer are used")]
    Partial,
    /// A critical extension, of the list or of an entry, that is not understood.
    #[error("its critical extension {oid} is not understood")]
    UnknownCriticalExtension {
        /// Which.
        oid: String,
    },
    /// Not version 2.
    #[error("it is not a CRL of version 2")]
    Version,
}

impl CrlFault {
    /// The stable code of this fault.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::AlgorithmMismatch => "crl.algorithm_mismatch",
            Self::Delta => "crl.delta",
            Self::Indirect => "crl.indirect",
            Self::Malformed { .. } => "crl.malformed",
            Self::NoKeyIdentifier => "crl.no_key_identifier",
            Self::NoNextUpdate => "crl.no_next_update",
            Self::NoNumber => "crl.no_number",
            Self::Number => "crl.number",
            Self::Partial => "crl.partial",
            Self::UnknownCriticalExtension { .. } => "crl.unknown_critical_extension",
            Self::Version => "crl.version",
        }
    }
}

impl From<DerError> for CrlFault {
    fn from(error: DerError) -> Self {
        Self::Malformed { why: error.as_str() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_reads_as_it_is_written() {
        let [mut large, mut largest] = [[0; 20]; 2];
        large[4] = 0xff;
        largest[0] = 1;
        for number in [CrlNumber::from(0), 17.into(), u64::MAX.into(), CrlNumber(large), CrlNumber(largest)] {
            assert_eq!(number.to_string().parse(), Ok(number));
        }
        for text in ["", "-1", "+1", " 1", "1.0", "0x", "0x01", "one", &"9".repeat(60)] {
            assert_eq!(text.parse::<CrlNumber>(), Err(CrlFault::Number), "{text}");
        }
    }
}
