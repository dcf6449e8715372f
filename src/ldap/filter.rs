//! Search filters (RFC 4511, section 4.5.1.7).
//!
//! A filter is encoded from its parts, never parsed from text. A name with `*` or `)` in it is the value of one
//! comparison, so nothing needs escapes and nothing can be injected.

use std::fmt;

use zeroize::Zeroizing;

use super::ber::{OCTET_STRING, element};

/// Condition on entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LdapFilter<'a> {
    /// All of these.
    And(Vec<Self>),
    /// One of these.
    Or(Vec<Self>),
    /// The attribute has this value.
    Equal(&'a str, &'a [u8]),
    /// The attribute has a value.
    Present(&'a str),
}

impl LdapFilter<'_> {
    /// The filter in BER.
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let all = |tag, parts: &[Self]| {
            let parts: Vec<_> = parts.iter().map(Self::encode).collect();
            element(tag, &parts.iter().map(|part| part.as_slice()).collect::<Vec<_>>())
        };
        match self {
            Self::And(parts) => all(0xa0, parts),
            Self::Or(parts) => all(0xa1, parts),
            Self::Equal(attribute, value) => element(
                0xa3,
                &[&element(OCTET_STRING, &[attribute.as_bytes()]), &element(OCTET_STRING, &[value])],
            ),
            Self::Present(attribute) => element(0x87, &[attribute.as_bytes()]),
        }
    }
}

/// Text for people, by RFC 4515.
impl fmt::Display for LdapFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(parts) | Self::Or(parts) => {
                f.write_str(if matches!(self, Self::And(_)) { "(&" } else { "(|" })?;
                parts.iter().try_for_each(|part| part.fmt(f))?;
                f.write_str(")")
            }
            Self::Equal(attribute, value) => {
                write!(f, "({attribute}=")?;
                for byte in *value {
                    match byte {
                        b'*' | b'(' | b')' | b'\\' => write!(f, "\\{byte:02x}")?,
                        byte if byte.is_ascii_graphic() || *byte == b' ' => {
                            write!(f, "{}", char::from(*byte))?;
                        }
                        byte => write!(f, "\\{byte:02x}")?,
                    }
                }
                f.write_str(")")
            }
            Self::Present(attribute) => write!(f, "({attribute}=*)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_one_comparison_whatever_it_contains() {
        let filter = LdapFilter::And(vec![
            LdapFilter::Equal("objectClass", b"person"),
            LdapFilter::Equal("uid", b"*)(uid=*"),
        ]);
        let expected = [
            &[0xa0, 40][..],
            &[0xa3, 21, 4, 11],
            b"objectClass",
            &[4, 6],
            b"person",
            &[0xa3, 15, 4, 3],
            b"uid",
            &[4, 8],
            b"*)(uid=*",
        ]
        .concat();
        assert_eq!(filter.encode().as_slice(), expected);
        assert_eq!(filter.to_string(), r"(&(objectClass=person)(uid=\2a\29\28uid=\2a))");
        let text =
            LdapFilter::Or(vec![LdapFilter::Equal("cn", "é\\\0".as_bytes()), LdapFilter::Present("uid")]);
        assert_eq!(text.to_string(), r"(|(cn=\c3\a9\5c\00)(uid=*))");
    }
}
