//! Issuers and their newest CRLs.

use std::fmt;

use time::OffsetDateTime;

use crate::x509::{Certificate, KeyIdentifier, Sha256};

/// Key that signs certificates and CRLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerRecord {
    /// Subject key identifier of its certificate, by which everything refers to it.
    pub key_id: KeyIdentifier,
    /// Issuer certificate.
    pub certificate: Certificate,
    /// Stage of its rotation.
    pub state: IssuerState,
    /// Reserved before the CRL is signed, so that no number is used twice.
    pub next_crl_number: u64,
    /// Newest CRL; `None` before the first one.
    pub crl: Option<CurrentCrl>,
}

impl IssuerRecord {
    /// True if a CRL number was reserved and no CRL recorded under it. A process crashed in between, and the CRL
    /// file may lack recorded revocations.
    #[must_use]
    pub fn owes_crl(&self) -> bool {
        self.crl.is_none_or(|crl| crl.number + 1 < self.next_crl_number)
    }
}

/// Stage of an issuer's rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IssuerState {
    /// Trusted, but not signing yet.
    Staged,
    /// Sign new certificates.
    Active,
    /// Signs CRLs only, until its last certificate expires.
    Retired,
}

impl IssuerState {
    /// Every state, in the order of a rotation.
    pub const ALL: [Self; 3] = [Self::Staged, Self::Active, Self::Retired];

    /// The word in the inventory, on the command line and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Active => "active",
            Self::Retired => "retired",
        }
    }
}

impl fmt::Display for IssuerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An issuer's newest CRL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentCrl {
    /// CRL number (RFC 5280, section 5.2.3).
    pub number: u64,
    /// thisUpdate: time of issue.
    pub this_update: OffsetDateTime,
    /// nextUpdate: time of expiry.
    pub next_update: OffsetDateTime,
    /// SHA-256 of its DER.
    pub sha256: Sha256,
}
