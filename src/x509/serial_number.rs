//! Certificate serial numbers.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::error::X509Error;
use super::hex::{hex, unhex};
use crate::clock::{Entropy, EntropyError};

/// Serial number of a certificate: positive, at most 20 octets (RFC 5280, section 4.1.2.2).
///
/// Its text has at least 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SerialNumber([u8; 20]);

impl SerialNumber {
    /// Generate a serial number of 128 random bits.
    ///
    /// # Errors
    /// [`EntropyError`] if the generator fails.
    pub fn random(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut bytes = [0; 20];
        if let Some(low) = bytes.get_mut(4..) {
            entropy.fill(low)?;
        }
        // 128 zero bits indicate a broken generator, and zero is not a valid serial number.
        if bytes == [0; 20] { Err(EntropyError) } else { Ok(Self(bytes)) }
    }

    /// Read a big-endian number, leading zeros allowed.
    ///
    /// # Errors
    /// [`X509Error::SerialNumber`] for zero or more than 20 octets.
    pub fn from_be_bytes(bytes: &[u8]) -> Result<Self, X509Error> {
        let start = bytes.iter().position(|b| *b != 0).ok_or(X509Error::SerialNumber)?;
        let significant = bytes.get(start..).unwrap_or_default();
        let mut padded = [0; 20];
        let offset = padded.len().checked_sub(significant.len()).ok_or(X509Error::SerialNumber)?;
        if let Some(low) = padded.get_mut(offset..) {
            low.copy_from_slice(significant);
        }
        Ok(Self(padded))
    }

    /// Big-endian octets without leading zeros.
    #[must_use]
    pub fn as_be_bytes(&self) -> &[u8] {
        let start = self.0.iter().position(|b| *b != 0).unwrap_or_default();
        self.0.get(start..).unwrap_or_default()
    }

    /// 20 octets, big-endian.
    #[must_use]
    pub const fn to_octets(self) -> [u8; 20] {
        self.0
    }
}

impl fmt::Display for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = hex(&self.0);
        f.pad(digits.strip_prefix("00000000").unwrap_or(&digits))
    }
}

impl fmt::Debug for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SerialNumber({self})")
    }
}

impl FromStr for SerialNumber {
    type Err = X509Error;

    /// Parse hexadecimal digits; colons, as other tools print them, are ignored.
    fn from_str(text: &str) -> Result<Self, X509Error> {
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        if digits.is_empty() || digits.len() > 42 {
            return Err(X509Error::SerialNumber);
        }
        let padded = if digits.len().is_multiple_of(2) { digits } else { format!("0{digits}") };
        Self::from_be_bytes(&unhex(&padded).ok_or(X509Error::SerialNumber)?)
    }
}

impl Serialize for SerialNumber {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemEntropy;

    #[test]
    fn serial_numbers_are_128_random_bits_of_fixed_width() {
        let (a, b) =
            (SerialNumber::random(&SystemEntropy).unwrap(), SerialNumber::random(&SystemEntropy).unwrap());
        assert_ne!(a, b);
        assert_eq!(a.to_string().len(), 32);
        assert_eq!(a.to_string().parse::<SerialNumber>().unwrap(), a);
    }

    #[test]
    fn foreign_serial_numbers_of_up_to_20_octets_are_parsed() {
        assert_eq!("01:AB".parse::<SerialNumber>().unwrap().to_string(), format!("{:0>32}", "1ab"));
        assert_eq!("f".repeat(40).parse::<SerialNumber>().unwrap().to_string(), "f".repeat(40));
        for text in ["", "0", "00", "xy", &"f".repeat(41), "-1", " 1", "é"] {
            assert!(text.parse::<SerialNumber>().is_err(), "{text}");
        }
        assert_eq!(SerialNumber::from_be_bytes(&[0, 0x80]).unwrap().as_be_bytes(), [0x80]);
    }

    #[test]
    fn a_generator_of_zeros_is_refused() {
        #[derive(Debug)]
        struct Zeros;
        impl Entropy for Zeros {
            fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
                bytes.fill(0);
                Ok(())
            }
        }
        assert!(SerialNumber::random(&Zeros).is_err());
    }
}
