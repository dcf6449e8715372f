//! Subset of BER that LDAP uses (RFC 4511, section 5.1): definite lengths, tags of one byte.

use zeroize::Zeroizing;

use super::error::Malformed;

/// Tag of `INTEGER`.
pub(super) const INTEGER: u8 = 0x02;
/// Tag of `OCTET STRING`.
pub(super) const OCTET_STRING: u8 = 0x04;
/// Tag of `BOOLEAN`.
pub(super) const BOOLEAN: u8 = 0x01;
/// Tag of `ENUMERATED`.
pub(super) const ENUMERATED: u8 = 0x0a;
/// Tag of `SEQUENCE`.
pub(super) const SEQUENCE: u8 = 0x30;
/// Tag of `SET`.
pub(super) const SET: u8 = 0x31;

/// Bits of a first byte that announce a tag of several bytes.
const LONG_TAG: u8 = 0x1f;

/// Bit of a first byte of a length that announces further bytes.
const LONG_LENGTH: u8 = 0x80;

/// Encode an element whose contents are `parts`, one after the other. It may hold a password, so it is zeroized.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let digits = length.to_be_bytes();
    let leading = digits.iter().take_while(|digit| **digit == 0).count();
    let digits = digits.get(leading..).unwrap_or_default();
    // One allocation: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length + digits.len() + 2));
    bytes.push(tag);
    match u8::try_from(length) {
        Ok(short) if short < LONG_LENGTH => bytes.push(short),
        _ => {
            bytes.push(LONG_LENGTH | u8::try_from(digits.len()).unwrap_or(LONG_LENGTH));
            bytes.extend_from_slice(digits);
        }
    }
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

/// Encode a number that is not negative: an `INTEGER` or `ENUMERATED`.
pub(super) fn number(tag: u8, value: u32) -> Zeroizing<Vec<u8>> {
    let digits = value.to_be_bytes();
    let leading = digits.iter().take_while(|digit| **digit == 0).count().min(digits.len() - 1);
    let digits = digits.get(leading..).unwrap_or_default();
    // A leading bit would make it negative.
    match digits.first() {
        Some(first) if first & 0x80 != 0 => element(tag, &[&[0], digits]),
        _ => element(tag, &[digits]),
    }
}

/// BerElements that follow one another in the contents of another.
#[derive(Clone, Copy, Debug)]
pub(super) struct BerElements<'a>(&'a [u8]);

impl<'a> BerElements<'a> {
    /// The elements in `contents`.
    pub(super) const fn of(contents: &'a [u8]) -> Self {
        Self(contents)
    }

    /// The next element with its tag, if there is one.
    pub(super) fn next(&mut self) -> Result<Option<(u8, &'a [u8])>, Malformed> {
        let Some((tag, rest)) = self.0.split_first() else { return Ok(None) };
        if tag & LONG_TAG == LONG_TAG {
            return Err(Malformed("it has a tag of several bytes"));
        }
        let (length, rest) = length(rest)?.ok_or(TRUNCATED)?;
        let (contents, rest) = rest.split_at_checked(length).ok_or(TRUNCATED)?;
        self.0 = rest;
        Ok(Some((*tag, contents)))
    }

    /// Contents of the next element, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        match self.next()? {
            Some((found, contents)) if found == tag => Ok(contents),
            Some(_) => Err(Malformed("it has an unexpected element")),
            None => Err(Malformed("it lacks an element")),
        }
    }

    /// Value of the next element, a number of at most 31 bits that is not negative.
    pub(super) fn number(&mut self, tag: u8) -> Result<u32, Malformed> {
        let digits = self.expect(tag)?;
        let is_number = matches!(digits.len(), 1..=4) && digits.first().is_some_and(|first| *first < 0x80);
        if !is_number {
            return Err(Malformed("it has a number out of range"));
        }
        Ok(digits.iter().fold(0, |value, digit| value << 8 | u32::from(*digit)))
    }

    /// Text of the next element, an `OCTET STRING`.
    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.expect(OCTET_STRING)?)
            .map_err(|_| Malformed("it has text that is not UTF-8"))
    }
}

const TRUNCATED: Malformed = Malformed("it is truncated");

/// Read a length, and return what follows it. `None` if bytes are missing.
pub(super) fn length(bytes: &[u8]) -> Result<Option<(usize, &[u8])>, Malformed> {
    let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
    if *first < LONG_LENGTH {
        return Ok(Some((usize::from(*first), rest)));
    }
    let digits = usize::from(first & !LONG_LENGTH);
    if !matches!(digits, 1..=4) {
        return Err(Malformed("it has an indefinite or excessive length"));
    }
    let Some((digits, rest)) = rest.split_at_checked(digits) else { return Ok(None) };
    Ok(Some((digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_of_any_length_reads_back() {
        for size in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let contents = vec![7; size];
            let encoded = element(OCTET_STRING, &[&contents]);
            assert_eq!(BerElements::of(&encoded).expect(OCTET_STRING).unwrap(), contents, "{size}");
            let mut truncated = BerElements::of(&encoded[..encoded.len() - 1]);
            assert!(size == 0 || truncated.next().is_err(), "{size}");
        }
    }

    #[test]
    fn numbers_have_their_shortest_form_and_read_back() {
        for (value, encoded) in [
            (0, &[2, 1, 0][..]),
            (127, &[2, 1, 127]),
            (128, &[2, 2, 0, 128]),
            (256, &[2, 2, 1, 0]),
            (0x7fff_ffff, &[2, 4, 0x7f, 0xff, 0xff, 0xff]),
        ] {
            assert_eq!(number(INTEGER, value).as_slice(), encoded);
            assert_eq!(BerElements::of(encoded).number(INTEGER), Ok(value));
        }
        for negative in [&[2, 1, 0xff][..], &[2, 0], &[2, 5, 0, 0, 0, 0, 1]] {
            assert!(BerElements::of(negative).number(INTEGER).is_err(), "{negative:?}");
        }
    }

    #[test]
    fn lengths_that_could_exhaust_memory_are_refused() {
        for bytes in [&[0x80][..], &[0x85, 1, 0, 0, 0, 0], &[0xff]] {
            assert!(length(bytes).is_err(), "{bytes:?}");
        }
        assert_eq!(length(&[0x84, 0xff, 0xff, 0xff, 0xff]), Ok(Some((0xffff_ffff, &[][..]))));
        assert_eq!(length(&[0x82, 1]), Ok(None));
    }
}
