//! Reasons to publish a new CRL without a new revocation.

use std::fmt;

/// Why a list must be made though nobody was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepublishReason {
    /// It is past half of its life.
    Aged,
    /// It is dated in the future, and gateways refuse it.
    Ahead,
    /// There is no file.
    Missing,
    /// A process ended between setting its number aside and writing it.
    Owed,
}

impl fmt::Display for RepublishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aged => "the revocation list was past half of its life",
            Self::Ahead => "the revocation list was made when the clock was ahead",
            Self::Missing => "the revocation list was not there",
            Self::Owed => "an earlier run ended before its revocation list was written",
        })
    }
}
