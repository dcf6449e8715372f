//! Errors of reading X.509 objects.

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
