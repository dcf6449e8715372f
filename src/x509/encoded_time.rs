//! Times in certificates and CRLs, in the only forms of RFC 5280, section 4.1.2.5.

use time::OffsetDateTime;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use super::der::{DerElement, DerError, Reader, tag};

/// Read a time. It ends in `Z`, and has seconds without fractions: other programs read other forms differently.
pub(super) fn read(element: DerElement<'_>) -> Result<OffsetDateTime, DerError> {
    let length = match element.tag {
        tag::UTC_TIME => 13,
        tag::GENERALIZED_TIME => 15,
        _ => return Err(DerError::Tag),
    };
    let has_form = element.content.len() == length
        && element
            .content
            .split_last()
            .is_some_and(|(zone, digits)| *zone == b'Z' && digits.iter().all(u8::is_ascii_digit));
    match ASN1Time::from_der(element.raw) {
        Ok(([], time)) if has_form => Ok(time.to_datetime()),
        _ => Err(DerError::Time),
    }
}

/// First and last second of a certificate, from its signed body (DER).
pub(super) fn validity(body: &[u8]) -> Result<(OffsetDateTime, OffsetDateTime), DerError> {
    let mut fields = Reader::new(Reader::whole(body, tag::SEQUENCE)?);
    fields.optional(&[tag::CONTEXT_0])?;
    fields.expect(tag::INTEGER)?;
    // Signature algorithm and issuer.
    fields.expect(tag::SEQUENCE)?;
    fields.expect(tag::SEQUENCE)?;
    let mut times = Reader::new(fields.expect(tag::SEQUENCE)?);
    let validity = (read(times.element()?)?, read(times.element()?)?);
    times.end()?;
    Ok(validity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::Certificate;
    use crate::x509::crl::UnverifiedCrl;
    use crate::x509::testing::{Root, client, encode, now};

    const OTHER_FORMS: [(u8, &[u8]); 9] = [
        (tag::UTC_TIME, b"3005010000Z"),
        (tag::UTC_TIME, b"300501000000+0000"),
        (tag::UTC_TIME, b"300501000000-0100"),
        (tag::UTC_TIME, b"300501000000"),
        (tag::UTC_TIME, b"300501000060Z"),
        (tag::GENERALIZED_TIME, b"20300501000000.5Z"),
        (tag::GENERALIZED_TIME, b"20300501000000.0Z"),
        (tag::GENERALIZED_TIME, b"20300501000000+0100"),
        (tag::GENERALIZED_TIME, b"203005010000Z"),
    ];

    #[test]
    fn a_time_of_another_form_is_refused_in_certificates_and_crls() {
        let root = Root::new("root");
        let leaf = root.issue(&client(7));
        let crl = root.crl(1, &[], now());
        for (tag, text) in OTHER_FORMS {
            let (time, shown) = (encode(tag, text), String::from_utf8_lossy(text));
            let (good, late) =
                (encode(tag::UTC_TIME, b"300101000000Z"), encode(tag::UTC_TIME, b"310101000000Z"));
            for validity in [[&time[..], &late].concat(), [&good[..], &time].concat()] {
                let changed = root.resign(&leaf, |fields| fields[4] = encode(tag::SEQUENCE, &validity));
                assert!(Certificate::from_der(&changed).is_err(), "{shown}");
            }
            for field in [3, 4] {
                let changed = root.resign(&crl, |fields| fields[field].clone_from(&time));
                assert!(UnverifiedCrl::from_der(&changed).is_err(), "{shown}");
            }
        }
    }

    #[test]
    fn both_types_are_read_for_every_year() {
        let root = Root::new("root");
        let leaf = root.issue(&client(7));
        for (tag, text, year) in [
            (tag::UTC_TIME, &b"491231235959Z"[..], 2049),
            (tag::GENERALIZED_TIME, b"20491231235959Z", 2049),
            (tag::GENERALIZED_TIME, b"99991231235959Z", 9999),
        ] {
            let validity = [encode(tag::UTC_TIME, b"300101000000Z"), encode(tag, text)].concat();
            let changed = root.resign(&leaf, |fields| fields[4] = encode(tag::SEQUENCE, &validity));
            assert_eq!(Certificate::from_der(&changed).unwrap().not_after.year(), year);
        }
    }
}
