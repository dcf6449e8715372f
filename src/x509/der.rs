//! Streaming DER reader and writer (X.690) without allocations, which `x509_parser` doesn't offer.
//!
//! CRLs of a million entries are read and encoded with it.

/// Tags (X.680, section 8.6), encoded with class and constructed bit.
pub(crate) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
    pub(crate) const ENUMERATED: u8 = 0x0a;
    pub(crate) const UTF8_STRING: u8 = 0x0c;
    pub(crate) const NUMERIC_STRING: u8 = 0x12;
    pub(crate) const PRINTABLE_STRING: u8 = 0x13;
    pub(crate) const TELETEX_STRING: u8 = 0x14;
    pub(crate) const IA5_STRING: u8 = 0x16;
    pub(crate) const VISIBLE_STRING: u8 = 0x1a;
    pub(crate) const UNIVERSAL_STRING: u8 = 0x1c;
    pub(crate) const BMP_STRING: u8 = 0x1e;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;
    /// `[0]` explicit.
    pub(crate) const CONTEXT_0: u8 = 0xa0;
    /// `[1]`, constructed.
    pub(crate) const CONTEXT_1: u8 = 0xa1;
    /// `[0]` implicit, of a primitive type.
    pub(crate) const CONTEXT_0_PRIMITIVE: u8 = 0x80;
    /// `[4]` implicit, of a primitive type.
    pub(crate) const CONTEXT_4_PRIMITIVE: u8 = 0x84;
}

/// Element: its tag, its content, and the whole encoding (`raw`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct DerElement<'a> {
    pub(crate) tag: u8,
    pub(crate) raw: &'a [u8],
    pub(crate) content: &'a [u8],
}

/// Sequential reader of elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Content of the only element in `bytes`, which must have this tag.
    pub(crate) fn whole(bytes: &'a [u8], tag: u8) -> Result<&'a [u8], DerError> {
        let mut reader = Self::new(bytes);
        let content = reader.expect(tag)?;
        reader.end().map(|()| content)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Next element of any tag.
    pub(crate) fn element(&mut self) -> Result<DerElement<'a>, DerError> {
        let (&[tag, first], mut rest) = self.rest.split_first_chunk().ok_or(DerError::Truncated)?;
        if tag & 0x1f == 0x1f {
            return Err(DerError::Tag);
        }
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let octets = usize::from(first & 0x7f);
            let (digits, after) = rest.split_at_checked(octets).ok_or(DerError::Truncated)?;
            rest = after;
            long_length(digits)?
        };
        let (content, after) = rest.split_at_checked(length).ok_or(DerError::Truncated)?;
        let (raw, _) = self.rest.split_at(self.rest.len() - after.len());
        self.rest = after;
        Ok(DerElement { tag, raw, content })
    }

    /// Content of the next element, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<&'a [u8], DerError> {
        match self.element()? {
            element if element.tag == tag => Ok(element.content),
            _ => Err(DerError::Tag),
        }
    }

    /// Next element if it has one of these tags.
    pub(crate) fn optional(&mut self, tags: &[u8]) -> Result<Option<DerElement<'a>>, DerError> {
        match self.rest.first() {
            Some(next) if tags.contains(next) => self.element().map(Some),
            _ => Ok(None),
        }
    }

    /// Require that nothing follows.
    pub(crate) fn end(&self) -> Result<(), DerError> {
        if self.is_empty() { Ok(()) } else { Err(DerError::Trailing) }
    }
}

/// Length of more than one octet: definite, minimal, at most four octets.
fn long_length(digits: &[u8]) -> Result<usize, DerError> {
    match digits {
        [] | [0, ..] | [_, _, _, _, _, ..] => Err(DerError::Length),
        [short] if *short < 0x80 => Err(DerError::Length),
        digits => Ok(digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit))),
    }
}

/// Write a positive INTEGER in minimal form.
pub(crate) fn integer(out: &mut Vec<u8>, big_endian: &[u8]) {
    let zeros = big_endian.iter().take_while(|octet| **octet == 0).count();
    let digits = big_endian.get(zeros..).unwrap_or_default();
    let sign = digits.first().is_none_or(|first| *first >= 0x80);
    header(out, tag::INTEGER, digits.len() + usize::from(sign));
    if sign {
        out.push(0);
    }
    out.extend_from_slice(digits);
}

/// Encode an element.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut element = Vec::with_capacity(content.len() + 6);
    write_element(&mut element, tag, content);
    element
}

/// Append an element to `out`.
pub(crate) fn write_element(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    header(out, tag, content.len());
    out.extend_from_slice(content);
}

/// Append a tag and a minimal length (X.690, section 10.1).
pub(crate) fn header(out: &mut Vec<u8>, tag: u8, length: usize) {
    out.push(tag);
    let octets = length.to_be_bytes();
    match u8::try_from(length) {
        Ok(short @ 0..0x80) => out.push(short),
        _ => {
            let zeros = octets.iter().take_while(|octet| **octet == 0).count();
            let digits = octets.get(zeros..).unwrap_or_default();
            out.push(0x80 | u8::try_from(digits.len()).unwrap_or(8));
            out.extend_from_slice(digits);
        }
    }
}

/// Violation of DER or of the expected structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DerError {
    /// Length that is not minimal or not definite.
    Length,
    /// Element of an unexpected type.
    Tag,
    /// Time that is not valid, or not of the form of RFC 5280, section 4.1.2.5.
    Time,
    /// Trailing data.
    Trailing,
    /// Truncated data.
    Truncated,
}

impl DerError {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Length => "a length is not valid DER",
            Self::Tag => "an element has an unexpected type",
            Self::Time => "a time is not valid, or does not have whole seconds and the zone `Z`",
            Self::Trailing => "there is trailing data",
            Self::Truncated => "it is truncated",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_in_order() {
        let mut reader = Reader::new(&[0x02, 1, 5, 0x30, 0x81, 0x80]);
        assert_eq!(reader.optional(&[tag::SEQUENCE]).unwrap().map(|e| e.tag), None);
        assert_eq!(reader.expect(tag::INTEGER).unwrap(), [5]);
        assert_eq!(reader.element().unwrap_err(), DerError::Truncated);
        let long = [&[0x30, 0x81, 0x80], [0_u8; 128].as_slice()].concat();
        assert_eq!(Reader::whole(&long, tag::SEQUENCE).unwrap().len(), 128);
    }

    #[test]
    fn a_length_has_one_spelling() {
        for bytes in [
            [0x30, 0x80, 0, 0, 0, 0, 0].as_slice(),
            &[0x30, 0x81, 1, 0],
            &[0x30, 0x82, 0, 1, 0],
            &[0x30, 0x85, 1, 0, 0, 0, 0],
        ] {
            assert_eq!(Reader::new(bytes).element().unwrap_err(), DerError::Length, "{bytes:?}");
        }
    }

    #[test]
    fn lengths_are_written_in_the_fewest_octets() {
        for (length, written) in [
            (0, &[0x30, 0][..]),
            (127, &[0x30, 127]),
            (128, &[0x30, 0x81, 128]),
            (255, &[0x30, 0x81, 255]),
            (256, &[0x30, 0x82, 1, 0]),
            (50_000_000, &[0x30, 0x84, 2, 0xfa, 0xf0, 0x80]),
        ] {
            let mut out = Vec::new();
            header(&mut out, tag::SEQUENCE, length);
            assert_eq!(out, written);
        }
    }
}
