//! X.509 as RFC 5280 has it, read-only: certificates, requests, CRLs, the files they come in, and
//! checking a chain.
//!
//! What a certificate says is parsed once into owned, typed fields; nothing here makes or signs
//! one. `x509_parser`, `pem` and `webpki` are known to this module only.

mod certificate;
pub mod crl;
pub(crate) mod der;
mod extensions;
pub mod inspect;
pub mod pem;
mod reason;
mod request;
mod signed;
#[cfg(test)]
pub(crate) mod testing;
pub mod trust;

pub use certificate::{Certificate, DistinguishedName, algorithm_of_public_key};
pub use extensions::{AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName};
pub use reason::{RevocationReason, UnknownReason};
pub use request::{CertificationRequest, RequestError};
pub use signed::SignatureError;
use signed::Signed;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::clock::{Entropy, EntropyError};

/// The key types that this project makes and accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256: the default, fastest to sign and verify.
    #[serde(rename = "ecdsa-p256")]
    EcdsaP256,
    /// ECDSA on P-384.
    #[serde(rename = "ecdsa-p384")]
    EcdsaP384,
    /// Ed25519 (RFC 8410).
    #[serde(rename = "ed25519")]
    Ed25519,
    /// RSA with a modulus of 2048 bits.
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    /// RSA with a modulus of 3072 bits.
    #[serde(rename = "rsa-3072")]
    Rsa3072,
    /// RSA with a modulus of 4096 bits.
    #[serde(rename = "rsa-4096")]
    Rsa4096,
}

impl KeyAlgorithm {
    /// Every key type, the default first.
    pub const ALL: [Self; 6] =
        [Self::EcdsaP256, Self::EcdsaP384, Self::Ed25519, Self::Rsa2048, Self::Rsa3072, Self::Rsa4096];

    /// Whether it is RSA, of whatever size.
    #[must_use]
    pub const fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }

    /// The word for it on the command line and in profiles.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Ed25519 => "ed25519",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for KeyAlgorithm {
    type Err = X509Error;

    fn from_str(text: &str) -> Result<Self, X509Error> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or_else(|| X509Error::KeyAlgorithm { given: text.escape_debug().take(80).collect() })
    }
}

/// A certificate's serial number: positive, at most 20 octets (RFC 5280, section 4.1.2.2).
///
/// Written as lower-case hexadecimal of at least 32 digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SerialNumber([u8; 20]);

impl SerialNumber {
    /// A new one of 128 unpredictable bits.
    ///
    /// # Errors
    /// [`EntropyError`] when the generator fails.
    pub fn random(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut bytes = [0; 20];
        if let Some(low) = bytes.get_mut(4..) {
            entropy.fill(low)?;
        }
        // A generator that delivers 128 zero bits is broken, and zero is no serial number.
        if bytes == [0; 20] { Err(EntropyError) } else { Ok(Self(bytes)) }
    }

    /// From a big-endian number, leading zeros allowed.
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

    /// The number, big-endian, without leading zeros.
    #[must_use]
    pub fn as_be_bytes(&self) -> &[u8] {
        let start = self.0.iter().position(|b| *b != 0).unwrap_or_default();
        self.0.get(start..).unwrap_or_default()
    }

    /// The number as 20 octets, big-endian.
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

    /// Reads hexadecimal digits, with or without the colons that other tools write.
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

/// A subject or authority key identifier (RFC 5280, sections 4.2.1.1 and 4.2.1.2), lower-case
/// hexadecimal when written. A certificate and a CRL name the key that signed them by it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyIdentifier(pub Vec<u8>);

impl fmt::Display for KeyIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex(&self.0))
    }
}

impl FromStr for KeyIdentifier {
    type Err = X509Error;

    /// Reads hexadecimal digits in either case, with or without a colon between all pairs.
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

/// A SHA-256 digest: of a certificate's DER, of a profile's text, of an audit entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut digest = [0; 32];
        digest.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
        Self(digest)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex(&self.0))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

impl FromStr for Sha256 {
    type Err = X509Error;

    fn from_str(text: &str) -> Result<Self, X509Error> {
        unhex(text).and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(X509Error::Digest)
    }
}

impl Serialize for Sha256 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Sha256 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// `bytes` as lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS.get(usize::from(value)).copied().unwrap_or_default());
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text
        .bytes()
        .map(|b| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect::<Option<Vec<u8>>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// Why something is not the X.509 it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum X509Error {
    /// One of several objects in a file cannot be read.
    #[error("block {index} of the file cannot be read")]
    Block {
        /// Its place among the blocks, from 1.
        index: usize,
        /// Why.
        source: Box<X509Error>,
    },
    /// Not 64 hexadecimal digits.
    #[error("not a SHA-256 digest: 64 hexadecimal digits were expected")]
    Digest,
    /// Not a key type of this project.
    #[error(
        "`{given}` is not a key type: choose ecdsa-p256, ecdsa-p384, ed25519, rsa-2048, rsa-3072 or rsa-4096"
    )]
    KeyAlgorithm {
        /// What was given.
        given: String,
    },
    /// Not hexadecimal digits.
    #[error("not a key identifier: pairs of hexadecimal digits were expected")]
    KeyIdentifier,
    /// The bytes are not the DER of a `what`.
    #[error("not a {what}: {why}")]
    Malformed {
        /// What was expected, such as `certificate`.
        what: &'static str,
        /// Where it went wrong.
        why: String,
    },
    /// Nothing of what was expected is in the file.
    #[error("there is no {wanted} in the file")]
    NoBlock {
        /// What was expected.
        wanted: &'static str,
    },
    /// A PEM block is damaged.
    #[error("PEM block {index} cannot be read: {why}")]
    Pem {
        /// Its place among the blocks, from 1.
        index: usize,
        /// Where it went wrong.
        why: &'static str,
    },
    /// A private key, which does not belong into such a file.
    #[error("block {index} of the file is a private key where a {wanted} was expected")]
    PrivateKey {
        /// Its place among the blocks, from 1.
        index: usize,
        /// What was expected.
        wanted: &'static str,
    },
    /// Not a serial number: hexadecimal, positive, at most 20 octets.
    #[error("not a serial number: 1 to 40 hexadecimal digits, not all zero, were expected")]
    SerialNumber,
    /// Something else than was expected.
    #[error("block {index} of the file is a `{label}` where a {wanted} was expected")]
    UnexpectedBlock {
        /// Its place among the blocks, from 1.
        index: usize,
        /// What it is.
        label: String,
        /// What was expected.
        wanted: &'static str,
    },
}

impl X509Error {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Block { source, .. } => source.code(),
            Self::Digest => "x509.digest",
            Self::KeyAlgorithm { .. } => "x509.key_algorithm",
            Self::KeyIdentifier => "x509.key_identifier",
            Self::Malformed { .. } => "x509.malformed",
            Self::NoBlock { .. } => "x509.no_block",
            Self::Pem { .. } => "x509.pem",
            Self::PrivateKey { .. } => "x509.private_key",
            Self::SerialNumber => "x509.serial_number",
            Self::UnexpectedBlock { .. } => "x509.unexpected_block",
        }
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
    fn serial_numbers_of_others_are_read_up_to_20_octets() {
        assert_eq!("01:AB".parse::<SerialNumber>().unwrap().to_string(), format!("{:0>32}", "1ab"));
        assert_eq!("f".repeat(40).parse::<SerialNumber>().unwrap().to_string(), "f".repeat(40));
        for text in ["", "0", "00", "xy", &"f".repeat(41), "-1", " 1", "é"] {
            assert!(text.parse::<SerialNumber>().is_err(), "{text}");
        }
        assert_eq!(SerialNumber::from_be_bytes(&[0, 0x80]).unwrap().as_be_bytes(), [0x80]);
    }

    #[test]
    fn key_identifiers_are_read_as_tools_print_them() {
        for text in ["01ab", "01AB", "01:AB", "01:ab"] {
            assert_eq!(text.parse::<KeyIdentifier>().unwrap().to_string(), "01ab");
        }
        for text in ["", ":", "1", "01:", "0:1ab", "01ab:cd", "xy", "CN=users", " 01"] {
            assert!(text.parse::<KeyIdentifier>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_entropy_failure_makes_no_serial_number() {
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
