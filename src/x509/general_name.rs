//! General names and distinguished names in the form that name constraints compare (RFC 5280, sections 4.2.1.6 and 7).

use super::der::{DerElement, DerError, Reader, tag};

/// Object identifier of the attribute `emailAddress` (PKCS #9).
const EMAIL_ADDRESS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];

/// Tags of `GeneralName`.
mod choice {
    pub(super) const EMAIL: u8 = 0x81;
    pub(super) const DNS: u8 = 0x82;
    pub(super) const DIRECTORY: u8 = 0xa4;
    pub(super) const URI: u8 = 0x86;
    pub(super) const IP: u8 = 0x87;
    /// `otherName`, `x400Address`, `ediPartyName`, `registeredID`.
    pub(super) const OTHERS: &[u8] = &[0xa0, 0xa3, 0xa5, 0x88];
}

/// General name, of a certificate or of a constraint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum GeneralName {
    /// `rfc822Name`.
    Email(String),
    /// `dNSName`, in lower case.
    Dns(String),
    /// `uniformResourceIdentifier`.
    Uri(String),
    /// `iPAddress`: an address or, in a constraint, an address with its mask.
    Ip(Vec<u8>),
    /// `directoryName`.
    Directory(DirectoryName),
    /// Other form, by its tag.
    Other(u8),
}

impl GeneralName {
    pub(super) fn read(element: DerElement<'_>) -> Result<Self, DerError> {
        match element.tag {
            choice::EMAIL => Ok(Self::Email(ascii(element.content)?.to_owned())),
            choice::DNS => Ok(Self::Dns(ascii(element.content)?.to_ascii_lowercase())),
            choice::URI => Ok(Self::Uri(ascii(element.content)?.to_owned())),
            choice::IP => Ok(Self::Ip(element.content.to_vec())),
            choice::DIRECTORY => Ok(Self::Directory(DirectoryName::read(element.content)?)),
            other if choice::OTHERS.contains(&other) => Ok(Self::Other(other)),
            _ => Err(DerError::Tag),
        }
    }

    /// All names of a `GeneralNames`.
    pub(super) fn read_all(der: &[u8]) -> Result<Vec<Self>, DerError> {
        let mut names = Reader::new(Reader::whole(der, tag::SEQUENCE)?);
        let mut read = Vec::new();
        while !names.is_empty() {
            read.push(Self::read(names.element()?)?);
        }
        Ok(read)
    }

    /// Number of the form, the same for names that can be compared.
    pub(super) const fn form(&self) -> u8 {
        match self {
            Self::Email(_) => choice::EMAIL,
            Self::Dns(_) => choice::DNS,
            Self::Uri(_) => choice::URI,
            Self::Ip(_) => choice::IP,
            Self::Directory(_) => choice::DIRECTORY,
            Self::Other(form) => *form,
        }
    }
}

fn ascii(octets: &[u8]) -> Result<&str, DerError> {
    std::str::from_utf8(octets).ok().filter(|text| text.is_ascii()).ok_or(DerError::Tag)
}

/// Distinguished name whose attributes can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DirectoryName {
    relative_names: Vec<Vec<Attribute>>,
    /// Values of `emailAddress`, which constraints on e-mail addresses apply to as well (section 4.2.1.10). One that is
    /// no text is an empty address, which satisfies no constraint.
    pub(super) emails: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Attribute {
    oid: Vec<u8>,
    value: AttributeValue,
}

/// Value of an attribute. Texts are compared without regard to case, encoding and repeated spaces (section 7.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum AttributeValue {
    Text(String),
    Raw(Vec<u8>),
}

impl DirectoryName {
    /// Parse the DER of a `Name`.
    pub(super) fn read(der: &[u8]) -> Result<Self, DerError> {
        let mut names = Reader::new(Reader::whole(der, tag::SEQUENCE)?);
        let (mut relative_names, mut emails) = (Vec::new(), Vec::new());
        while !names.is_empty() {
            let mut attributes = Reader::new(names.expect(tag::SET)?);
            let mut relative = Vec::with_capacity(1);
            while !attributes.is_empty() {
                let mut attribute = Reader::new(attributes.expect(tag::SEQUENCE)?);
                let oid = attribute.expect(tag::OBJECT_IDENTIFIER)?.to_vec();
                let value = attribute.element()?;
                attribute.end()?;
                if oid == EMAIL_ADDRESS {
                    emails.push(ascii(value.content).unwrap_or_default().to_owned());
                }
                let value = AttributeValue::read(value);
                relative.push(Attribute { oid, value });
            }
            relative.sort_unstable();
            relative_names.push(relative);
        }
        Ok(Self { relative_names, emails })
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.relative_names.is_empty()
    }

    /// Test for a name at or below `base`.
    pub(super) fn is_within(&self, base: &Self) -> bool {
        self.relative_names.starts_with(&base.relative_names)
    }
}

impl AttributeValue {
    fn read(element: DerElement<'_>) -> Self {
        let text = match element.tag {
            tag::UTF8_STRING
            | tag::PRINTABLE_STRING
            | tag::IA5_STRING
            | tag::NUMERIC_STRING
            | tag::VISIBLE_STRING => std::str::from_utf8(element.content).ok().map(str::to_owned),
            // ISO 8859-1 in practice, whatever X.690 says.
            tag::TELETEX_STRING => Some(element.content.iter().copied().map(char::from).collect()),
            tag::UNIVERSAL_STRING => {
                let (units, rest) = element.content.as_chunks::<4>();
                let text = units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit))).collect();
                if rest.is_empty() { text } else { None }
            }
            tag::BMP_STRING => {
                let (units, rest) = element.content.as_chunks::<2>();
                let units: Vec<_> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
                String::from_utf16(&units).ok().filter(|_| rest.is_empty())
            }
            _ => None,
        };
        match text {
            // Through upper case, where `ß` is `SS`, as the case folding of RFC 4518, section 2.2 has it.
            Some(text) => {
                let folded = text.to_lowercase().to_uppercase().to_lowercase();
                Self::Text(folded.split_whitespace().collect::<Vec<_>>().join(" "))
            }
            None => Self::Raw(element.raw.to_vec()),
        }
    }
}
