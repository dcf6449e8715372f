//! Subject and authority key identifiers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::X509Error;
use super::hex::{hex, unhex};

/// Subject or authority key identifier (RFC 5280, sections 4.2.1.1 and 4.2.1.2).
///
/// Certificates and CRLs refer to their issuer's key by it. Its text is lower-case hexadecimal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyIdentifier(pub Vec<u8>);

impl fmt::Display for KeyIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex(&self.0))
    }
}

impl FromStr for KeyIdentifier {
    type Err = X509Error;

    /// Parses hexadecimal digits in either case, with a colon between all pairs or none.
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
