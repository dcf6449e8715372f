//! Times and durations that cannot be read.

use crate::error::{Code, Coded};

/// A text that is not a valid time or duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimeTextError {
    /// Not a duration as [`parse_duration`](super::duration::parse_duration) reads it.
    #[error("`{given}` is not a duration: write a whole number and a unit (s, m, h, d, w or y), such as 90d")]
    Duration {
        /// Excerpt of the rejected text.
        given: String,
    },
    /// A duration of zero.
    #[error("`{given}` is too short: the minimum is 1s")]
    NoDuration {
        /// Excerpt of the rejected text.
        given: String,
    },
    /// Longer than X.509 can express.
    #[error("`{given}` is too long: the maximum is 10000y")]
    TooLong {
        /// Excerpt of the rejected text.
        given: String,
    },
    /// Not a time as [`parse_time`](super::timestamp::parse_time) reads it.
    #[error(
        "`{given}` is not a time: write RFC 3339 such as 2027-01-31T12:00:00Z, or a date such as 2027-01-31"
    )]
    Time {
        /// Excerpt of the rejected text.
        given: String,
    },
}

impl Coded for TimeTextError {
    fn coded(&self) -> Code {
        match self {
            Self::Duration { .. } | Self::NoDuration { .. } | Self::TooLong { .. } => {
                Code::usage("input.duration")
            }
            Self::Time { .. } => Code::usage("input.time"),
        }
    }
}
