//! TTLV, the encoding of KMIP (KMIP 1.4, section 9.1): tag, type, length, value, padded to eight bytes.
//!
//! Reading borrows from the message and decodes an element only on request, to the depth that the caller
//! asks for. No message can cause recursion, allocation or unbounded work.

use std::fmt;

use zeroize::Zeroizing;

/// Tag of an element: three bytes.
pub(super) type Tag = u32;

/// Value types in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Structure = 1,
    Integer = 2,
    Enumeration = 5,
    TextString = 7,
    ByteString = 8,
}

/// Every type of the standard, with the fixed length of its values in bytes, if it has one.
const TYPES: [(u8, Option<usize>); 10] = [
    (1, None),     // structure
    (2, Some(4)),  // integer
    (3, Some(8)),  // long integer
    (4, None),     // big integer
    (5, Some(4)),  // enumeration
    (6, Some(8)),  // boolean
    (7, None),     // text string
    (8, None),     // byte string
    (9, Some(8)),  // date-time
    (10, Some(4)), // interval
];

/// A message that is not valid TTLV, or has unexpected contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TtlvError(pub(super) &'static str);

impl fmt::Display for TtlvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// One element of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub(super) tag: Tag,
    kind: u8,
    value: &'a [u8],
}

/// Sequence of elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elements<'a> {
    rest: &'a [u8],
}

/// Length of tag, type and length together, in bytes.
const HEADER: usize = 8;

/// Decode tag, type and length of an element.
fn header(bytes: [u8; HEADER]) -> Result<(Tag, u8, usize), TtlvError> {
    let [t1, t2, t3, kind, l1, l2, l3, l4] = bytes;
    let length = usize::try_from(u32::from_be_bytes([l1, l2, l3, l4])).map_err(|_| TtlvError("too long"))?;
    let known = TYPES.iter().find(|(number, _)| *number == kind).ok_or(TtlvError("an unknown type"))?;
    if known.1.is_some_and(|fixed| fixed != length) {
        return Err(TtlvError("a value of the wrong length for its type"));
    }
    Ok((u32::from_be_bytes([0, t1, t2, t3]), kind, length))
}

/// Number of bytes that follow the header of a message with this tag.
pub(super) fn message_length(bytes: [u8; HEADER], tag: Tag) -> Result<usize, TtlvError> {
    match header(bytes)? {
        (found, 1, length) if found == tag && length % 8 == 0 => Ok(length),
        _ => Err(TtlvError("not a KMIP response")),
    }
}

impl<'a> Elements<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn element(&mut self) -> Result<Element<'a>, TtlvError> {
        let (first, rest) = self.rest.split_first_chunk::<HEADER>().ok_or(TtlvError("it ends too early"))?;
        let (tag, kind, length) = header(*first)?;
        let padded = length.checked_next_multiple_of(8).ok_or(TtlvError("too long"))?;
        let (value, rest) = rest.split_at_checked(padded).ok_or(TtlvError("it ends too early"))?;
        let (value, padding) = value.split_at_checked(length).ok_or(TtlvError("it ends too early"))?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(TtlvError("padding that is not zero"));
        }
        self.rest = rest;
        Ok(Element { tag, kind, value })
    }

    /// The first remaining element with this tag.
    pub(super) fn find(self, tag: Tag) -> Result<Option<Element<'a>>, TtlvError> {
        for element in self {
            let element = element?;
            if element.tag == tag {
                return Ok(Some(element));
            }
        }
        Ok(None)
    }

    /// As [`Elements::find`]; a missing element is an error.
    pub(super) fn expect(self, tag: Tag) -> Result<Element<'a>, TtlvError> {
        self.find(tag)?.ok_or(TtlvError("a field is missing"))
    }

    /// All remaining elements with this tag.
    pub(super) fn all(self, tag: Tag) -> impl Iterator<Item = Result<Element<'a>, TtlvError>> {
        self.filter(move |element| element.as_ref().map_or(true, |element| element.tag == tag))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, TtlvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let element = self.element();
        if element.is_err() {
            // After a damaged element the position of the next one is unknown.
            self.rest = &[];
        }
        Some(element)
    }
}

impl<'a> Element<'a> {
    fn value_of(&self, kind: Type) -> Result<&'a [u8], TtlvError> {
        if self.kind == kind.number() { Ok(self.value) } else { Err(TtlvError("a value of another type")) }
    }

    /// Elements of a structure.
    pub(super) fn children(&self) -> Result<Elements<'a>, TtlvError> {
        Ok(Elements::new(self.value_of(Type::Structure)?))
    }

    pub(super) fn integer(&self) -> Result<i32, TtlvError> {
        let bytes = self.value_of(Type::Integer)?.try_into();
        bytes.map(i32::from_be_bytes).map_err(|_| TtlvError("an integer of the wrong length"))
    }

    pub(super) fn enumeration(&self) -> Result<u32, TtlvError> {
        let bytes = self.value_of(Type::Enumeration)?.try_into();
        bytes.map(u32::from_be_bytes).map_err(|_| TtlvError("an enumeration of the wrong length"))
    }

    pub(super) fn text(&self) -> Result<&'a str, TtlvError> {
        std::str::from_utf8(self.value_of(Type::TextString)?).map_err(|_| TtlvError("text that is not UTF-8"))
    }

    pub(super) fn bytes(&self) -> Result<&'a [u8], TtlvError> {
        self.value_of(Type::ByteString)
    }
}

impl Type {
    const fn number(self) -> u8 {
        match self {
            Self::Structure => 1,
            Self::Integer => 2,
            Self::Enumeration => 5,
            Self::TextString => 7,
            Self::ByteString => 8,
        }
    }
}

/// Capacity for every request of this client: growing would leave copies of its secrets behind.
const CAPACITY: usize = 4096;

/// Encoder into zeroized memory.
pub(super) struct Writer {
    bytes: Zeroizing<Vec<u8>>,
    /// True if a value was too long for its length field.
    overflow: bool,
}

impl Writer {
    /// Encode a message: one structure.
    ///
    /// # Errors
    /// [`TtlvError`] for a value of 4 GiB or more, which has no encoding.
    pub(super) fn message(
        tag: Tag,
        contents: impl FnOnce(&mut Self),
    ) -> Result<Zeroizing<Vec<u8>>, TtlvError> {
        let mut writer = Self { bytes: Zeroizing::new(Vec::with_capacity(CAPACITY)), overflow: false };
        writer.structure(tag, contents);
        if writer.overflow { Err(TtlvError("a value is too long")) } else { Ok(writer.bytes) }
    }

    pub(super) fn structure(&mut self, tag: Tag, contents: impl FnOnce(&mut Self)) {
        self.header(tag, Type::Structure, 0);
        let begin = self.bytes.len();
        contents(self);
        let length = self.length(self.bytes.len() - begin);
        match self.bytes.get_mut(begin - 4..begin) {
            Some(place) => place.copy_from_slice(&length),
            None => self.overflow = true,
        }
    }

    pub(super) fn integer(&mut self, tag: Tag, value: i32) {
        self.value(tag, Type::Integer, &value.to_be_bytes());
    }

    pub(super) fn enumeration(&mut self, tag: Tag, value: u32) {
        self.value(tag, Type::Enumeration, &value.to_be_bytes());
    }

    pub(super) fn text(&mut self, tag: Tag, value: &str) {
        self.value(tag, Type::TextString, value.as_bytes());
    }

    pub(super) fn bytes(&mut self, tag: Tag, value: &[u8]) {
        self.value(tag, Type::ByteString, value);
    }

    fn value(&mut self, tag: Tag, kind: Type, value: &[u8]) {
        self.header(tag, kind, value.len());
        self.bytes.extend_from_slice(value);
        let padded = self.bytes.len().next_multiple_of(8);
        self.bytes.resize(padded, 0);
    }

    fn header(&mut self, tag: Tag, kind: Type, value_length: usize) {
        let [_, tag @ ..] = tag.to_be_bytes();
        let length = self.length(value_length);
        self.bytes.extend_from_slice(&tag);
        self.bytes.push(kind.number());
        self.bytes.extend_from_slice(&length);
    }

    fn length(&mut self, length: usize) -> [u8; 4] {
        let encoded = u32::try_from(length);
        self.overflow |= encoded.is_err();
        encoded.unwrap_or_default().to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DiscoverVersions under 1.4, from the standard.
    const DISCOVER: &str = "42007801 00000060 42007701 00000038 42006901 00000020 42006a02 00000004 00000001 00000000 \
        42006b02 00000004 00000004 00000000 42000d02 00000004 00000001 00000000 42000f01 00000018 42005c05 00000004 \
        0000001e 00000000 42007901 00000000";

    fn unhex(text: &str) -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    fn sample() -> Vec<u8> {
        Writer::message(0x42_007b, |message| {
            message.integer(0x42_006a, -2);
            message.structure(0x42_000f, |item| {
                item.enumeration(0x42_007f, 7);
                item.text(0x42_0094, "käy");
                item.bytes(0x42_00c2, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
            });
        })
        .unwrap()
        .to_vec()
    }

    #[test]
    fn messages_are_encoded_as_in_the_standard() {
        let written = Writer::message(0x42_0078, |message| {
            message.structure(0x42_0077, |header| {
                header.structure(0x42_0069, |version| {
                    version.integer(0x42_006a, 1);
                    version.integer(0x42_006b, 4);
                });
                header.integer(0x42_000d, 1);
            });
            message.structure(0x42_000f, |item| {
                item.enumeration(0x42_005c, 0x1e);
                item.structure(0x42_0079, |_| {});
            });
        });
        assert_eq!(*written.unwrap(), unhex(DISCOVER));
    }

    #[test]
    fn encoded_messages_read_back() {
        let bytes = sample();
        let message = Elements::new(&bytes).expect(0x42_007b).unwrap().children().unwrap();
        assert_eq!(message.expect(0x42_006a).unwrap().integer(), Ok(-2));
        let item = message.expect(0x42_000f).unwrap().children().unwrap();
        assert_eq!(item.expect(0x42_007f).unwrap().enumeration(), Ok(7));
        assert_eq!(item.expect(0x42_0094).unwrap().text(), Ok("käy"));
        assert_eq!(item.expect(0x42_00c2).unwrap().bytes(), Ok(&[1, 2, 3, 4, 5, 6, 7, 8, 9][..]));
        assert_eq!(item.find(0x42_0001), Ok(None));
        assert!(item.expect(0x42_0094).unwrap().bytes().is_err(), "of another type");
    }

    #[test]
    fn a_length_is_read_only_from_a_response() {
        let first = |bytes: &[u8]| message_length(bytes[..8].try_into().unwrap(), 0x42_007b);
        assert_eq!(first(&sample()), Ok(sample().len() - 8));
        assert!(first(b"HTTP/1.1 400 Bad Request").is_err());
        assert!(first(&unhex(DISCOVER)).is_err());
        assert!(first(&[0x42, 0, 0x7b, 1, 0, 0, 0, 7]).is_err(), "not padded");
    }

    /// Decode everything in a message, to a depth of 64.
    fn walk(elements: Elements<'_>, depth: u32) -> usize {
        elements
            .map(|element| match element {
                Ok(element) => {
                    let _ = (element.integer(), element.enumeration(), element.text(), element.bytes());
                    let below = element.children().ok().filter(|_| depth < 64);
                    1 + below.map_or(0, |children| walk(children, depth + 1))
                }
                Err(_) => 1,
            })
            .sum()
    }

    #[test]
    fn damaged_messages_end_and_never_panic() {
        for whole in [sample(), unhex(DISCOVER)] {
            for at in 0..whole.len() {
                walk(Elements::new(&whole[..at]), 0);
                for bit in 0..8 {
                    let mut flipped = whole.clone();
                    flipped[at] ^= 1 << bit;
                    assert!(walk(Elements::new(&flipped), 0) <= whole.len());
                    let _ = message_length(flipped[..8].try_into().unwrap(), 0x42_007b);
                }
            }
        }
        // Random bytes from a fixed seed, some of them with a plausible beginning.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()
        };
        for round in 0..20_000_usize {
            let mut bytes: Vec<u8> = (0..round % 17).flat_map(|_| random()).collect();
            if round % 2 == 0 && bytes.len() > 8 {
                bytes[..6].copy_from_slice(&[0x42, 0, 0x7b, 1, 0, 0]);
                bytes[6] = 0;
            }
            walk(Elements::new(&bytes), 0);
        }
    }
}
