//! Durations as text.

use time::Duration;

use super::error::TimeTextError;
use crate::error::excerpt;

/// Units of a duration, largest first; a year is 365 days, as certificates count it.
const UNITS: [(char, i64); 6] =
    [('y', 365 * 86_400), ('w', 7 * 86_400), ('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Parse a duration such as `90d`, `12h`, `1d12h` or `10y`: whole numbers, each with its unit, the
/// larger unit first, each unit at most once.
///
/// # Errors
/// [`TimeTextError`] for anything else, zero and negative durations included.
pub fn parse_duration(text: &str) -> Result<Duration, TimeTextError> {
    let wrong = || TimeTextError::Duration { given: excerpt(text) };
    let too_long = || TimeTextError::TooLong { given: excerpt(text) };
    let mut seconds: i64 = 0;
    let mut units = UNITS.iter();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.chars().next().ok_or_else(wrong)?;
        // `units` only moves forward, so a repeated or a larger unit is not found.
        let (_, scale) = units.find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        if number.is_empty() {
            return Err(wrong());
        }
        // Digits alone fail to parse only when there are too many.
        let number: i64 = number.parse().map_err(|_| too_long())?;
        seconds = number.checked_mul(*scale).and_then(|s| seconds.checked_add(s)).ok_or_else(too_long)?;
        rest = tail.get(unit.len_utf8()..).ok_or_else(wrong)?;
    }
    // X.509 ends with the year 9999. A time plus such a duration may still overflow: use checked addition.
    match seconds {
        0 if text.is_empty() => Err(wrong()),
        0 => Err(TimeTextError::NoDuration { given: excerpt(text) }),
        1..=315_360_000_000 => Ok(Duration::seconds(seconds)),
        _ => Err(too_long()),
    }
}

/// Format a duration as [`parse_duration`] reads it: `Duration::hours(36)` is `1d12h`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut seconds = duration.whole_seconds().unsigned_abs();
    if seconds == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, scale) in UNITS {
        // Weeks are read, never written: `90d` is easier to read than `12w6d`.
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
    fn a_duration_beyond_the_maximum_is_reported_as_too_long() {
        for text in ["10001y", "99999999d", "99999999999999999999s", "9223372036854775807y"] {
            let message = parse_duration(text).unwrap_err().to_string();
            assert_eq!(message, format!("`{text}` is too long: the maximum is 10000y"));
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
}
