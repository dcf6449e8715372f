//! Revocation reasons.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Coded, excerpt};

/// Revocation reason (RFC 5280, section 5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevocationReason {
    /// No reason given.
    Unspecified,
    /// Private key compromised.
    KeyCompromise,
    /// Private key of a CA compromised.
    CaCompromise,
    /// Affiliation of the subject changed.
    AffiliationChanged,
    /// Replaced by another certificate.
    Superseded,
    /// No longer needed.
    CessationOfOperation,
    /// Suspended; the hold can be lifted.
    CertificateHold,
    /// Removed from the CRL; occurs in delta CRLs only.
    RemoveFromCrl,
    /// Access rights of the subject ended, while its key is safe.
    PrivilegeWithdrawn,
    /// Private key of an attribute authority compromised.
    AaCompromise,
}

impl RevocationReason {
    /// All reasons in the order of the standard.
    pub const ALL: [Self; 10] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::CertificateHold,
        Self::RemoveFromCrl,
        Self::PrivilegeWithdrawn,
        Self::AaCompromise,
    ];

    /// Reasons that may be given for a leaf certificate; the others concern CAs or are not permanent.
    pub const FOR_LEAVES: [Self; 6] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// Reason code of the standard.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::CertificateHold => 6,
            Self::RemoveFromCrl => 8,
            Self::PrivilegeWithdrawn => 9,
            Self::AaCompromise => 10,
        }
    }

    /// Reason with this code; 7 is unassigned.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// Name of the standard in kebab case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key-compromise",
            Self::CaCompromise => "ca-compromise",
            Self::AffiliationChanged => "affiliation-changed",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation-of-operation",
            Self::CertificateHold => "certificate-hold",
            Self::RemoveFromCrl => "remove-from-crl",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
            Self::AaCompromise => "aa-compromise",
        }
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for RevocationReason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        Self::ALL
            .into_iter()
            .find(|reason| is_spelling_of(text, reason.as_str()))
            .ok_or_else(|| UnknownReason { given: excerpt(text) })
    }
}

/// True for `key-compromise` and RFC 5280's own `keyCompromise`, in any case.
fn is_spelling_of(given: &str, name: &str) -> bool {
    given.eq_ignore_ascii_case(name) || given.eq_ignore_ascii_case(&name.replace('-', ""))
}

/// Unknown revocation reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is not a revocation reason of RFC 5280, such as key-compromise or superseded; --help lists them"
)]
pub struct UnknownReason {
    /// Given text, escaped.
    pub given: String,
}

impl Coded for UnknownReason {
    fn coded(&self) -> Code {
        Code::refused("revocation.reason")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_are_those_of_the_standard() {
        for reason in RevocationReason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
            assert_eq!(RevocationReason::from_code(reason.code()), Some(reason));
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
        assert_eq!(RevocationReason::from_code(7), None);
        assert_eq!(RevocationReason::from_code(11), None);
        assert_eq!("keyCompromise".parse(), Ok(RevocationReason::KeyCompromise));
        assert_eq!("CACompromise".parse(), Ok(RevocationReason::CaCompromise));
        for other in ["", "key compromise", "compromise", "key--compromise", "keyCompromised"] {
            assert!(other.parse::<RevocationReason>().is_err(), "{other}");
        }
    }
}
