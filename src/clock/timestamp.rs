//! Times as text.

use time::OffsetDateTime;
use time::UtcOffset;
use time::format_description::well_known::Rfc3339;

use super::error::TimeTextError;
use crate::error::excerpt;

/// Format `time` as RFC 3339 in UTC with whole seconds, the form of every time that both programs write.
#[must_use]
pub fn rfc3339(time: OffsetDateTime) -> String {
    let whole = time.to_offset(UtcOffset::UTC).replace_nanosecond(0).unwrap_or(time);
    whole.format(&Rfc3339).unwrap_or_else(|_| whole.unix_timestamp().to_string())
}

/// Parse a time that a user wrote: RFC 3339 (`2027-01-31T12:00:00Z`) or a bare date (`2027-01-31`,
/// midnight UTC).
///
/// # Errors
/// [`TimeTextError::Time`] for anything else.
pub fn parse_time(text: &str) -> Result<OffsetDateTime, TimeTextError> {
    let midnight = format!("{text}T00:00:00Z");
    OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(&midnight, &Rfc3339))
        .ok()
        // The last hours of the year 9999 west of Greenwich are past the largest time in UTC.
        .and_then(|time| time.checked_to_offset(UtcOffset::UTC))
        .ok_or_else(|| TimeTextError::Time { given: excerpt(text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_or_a_date() {
        assert_eq!(rfc3339(parse_time("2027-01-31").unwrap()), "2027-01-31T00:00:00Z");
        assert_eq!(rfc3339(parse_time("2027-01-31T02:00:00+02:00").unwrap()), "2027-01-31T00:00:00Z");
        for text in ["tomorrow", "2027-13-01", "31.01.2027", "", "9999-12-31T23:59:59-12:00"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
