//! Errors of parsing X.509 objects.

use crate::error::{Code, Coded};

/// Refusal of bytes or text as an X.509 object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum X509Error {
    /// Invalid object among several in a file.
    #[error("block {index} of the file cannot be read")]
    Block {
        /// Position of the block, from 1.
        index: usize,
        /// Cause.
        source: Box<X509Error>,
    },
    /// Not 64 hexadecimal digits.
    #[error("not a SHA-256 digest: 64 hexadecimal digits were expected")]
    Digest,
    /// Unsupported key type.
    #[error(
        "`{given}` is not a key type: choose ecdsa-p256, ecdsa-p384, ed25519, rsa-2048, rsa-3072 or rsa-4096"
    )]
    KeyAlgorithm {
        /// Given text, escaped.
        given: String,
    },
    /// Not hexadecimal digits.
    #[error("not a key identifier: pairs of hexadecimal digits were expected")]
    KeyIdentifier,
    /// Invalid DER of the expected object.
    #[error("not a {what}: {why}")]
    Malformed {
        /// Expected object, such as `certificate`.
        what: &'static str,
        /// Violated rule.
        why: String,
    },
    /// File without the expected object.
    #[error("the file contains no {wanted}")]
    NoBlock {
        /// Expected object.
        wanted: &'static str,
    },
    /// Damaged PEM block.
    #[error("PEM block {index} cannot be read: {why}")]
    Pem {
        /// Position of the block, from 1.
        index: usize,
        /// Damage.
        why: &'static str,
    },
    /// Private key in a file of other objects.
    #[error("block {index} of the file is a private key instead of a {wanted}")]
    PrivateKey {
        /// Position of the block, from 1.
        index: usize,
        /// Expected object.
        wanted: &'static str,
    },
    /// Not a positive serial number of at most 20 octets in hexadecimal.
    #[error("not a serial number: 1 to 40 hexadecimal digits, not all zero, were expected")]
    SerialNumber,
    /// Serial number of a certificate that RFC 5280, section 4.1.2.2 forbids.
    #[error("the serial number of the certificate is not a positive number of at most 20 octets")]
    SerialNumberRange,
    /// Object of another type.
    #[error("block {index} of the file is a `{label}` instead of a {wanted}")]
    UnexpectedBlock {
        /// Position of the block, from 1.
        index: usize,
        /// Label of the block.
        label: String,
        /// Expected object.
        wanted: &'static str,
    },
}

impl Coded for X509Error {
    fn coded(&self) -> Code {
        match self {
            Self::Block { source, .. } => source.coded(),
            Self::Digest => Code::usage("x509.digest"),
            Self::KeyAlgorithm { .. } => Code::usage("x509.key_algorithm"),
            Self::KeyIdentifier => Code::usage("x509.key_identifier"),
            Self::Malformed { .. } => Code::environment("x509.malformed"),
            Self::NoBlock { .. } => Code::environment("x509.no_block"),
            Self::Pem { .. } => Code::environment("x509.pem"),
            Self::PrivateKey { .. } => Code::refused("x509.private_key"),
            Self::SerialNumber => Code::usage("x509.serial_number"),
            Self::SerialNumberRange => Code::refused("x509.serial_number_range"),
            Self::UnexpectedBlock { .. } => Code::refused("x509.unexpected_block"),
        }
    }
}
