//! References to certificates, as users type them.

use crate::identity::{IdentityError, MachineLabel, Name, Role, role_and_name};
use crate::x509::{Certificate, SerialNumber, X509Error};

/// A reference to a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The certificate itself, read from a file.
    Certificate(Box<Certificate>),
    /// Serial number in hexadecimal, with or without colons.
    Serial(SerialNumber),
    /// Role and name, such as `api-user/alice`.
    Identity(Role, Name),
    /// Label of a node. No text is read as one: labels are not unique, and nothing is signed for them.
    Label(MachineLabel),
}

impl Target {
    pub(super) fn serial_number(&self) -> Option<SerialNumber> {
        match self {
            Self::Certificate(certificate) => Some(certificate.serial_number),
            Self::Serial(serial_number) => Some(*serial_number),
            Self::Identity(..) | Self::Label(_) => None,
        }
    }
}

impl std::str::FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text.contains('/') {
            let (role, name) = role_and_name(text)?;
            return Ok(Self::Identity(role, name));
        }
        Ok(Self::Serial(text.parse()?))
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Certificate(certificate) => write!(f, "{}", certificate.serial_number),
            Self::Serial(serial_number) => write!(f, "{serial_number}"),
            Self::Identity(role, name) => write!(f, "{role}/{name}"),
            Self::Label(label) => write!(f, "{label}"),
        }
    }
}

/// A text that is neither a serial number nor `ROLE/NAME`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Invalid role or name.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Invalid serial number.
    #[error(transparent)]
    SerialNumber(#[from] X509Error),
}
