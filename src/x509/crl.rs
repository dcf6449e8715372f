//! Parsed CRLs (RFC 5280, section 5): header fields at once, entries one by one without allocations.
//!
//! Only complete CRLs of one issuer's own certificates are supported. Delta, indirect and partial CRLs are
//! refused, because treating one as complete would lose revocations. The caller verifies the signature.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use x509_parser::asn1_rs::Oid;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

use super::der::{DerElement, DerError, Reader, tag};
use super::encoded_time;
use super::hex::{hex, unhex};
use super::key_identifier::KeyIdentifier;
use super::name::DistinguishedName;
use super::serial_number::SerialNumber;
use super::signed::{SignatureError, Signed};

use crate::error::{Code, Coded};

/// Encoded object identifiers below `id-ce` (2.5.29).
mod oid {
    pub(super) const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 20];
    pub(super) const REASON_CODE: &[u8] = &[0x55, 0x1d, 21];
    pub(super) const DELTA_CRL_INDICATOR: &[u8] = &[0x55, 0x1d, 27];
    pub(super) const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 28];
    pub(super) const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 29];
    pub(super) const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 35];
}

/// CRL with parsed header fields, untrusted until [`UnverifiedCrl::verify`] succeeds.
#[derive(Clone, Debug)]
pub struct UnverifiedCrl<'a> {
    /// Claimed issuer.
    pub issuer: DistinguishedName,
    /// Claimed identifier of the issuer's key.
    pub authority_key_identifier: KeyIdentifier,
    /// CRL number, higher in a newer CRL of the same issuer.
    pub number: CrlNumber,
    /// Time of issue (`thisUpdate`).
    pub this_update: OffsetDateTime,
    /// Expiry (`nextUpdate`).
    pub next_update: OffsetDateTime,
    signed: Signed<'a>,
    entries: Reader<'a>,
    extensions: Reader<'a>,
}

impl<'a> UnverifiedCrl<'a> {
    /// Parse the DER of exactly one CRL, except its entries.
    ///
    /// # Errors
    /// [`CrlFormatError`] for malformed or unsupported CRLs.
    pub fn from_der(der: &'a [u8]) -> Result<Self, CrlFormatError> {
        let signed = Signed::from_der(der)?;
        let mut body = Reader::new(Reader::whole(signed.body, tag::SEQUENCE)?);
        match body.optional(&[tag::INTEGER])? {
            Some(version) if version.content == [1] => {}
            _ => return Err(CrlFormatError::Version),
        }
        if body.expect(tag::SEQUENCE)? != signed.algorithm {
            return Err(CrlFormatError::AlgorithmMismatch);
        }
        let issuer = read_name(body.element()?)?;
        let this_update = encoded_time::read(body.element()?)?;
        let next_update =
            body.optional(&[tag::UTC_TIME, tag::GENERALIZED_TIME])?.ok_or(CrlFormatError::NoNextUpdate)?;
        let next_update = encoded_time::read(next_update)?;
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
            extensions: Reader::new(extensions),
        })
    }

    /// Value of the extension with this encoded object identifier.
    #[must_use]
    pub fn extension(&self, oid: &[u8]) -> Option<&'a [u8]> {
        let mut extensions = self.extensions;
        while !extensions.is_empty() {
            let extension = Extension::read(&mut extensions).ok()?;
            if extension.oid == oid {
                return Some(extension.value);
            }
        }
        None
    }

    /// Verify the signature with the key in `public_key_info` (DER).
    ///
    /// # Errors
    /// [`SignatureError`] for a wrong signature or an unsupported algorithm.
    pub fn verify(&self, public_key_info: &[u8]) -> Result<(), SignatureError> {
        self.signed.verify(public_key_info)
    }

    /// Entries in order.
    #[must_use]
    pub fn entries(&self) -> CrlEntryIter<'a> {
        CrlEntryIter(self.entries)
    }
}

fn read_name(element: DerElement<'_>) -> Result<DistinguishedName, CrlFormatError> {
    match X509Name::from_der(element.raw) {
        Ok(([], name)) => Ok(DistinguishedName::read(&name)),
        _ => Err(CrlFormatError::Malformed { why: "a name is malformed" }),
    }
}

fn read_extensions(mut extensions: Reader<'_>) -> Result<(CrlNumber, KeyIdentifier), CrlFormatError> {
    let (mut number, mut key_identifier) = (None, None);
    let mut seen = SeenExtensions::default();
    while !extensions.is_empty() {
        let extension = Extension::read(&mut extensions)?;
        seen.add(extension.oid)?;
        match extension.oid {
            oid::CRL_NUMBER => number = Some(CrlNumber::read(extension.value)?),
            oid::AUTHORITY_KEY_IDENTIFIER => {
                let mut fields = Reader::new(Reader::whole(extension.value, tag::SEQUENCE)?);
                let id =
                    fields.optional(&[tag::CONTEXT_0_PRIMITIVE])?.ok_or(CrlFormatError::NoKeyIdentifier)?;
                key_identifier = Some(KeyIdentifier(id.content.to_vec()));
            }
            oid::DELTA_CRL_INDICATOR => return Err(CrlFormatError::Delta),
            oid::ISSUING_DISTRIBUTION_POINT => return Err(scope_fault(extension.value)?),
            _ if extension.critical => return Err(extension.unknown()),
            _ => {}
        }
    }
    Ok((number.ok_or(CrlFormatError::NoNumber)?, key_identifier.ok_or(CrlFormatError::NoKeyIdentifier)?))
}

/// Find how an issuing distribution point limits the scope of the CRL.
fn scope_fault(distribution_point: &[u8]) -> Result<CrlFormatError, DerError> {
    let mut fields = Reader::new(Reader::whole(distribution_point, tag::SEQUENCE)?);
    while !fields.is_empty() {
        let field = fields.element()?;
        if field.tag == tag::CONTEXT_4_PRIMITIVE && field.content != [0] {
            return Ok(CrlFormatError::Indirect);
        }
    }
    Ok(CrlFormatError::Partial)
}

/// Extension of a CRL or of an entry (RFC 5280, section 4.1.2.9).
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

    fn unknown(&self) -> CrlFormatError {
        CrlFormatError::UnknownCriticalExtension { oid: Oid::new(self.oid.into()).to_id_string() }
    }
}

/// Extensions of one list of them, to find one that occurs twice (RFC 5280, section 4.2).
#[derive(Default)]
struct SeenExtensions<'a> {
    seen: [&'a [u8]; 16],
    count: usize,
}

impl<'a> SeenExtensions<'a> {
    fn add(&mut self, oid: &'a [u8]) -> Result<(), CrlFormatError> {
        if self.seen.iter().take(self.count).any(|earlier| *earlier == oid) {
            return Err(CrlFormatError::Malformed { why: "an extension occurs twice" });
        }
        let next = self.seen.get_mut(self.count);
        *next.ok_or(CrlFormatError::Malformed { why: "there are more than 16 extensions" })? = oid;
        self.count += 1;
        Ok(())
    }
}

/// Iterator over the entries of a CRL. It ends after the first malformed entry.
///
/// An entry with a serial number that no accepted certificate can have, such as a negative one, is passed over: it
/// revokes nothing, and must not keep the other entries out (RFC 5280, section 4.1.2.2).
#[derive(Clone, Debug)]
pub struct CrlEntryIter<'a>(Reader<'a>);

impl CrlEntryIter<'_> {
    /// Pass over the next entries while both lists have the same ones, byte for byte.
    pub fn pass_equal(&mut self, other: &mut CrlEntryIter<'_>) {
        let (mut one, mut another) = (self.0, other.0);
        while let (Ok(first), Ok(second)) = (one.element(), another.element())
            && first.raw == second.raw
        {
            (self.0, other.0) = (one, another);
        }
    }
}

impl<'a> Iterator for CrlEntryIter<'a> {
    type Item = Result<CrlEntry<'a>, CrlFormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            let entry = CrlEntry::read(&mut self.0);
            if entry.is_err() {
                self.0 = Reader::new(&[]);
            }
            if let Some(entry) = entry.transpose() {
                return Some(entry);
            }
        }
        None
    }
}

/// Revoked serial number with its reason; the date is borrowed from the DER.
#[derive(Clone, Copy, Debug)]
pub struct CrlEntry<'a> {
    /// Serial number of the revoked certificate.
    pub serial_number: SerialNumber,
    /// Reason code of the standard; `None` means unspecified.
    pub reason_code: Option<u8>,
    revocation_date: DerElement<'a>,
}

impl<'a> CrlEntry<'a> {
    /// Next entry; `None` for one whose serial number no accepted certificate can have.
    fn read(list: &mut Reader<'a>) -> Result<Option<Self>, CrlFormatError> {
        let mut fields = Reader::new(list.expect(tag::SEQUENCE)?);
        let serial_number = match fields.expect(tag::INTEGER)? {
            [] => return Err(CrlFormatError::Malformed { why: "a serial number is empty" }),
            [0x80..=0xff, ..] => None,
            octets => SerialNumber::from_be_bytes(octets).ok(),
        };
        let revocation_date = fields
            .optional(&[tag::UTC_TIME, tag::GENERALIZED_TIME])?
            .ok_or(CrlFormatError::Malformed { why: "an entry has no revocation date" })?;
        let mut reason_code = None;
        if let Some(extensions) = fields.optional(&[tag::SEQUENCE])? {
            let mut extensions = Reader::new(extensions.content);
            let mut seen = SeenExtensions::default();
            while !extensions.is_empty() {
                let extension = Extension::read(&mut extensions)?;
                seen.add(extension.oid)?;
                match extension.oid {
                    oid::REASON_CODE => match Reader::whole(extension.value, tag::ENUMERATED)? {
                        [code] => reason_code = Some(*code),
                        _ => return Err(CrlFormatError::Malformed { why: "a reason code is malformed" }),
                    },
                    oid::CERTIFICATE_ISSUER => return Err(CrlFormatError::Indirect),
                    _ if extension.critical => return Err(extension.unknown()),
                    _ => {}
                }
            }
        }
        fields.end()?;
        Ok(serial_number.map(|serial_number| Self { serial_number, reason_code, revocation_date }))
    }

    /// Time of revocation, parsed on request only, because no decision depends on it.
    ///
    /// # Errors
    /// [`CrlFormatError::Malformed`] for a malformed time.
    pub fn revoked_at(&self) -> Result<OffsetDateTime, CrlFormatError> {
        match ASN1Time::from_der(self.revocation_date.raw) {
            Ok(([], time)) => Ok(time.to_datetime()),
            _ => Err(CrlFormatError::Malformed { why: "a time is malformed" }),
        }
    }
}

/// CRL number (RFC 5280, section 5.2.3) of at most 20 octets. Its text is decimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrlNumber([u8; 20]);

impl CrlNumber {
    fn read(value: &[u8]) -> Result<Self, CrlFormatError> {
        let octets = match Reader::whole(value, tag::INTEGER)? {
            [] | [0x80..=0xff, ..] => return Err(CrlFormatError::Number),
            [0, octets @ ..] | octets => octets,
        };
        let mut padded = [0; 20];
        let offset = padded.len().checked_sub(octets.len()).ok_or(CrlFormatError::Number)?;
        padded.iter_mut().skip(offset).zip(octets).for_each(|(to, from)| *to = *from);
        Ok(Self(padded))
    }
}

impl CrlNumber {
    /// The number, if it fits, as those of this project do.
    #[must_use]
    pub fn to_u64(self) -> Option<u64> {
        let [high @ .., _, _, _, _, _, _, _, _] = self.0;
        let low = self.0.last_chunk::<8>().copied().map(u64::from_be_bytes)?;
        (high == [0; 12]).then_some(low)
    }
}

/// Serialize a CRL number as text, like [`CrlNumber`].
///
/// RFC 5280, section 5.2.3, allows 20 octets, more than JSON parsers accept as an integer.
///
/// # Errors
/// Those of the serializer.
pub fn serialize_crl_number<S: serde::Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
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
    type Err = CrlFormatError;

    /// Parse the output of [`fmt::Display`]: decimal digits, or `0x` and 40 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, CrlFormatError> {
        if let Some(digits) = text.strip_prefix("0x") {
            return unhex(digits)
                .and_then(|bytes| bytes.try_into().ok())
                .map(Self)
                .ok_or(CrlFormatError::Number);
        }
        let is_decimal = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number: u128 = text.parse().ok().filter(|_| is_decimal).ok_or(CrlFormatError::Number)?;
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

/// Malformed or unsupported CRL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CrlFormatError {
    /// Different signature algorithms in the signed body and outside of it.
    #[error("it has two different signature algorithms")]
    AlgorithmMismatch,
    /// Delta CRL.
    #[error("it is a delta CRL; only complete CRLs are supported")]
    Delta,
    /// Indirect CRL, with entries of other issuers.
    #[error("it is an indirect CRL; only CRLs of an issuer's own certificates are supported")]
    Indirect,
    /// Malformed DER.
    #[error("it is not a CRL: {why}")]
    Malformed {
        /// Violated rule.
        why: &'static str,
    },
    /// Missing authority key identifier.
    #[error("it has no authority key identifier")]
    NoKeyIdentifier,
    /// Missing `nextUpdate`.
    #[error("it has no nextUpdate")]
    NoNextUpdate,
    /// Missing CRL number, without which a rollback would go unnoticed.
    #[error("it has no CRL number")]
    NoNumber,
    /// Negative or too long CRL number.
    #[error("its CRL number is negative or has more than 20 octets")]
    Number,
    /// Partial CRL, limited to some certificates or reasons.
    #[error("it has an issuing distribution point; only CRLs of all certificates of an issuer are supported")]
    Partial,
    /// Unknown critical extension of the CRL or of an entry.
    #[error("its critical extension {oid} is unknown")]
    UnknownCriticalExtension {
        /// Object identifier.
        oid: String,
    },
    /// Version other than 2.
    #[error("its version is not 2")]
    Version,
}

impl Coded for CrlFormatError {
    fn coded(&self) -> Code {
        match self {
            Self::AlgorithmMismatch => Code::refused("crl.algorithm_mismatch"),
            Self::Delta => Code::refused("crl.delta"),
            Self::Indirect => Code::refused("crl.indirect"),
            Self::Malformed { .. } => Code::environment("crl.malformed"),
            Self::NoKeyIdentifier => Code::refused("crl.no_key_identifier"),
            Self::NoNextUpdate => Code::refused("crl.no_next_update"),
            Self::NoNumber => Code::refused("crl.no_number"),
            Self::Number => Code::refused("crl.number"),
            Self::Partial => Code::refused("crl.partial"),
            Self::UnknownCriticalExtension { .. } => Code::refused("crl.unknown_critical_extension"),
            Self::Version => Code::refused("crl.version"),
        }
    }
}

impl From<DerError> for CrlFormatError {
    fn from(error: DerError) -> Self {
        Self::Malformed { why: error.as_str() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_back_unchanged() {
        let [mut large, mut largest] = [[0; 20]; 2];
        large[4] = 0xff;
        largest[0] = 1;
        for number in [CrlNumber::from(0), 17.into(), u64::MAX.into(), CrlNumber(large), CrlNumber(largest)] {
            assert_eq!(number.to_string().parse(), Ok(number));
        }
        for text in ["", "-1", "+1", " 1", "1.0", "0x", "0x01", "one", &"9".repeat(60)] {
            assert_eq!(text.parse::<CrlNumber>(), Err(CrlFormatError::Number), "{text}");
        }
    }
}
