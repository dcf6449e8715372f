//! Time, randomness and durations: the only place that asks the system for any of them.
//!
//! Everything else takes a [`Clock`] or an [`Entropy`] as a parameter, so that a test decides what
//! the time is and a caller of the library decides where serial numbers come from.

use std::fmt;

use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

/// Where the present comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present, in UTC.
    fn now(&self) -> OffsetDateTime;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}

/// A clock that stands still, for `--at TIME` and for tests.
#[derive(Clone, Copy, Debug)]
pub struct FixedClock(pub OffsetDateTime);

impl Clock for FixedClock {
    fn now(&self) -> OffsetDateTime {
        self.0
    }
}

/// Where random bytes come from.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills `bytes` with unpredictable ones.
    ///
    /// # Errors
    /// [`EntropyError`] when the generator cannot deliver; nothing may be made with what is there.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError>;
}

/// The crypto library's generator, seeded by the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        aws_lc_rs::rand::fill(bytes).map_err(|_| EntropyError)
    }
}

/// The random generator failed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system's random generator failed")]
pub struct EntropyError;

impl EntropyError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "system.entropy"
    }
}

/// `time` as RFC 3339 in UTC with whole seconds, the form of every time that leaves this program.
#[must_use]
pub fn rfc3339(time: OffsetDateTime) -> String {
    let whole = time.to_offset(time::UtcOffset::UTC).replace_nanosecond(0).unwrap_or(time);
    whole.format(&Rfc3339).unwrap_or_else(|_| whole.unix_timestamp().to_string())
}

/// Reads a time given by a person: RFC 3339 (`2027-01-31T12:00:00Z`) or a bare date (`2027-01-31`,
/// midnight UTC).
///
/// # Errors
/// [`TimeTextError::Time`] for anything else.
pub fn parse_time(text: &str) -> Result<OffsetDateTime, TimeTextError> {
    let midnight = format!("{text}T00:00:00Z");
    OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(&midnight, &Rfc3339))
        .ok()
        // The last hours of the year 9999 west of Greenwich are past the last time that there is.
        .and_then(|time| time.checked_to_offset(time::UtcOffset::UTC))
        .ok_or_else(|| TimeTextError::Time { given: text.to_owned() })
}

/// Units of a duration, largest first; a year is 365 days, as certificates count it.
const UNITS: [(char, i64); 6] =
    [('y', 365 * 86_400), ('w', 7 * 86_400), ('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Reads a duration such as `90d`, `12h`, `1d12h` or `10y`: whole numbers, each with its unit, the
/// larger unit first, each unit at most once.
///
/// # Errors
/// [`TimeTextError::Duration`] for anything else, zero and negative durations included.
pub fn parse_duration(text: &str) -> Result<Duration, TimeTextError> {
    let wrong = || TimeTextError::Duration { given: text.to_owned() };
    let too_long = || TimeTextError::TooLong { given: text.to_owned() };
    let mut seconds: i64 = 0;
    let mut units = UNITS.iter();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.chars().next().ok_or_else(wrong)?;
        // `units` only moves forward: a repeated or a larger unit is not found any more.
        let (_, scale) = units.find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        if number.is_empty() {
            return Err(wrong());
        }
        // Digits alone are wrong only by being too many.
        let number: i64 = number.parse().map_err(|_| too_long())?;
        seconds = number.checked_mul(*scale).and_then(|s| seconds.checked_add(s)).ok_or_else(too_long)?;
        rest = tail.get(unit.len_utf8()..).ok_or_else(wrong)?;
    }
    // Ten thousand years is past what X.509 can write. A sum with a time may still be past the last time
    // that there is: whoever adds it says what becomes of that.
    match seconds {
        0 if text.is_empty() => Err(wrong()),
        0 => Err(TimeTextError::NoDuration { given: text.to_owned() }),
        1..=315_360_000_000 => Ok(Duration::seconds(seconds)),
        _ => Err(too_long()),
    }
}

/// Writes a duration the way [`parse_duration`] reads it: `Duration::hours(36)` is `1d12h`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut seconds = duration.whole_seconds().unsigned_abs();
    if seconds == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, scale) in UNITS {
        // Weeks are for reading only: `90d` says more than `12w6d`.
        if unit == 'w' {
            continue;
        }
        let scale = scale.unsigned_abs();
        if seconds >= scale {
            text.push_str(&format!("{}{unit}", seconds / scale));
            seconds %= scale;
        }
    }
    text
}

/// A time or duration that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimeTextError {
    /// Not a duration as [`parse_duration`] reads it.
    #[error("`{given}` is not a duration: write a whole number and a unit (s, m, h, d, w or y), such as 90d")]
    Duration {
        /// What was given.
        given: String,
    },
    /// Zero.
    #[error("`{given}` is no time at all: the least is 1s")]
    NoDuration {
        /// What was given.
        given: String,
    },
    /// Longer than X.509 has years for.
    #[error("`{given}` is too long: the most is 10000y")]
    TooLong {
        /// What was given.
        given: String,
    },
    /// Not a time as [`parse_time`] reads it.
    #[error(
        "`{given}` is not a time: write RFC 3339 such as 2027-01-31T12:00:00Z, or a date such as 2027-01-31"
    )]
    Time {
        /// What was given.
        given: String,
    },
}

impl TimeTextError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Duration { .. } | Self::NoDuration { .. } | Self::TooLong { .. } => "input.duration",
            Self::Time { .. } => "input.time",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, seconds) in
            [("90d", 7_776_000), ("1d12h", 129_600), ("45s", 45), ("2w", 1_209_600), ("1y", 31_536_000)]
        {
            assert_eq!(parse_duration(text).unwrap(), Duration::seconds(seconds), "{text}");
        }
    }

    #[test]
    fn ambiguous_durations_are_refused() {
        for text in
            ["", "90", "d", "-1d", "1.5d", "1d1d", "1h1d", "0d", "90 d", "90D", "1mo", "99999999999y", "９d"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_that_is_too_long_is_said_to_be() {
        for text in ["10001y", "99999999d", "99999999999999999999s", "9223372036854775807y"] {
            let said = parse_duration(text).unwrap_err().to_string();
            assert_eq!(said, format!("`{text}` is too long: the most is 10000y"));
        }
        assert!(parse_duration("10000y").is_ok());
    }

    #[test]
    fn a_written_duration_reads_back() {
        for seconds in [1, 59, 60, 3_600, 86_399, 86_400, 129_600, 31_536_000, 315_360_001] {
            let duration = Duration::seconds(seconds);
            assert_eq!(parse_duration(&format_duration(duration)).unwrap(), duration);
        }
    }

    #[test]
    fn times_are_rfc_3339_or_a_date() {
        assert_eq!(rfc3339(parse_time("2027-01-31").unwrap()), "2027-01-31T00:00:00Z");
        assert_eq!(rfc3339(parse_time("2027-01-31T02:00:00+02:00").unwrap()), "2027-01-31T00:00:00Z");
        for text in ["tomorrow", "2027-13-01", "31.01.2027", "", "9999-12-31T23:59:59-12:00"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
