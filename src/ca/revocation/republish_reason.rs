//! Reasons to publish a new CRL without a new revocation.

use std::fmt;

/// A reason to publish a new CRL without a new revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepublishReason {
    /// More than half of the CRL's validity has passed.
    Aged,
    /// The CRL is dated in the future, so that gateways refuse it.
    Ahead,
    /// The CRL file is missing.
    Missing,
    /// An interrupted process reserved a CRL number and did not publish the CRL.
    Owed,
}

impl fmt::Display for RepublishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aged => "the CRL was past half of its validity",
            Self::Ahead => "the CRL was dated in the future",
            Self::Missing => "the CRL was missing",
            Self::Owed => "an interrupted run did not publish its CRL",
        })
    }
}
