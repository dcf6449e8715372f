//! Subject and authority key identifiers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::der::{DerError, Reader, tag};
use super::error::X509Error;
use super::hex::{hex, unhex};
use super::sha256::Sha256;

/// Subject or authority key identifier (RFC 5280, sections 4.2.1.1 and 4.2.1.2).
///
/// Certificates and CRLs refer to their issuer's key by it. Its text is lower-case hexadecimal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyIdentifier(pub Vec<u8>);

impl KeyIdentifier {
    /// Identifier of the key in `public_key_info` (DER) by RFC 7093, section 2, method 1: the leftmost 160 bits of the
    /// SHA-256 of the key itself, without its algorithm.
    ///
    /// # Errors
    /// [`X509Error::Malformed`] unless it is a SubjectPublicKeyInfo.
    pub fn of_public_key(public_key_info: &[u8]) -> Result<Self, X509Error> {
        let read = || {
            let mut fields = Reader::new(Reader::whole(public_key_info, tag::SEQUENCE)?);
            fields.expect(tag::SEQUENCE)?;
            let key = fields.expect(tag::BIT_STRING)?;
            fields.end()?;
            // The first octet is the number of unused bits.
            key.split_first().map(|(_, key)| key).ok_or(DerError::Truncated)
        };
        let key = read()
            .map_err(|error| X509Error::Malformed { what: "public key", why: error.as_str().to_owned() })?;
        let digest = Sha256::of(key);
        Ok(Self(digest.0.into_iter().take(20).collect()))
    }
}

impl fmt::Display for KeyIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex(&self.0))
    }
}

impl FromStr for KeyIdentifier {
    type Err = X509Error;

    /// Parse hexadecimal digits in either case, with a colon between all pairs or none.
    fn from_str(text: &str) -> Result<Self, X509Error> {
        let whole = !text.contains(':') || text.split(':').all(|pair| pair.len() == 2);
        let bytes = unhex(&text.replace(':', "")).filter(|bytes| whole && !bytes.is_empty());
        bytes.map(Self).ok_or(X509Error::KeyIdentifier)
    }
}

impl fmt::Debug for KeyIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyIdentifier({self})")
    }
}

impl Serialize for KeyIdentifier {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyIdentifier {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Example of RFC 7093, section 3: a P-256 key with its identifier by method 1.
    #[test]
    fn a_key_is_identified_by_the_bits_of_the_key_alone() {
        let key = "3059301306072a8648ce3d020106082a8648ce3d030107034200047f7f35a79794c950060b8029fc8f363a\
                   28f11159692d9d34e6ac948190434735f833b1a66652dc514337aff7f5c9c75d670c019d95a5d639b72744\
                   c64a9128bb";
        let id = KeyIdentifier::of_public_key(&unhex(key).unwrap()).unwrap();
        assert_eq!(id.to_string(), "bf37b3e5808fd46d54b28e846311bcce1cad2e1a");
        for bytes in [&[][..], &[0x30, 0], &[0x30, 4, 0x30, 0, 3, 0], b"key"] {
            assert!(KeyIdentifier::of_public_key(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn key_identifiers_are_parsed_as_tools_print_them() {
        for text in ["01ab", "01AB", "01:AB", "01:ab"] {
            assert_eq!(text.parse::<KeyIdentifier>().unwrap().to_string(), "01ab");
        }
        for text in ["", ":", "1", "01:", "0:1ab", "01ab:cd", "xy", "CN=users", " 01"] {
            assert!(text.parse::<KeyIdentifier>().is_err(), "{text}");
        }
    }
}
