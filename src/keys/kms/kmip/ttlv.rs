//! TTLV, the encoding of KMIP (KMIP 1.4, section 9.1): tag, type, length, value, padded to eight bytes.
//!
//! Reading borrows from the message and makes nothing: an element is looked at only when it is asked
//! for, to the depth that the caller asks for, so that no message can make it recurse, allocate or run.

use std::fmt;

use zeroize::Zeroizing;

/// What an element is: three bytes.
pub(super) type Tag = u32;

/// How a value is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Structure = 1,
    Integer = 2,
    Enumeration = 5,
    TextString = 7,
    ByteString = 8,
}

/// Every type of the standard, with the length that its values must have, if all have the same.
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

/// A message that is not TTLV, or not the TTLV that was expected.
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

/// Elements one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elements<'a> {
    rest: &'a [u8],
}

/// The bytes before a value.
const HEADER: usize = 8;

/// Tag, type and length of an element from its first eight bytes.
fn header(bytes: [u8; HEADER]) -> Result<(Tag, u8, usize), TtlvError> {
    let [t1, t2, t3, kind, l1, l2, l3, l4] = bytes;
    let length = usize::try_from(u32::from_be_bytes([l1, l2, l3, l4])).map_err(|_| TtlvError("too long"))?;
    let known = TYPES.iter().find(|(number, _)| *number == kind).ok_or(TtlvError("an unknown type"))?;
    if known.1.is_some_and(|fixed| fixed != length) {
        return Err(TtlvError("a value of the wrong length for its type"));
    }
    Ok((u32::from_be_bytes([0, t1, t2, t3]), kind, length))
}

/// The length of the message that begins with these bytes, after them, when it is `tag`.
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

    /// The first of the elements left that has this tag.
    pub(super) fn find(self, tag: Tag) -> Result<Option<Element<'a>>, TtlvError> {
        for element in self {
            let element = element?;
            if element.tag == tag {
                return Ok(Some(element));
            }
        }
        Ok(None)
    }

    /// The same, where it has to be there.
    pub(super) fn expect(self, tag: Tag) -> Result<Element<'a>, TtlvError> {
        self.find(tag)?.ok_or(TtlvError("something is missing in it"))
    }

    /// All of the elements left that have this tag.
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
            // After a damaged element there is nothing that could be trusted.
            self.rest = &[];
        }
        Some(element)
    }
}

impl<'a> Element<'a> {
    fn value_of(&self, kind: Type) -> Result<&'a [u8], TtlvError> {
        if self.kind == kind.number() { Ok(self.value) } else { Err(TtlvError("a value of another type")) }
    }

    /// What is in a structure.
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

/// Room for every message that is written here, so that a secret in it is never moved to a larger
/// buffer and left behind.
const ROOM: usize = 4096;

/// Writes a message into zeroized memory.
pub(super) struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    /// A message that is one structure.
    pub(super) fn message(tag: Tag, contents: impl FnOnce(&mut Self)) -> Zeroizing<Vec<u8>> {
        let mut writer = Self(Zeroizing::new(Vec::with_capacity(ROOM)));
        writer.structure(tag, contents);
        writer.0
    }

    pub(super) fn structure(&mut self, tag: Tag, contents: impl FnOnce(&mut Self)) {
        self.header(tag, Type::Structure, 0);
        let begin = self.0.len();
        contents(self);
        let length = length(self.0.len() - begin);
        if let Some(place) = self.0.get_mut(begin - 4..begin) {
            place.copy_from_slice(&length);
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
        self.0.extend_from_slice(value);
        let padded = self.0.len().next_multiple_of(8);
        self.0.resize(padded, 0);
    }

    fn header(&mut self, tag: Tag, kind: Type, value_length: usize) {
        let [_, tag @ ..] = tag.to_be_bytes();
        self.0.extend_from_slice(&tag);
        self.0.push(kind.number());
        self.0.extend_from_slice(&length(value_length));
    }
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DiscoverVersions under 1.4, as the standard has it.
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
        .to_vec()
    }

    #[test]
    fn a_message_is_written_as_the_standard_has_it() {
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
        assert_eq!(*written, unhex(DISCOVER));
    }

    #[test]
    fn what_was_written_reads_back() {
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
    fn a_length_is_believed_only_of_a_response() {
        let first = |bytes: &[u8]| message_length(bytes[..8].try_into().unwrap(), 0x42_007b);
        assert_eq!(first(&sample()), Ok(sample().len() - 8));
        assert!(first(b"HTTP/1.1 400 Bad Request").is_err());
        assert!(first(&unhex(DISCOVER)).is_err());
        assert!(first(&[0x42, 0, 0x7b, 1, 0, 0, 0, 7]).is_err(), "not padded");
    }

    /// Everything in a message, to any depth, as a careless caller would look at it.
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
