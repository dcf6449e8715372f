//! DER encoder for CRLs (RFC 5280, section 5.1). It writes into one buffer, without a second copy and
//! without an allocation per entry: a CRL with a million entries has 50 MB.

use rcgen::SigningKey;
use time::{OffsetDateTime, UtcOffset};

use super::audit_anchor::{AUDIT_ANCHOR, AuditAnchor};
use crate::ca::error::CaError;
use crate::ca::signing::{signature_algorithm, signing_failed};
use crate::revocation::RevocationReason;
use crate::store::RevokedCertificate;
use crate::x509::KeyIdentifier;
use crate::x509::der::{element, header, integer, tag, write_element};

/// Maximum octets of an entry: a serial number of 20, a date after 2049, and a reason.
const LONGEST_ENTRY: usize = 56;

/// `id-ce-cRLReasons` (2.5.29.21).
const REASON_CODE: &[u8] = &[0x55, 0x1d, 21];
/// `id-ce-cRLNumber` (2.5.29.20).
const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 20];
/// `id-ce-authorityKeyIdentifier` (2.5.29.35).
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 35];

/// Fields of a CRL besides its entries.
#[derive(Clone, Copy, Debug)]
pub(in crate::ca) struct CrlHead<'a> {
    /// Subject of the issuer, DER.
    pub(in crate::ca) issuer: &'a [u8],
    /// Key identifier of the issuer.
    pub(in crate::ca) authority_key_identifier: &'a KeyIdentifier,
    /// CRL number.
    pub(in crate::ca) number: u64,
    /// The CRL's `thisUpdate`.
    pub(in crate::ca) this_update: OffsetDateTime,
    /// The CRL's `nextUpdate`.
    pub(in crate::ca) next_update: OffsetDateTime,
    /// State of the audit chain.
    pub(in crate::ca) anchor: AuditAnchor,
}

/// Encoded entries of a CRL.
#[derive(Debug)]
pub(in crate::ca) struct CrlEntries {
    der: Vec<u8>,
    scratch: Vec<u8>,
}

impl CrlEntries {
    /// No entries, with capacity for `expected`.
    pub(in crate::ca) fn with_capacity(expected: usize) -> Self {
        // All other fields take less than 1 KiB, except for the signature of an RSA key.
        Self { der: Vec::with_capacity(expected * LONGEST_ENTRY + 2048), scratch: Vec::new() }
    }

    /// Append an entry.
    pub(in crate::ca) fn push(&mut self, revoked: &RevokedCertificate) {
        let entry = &mut self.scratch;
        entry.clear();
        integer(entry, revoked.serial_number.as_be_bytes());
        time(entry, revoked.revoked_at);
        // RFC 5280, section 5.3.1: omit the reason code instead of `unspecified`.
        if revoked.reason != RevocationReason::Unspecified {
            let code = element(tag::ENUMERATED, &[revoked.reason.code()]);
            write_element(entry, tag::SEQUENCE, &extension(REASON_CODE, &code));
        }
        write_element(&mut self.der, tag::SEQUENCE, entry);
    }

    /// Encode and sign the CRL.
    pub(in crate::ca) fn sign(self, head: &CrlHead<'_>, key: &impl SigningKey) -> Result<Vec<u8>, CaError> {
        let algorithm = element(tag::SEQUENCE, &signature_algorithm(key)?);
        let mut list = self.der;
        let mut before = head.before_entries(&algorithm);
        // An empty `revokedCertificates` must be absent.
        if !list.is_empty() {
            header(&mut before, tag::SEQUENCE, list.len());
        }
        let after = head.after_entries();
        let mut body = Vec::new();
        header(&mut body, tag::SEQUENCE, before.len() + list.len() + after.len());
        body.extend(before);
        list.splice(..0, body);
        list.extend(after);

        let signature = key.sign(&list).map_err(signing_failed)?;
        list.extend(algorithm);
        header(&mut list, tag::BIT_STRING, signature.len() + 1);
        list.push(0);
        list.extend(signature);
        let mut outer = Vec::new();
        header(&mut outer, tag::SEQUENCE, list.len());
        list.splice(..0, outer);
        Ok(list)
    }
}

impl CrlHead<'_> {
    fn before_entries(&self, algorithm: &[u8]) -> Vec<u8> {
        let mut fields = element(tag::INTEGER, &[1]);
        fields.extend_from_slice(algorithm);
        fields.extend_from_slice(self.issuer);
        time(&mut fields, self.this_update);
        time(&mut fields, self.next_update);
        fields
    }

    fn after_entries(&self) -> Vec<u8> {
        let key_identifier = element(tag::CONTEXT_0_PRIMITIVE, &self.authority_key_identifier.0);
        let mut extensions = extension(AUTHORITY_KEY_IDENTIFIER, &element(tag::SEQUENCE, &key_identifier));
        let mut number = Vec::new();
        integer(&mut number, &self.number.to_be_bytes());
        extensions.extend(extension(CRL_NUMBER, &number));
        extensions.extend(extension(AUDIT_ANCHOR, &self.anchor.to_der()));
        element(tag::CONTEXT_0, &element(tag::SEQUENCE, &extensions))
    }
}

/// Encode a non-critical extension.
fn extension(oid: &[u8], value: &[u8]) -> Vec<u8> {
    let mut fields = element(tag::OBJECT_IDENTIFIER, oid);
    write_element(&mut fields, tag::OCTET_STRING, value);
    element(tag::SEQUENCE, &fields)
}

/// Encode a time (RFC 5280, section 5.1.2.4): UTCTime up to 2049, GeneralizedTime from 2050.
fn time(out: &mut Vec<u8>, time: OffsetDateTime) {
    let time = time.to_offset(UtcOffset::UTC);
    let (century, year) = (time.year() / 100, time.year() % 100);
    if (1950..2050).contains(&time.year()) {
        header(out, tag::UTC_TIME, 13);
    } else {
        header(out, tag::GENERALIZED_TIME, 15);
        two_digits(out, u8::try_from(century).unwrap_or(99));
    }
    two_digits(out, u8::try_from(year).unwrap_or(99));
    for part in [u8::from(time.month()), time.day(), time.hour(), time.minute(), time.second()] {
        two_digits(out, part);
    }
    out.push(b'Z');
}

fn two_digits(out: &mut Vec<u8>, number: u8) {
    out.extend([b'0' + number / 10 % 10, b'0' + number % 10]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Head;
    use crate::keys::PrivateKey;
    use crate::x509::crl::{CrlNumber, UnverifiedCrl};
    use crate::x509::{KeyAlgorithm, SerialNumber, Sha256};
    use time::macros::datetime;

    /// A name with one common name.
    const NAME: &[u8] = b"\x30\x0d\x31\x0b\x30\x09\x06\x03\x55\x04\x03\x0c\x02ca";

    fn revoked(serial: &[u8], reason: RevocationReason, revoked_at: OffsetDateTime) -> RevokedCertificate {
        let serial_number = SerialNumber::from_be_bytes(serial).unwrap();
        RevokedCertificate { serial_number, revoked_at, reason, not_after: revoked_at }
    }

    fn anchor(seq: u64) -> AuditAnchor {
        AuditAnchor { origin: Sha256([1; 32]), head: Head { seq, hash: Sha256([2; 32]) } }
    }

    fn list(number: u64, entries: &[RevokedCertificate], key: &PrivateKey) -> Vec<u8> {
        let mut all = CrlEntries::with_capacity(entries.len());
        entries.iter().for_each(|entry| all.push(entry));
        let head = CrlHead {
            issuer: NAME,
            authority_key_identifier: &KeyIdentifier(vec![7; 20]),
            number,
            this_update: datetime!(2049-12-31 23:59:59 UTC),
            next_update: datetime!(2050-01-01 0:00 UTC),
            anchor: anchor(number),
        };
        all.sign(&head, key).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back_with_every_key_type() {
        let entries = [
            revoked(&[1], RevocationReason::Unspecified, datetime!(1999-01-02 3:04:05 UTC)),
            revoked(&[0x80; 16], RevocationReason::KeyCompromise, datetime!(2049-12-31 23:59:59 UTC)),
            revoked(&[0xff; 20], RevocationReason::CertificateHold, datetime!(2050-01-01 0:00 +14:00)),
        ];
        for algorithm in
            [KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384, KeyAlgorithm::Ed25519, KeyAlgorithm::Rsa2048]
        {
            let key = PrivateKey::generate(algorithm).unwrap();
            for number in [0, 127, 128, 256, u64::MAX] {
                let der = list(number, &entries, &key);
                let read = UnverifiedCrl::from_der(&der).unwrap();
                read.verify(&key.public_key_info()).unwrap();
                assert_eq!(read.number, CrlNumber::from(number));
                assert_eq!(AuditAnchor::of(&read), Some(anchor(number)));
                assert_eq!(read.authority_key_identifier, KeyIdentifier(vec![7; 20]));
                assert_eq!(read.this_update, datetime!(2049-12-31 23:59:59 UTC));
                assert_eq!(read.next_update, datetime!(2050-01-01 0:00 UTC));
                let found: Vec<_> = read.entries().map(Result::unwrap).collect();
                assert_eq!(found.len(), entries.len());
                for (found, written) in found.iter().zip(&entries) {
                    assert_eq!(found.serial_number, written.serial_number);
                    assert_eq!(found.revoked_at().unwrap(), written.revoked_at);
                    let code =
                        (written.reason != RevocationReason::Unspecified).then(|| written.reason.code());
                    assert_eq!(found.reason_code, code);
                }
            }
        }
    }

    #[test]
    fn a_list_without_entries_has_no_field_for_them() {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let der = list(1, &[], &key);
        let read = UnverifiedCrl::from_der(&der).unwrap();
        assert!(read.entries().next().is_none() && read.verify(&key.public_key_info()).is_ok());
    }

    #[test]
    fn no_entry_is_longer_than_expected() {
        let mut entries = CrlEntries::with_capacity(0);
        entries.push(&revoked(&[0xff; 20], RevocationReason::AaCompromise, datetime!(2050-01-01 0:00 UTC)));
        assert_eq!(entries.der.len(), LONGEST_ENTRY);
    }
}
