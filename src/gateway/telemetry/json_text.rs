//! JSON written into a buffer without an intermediate value, for the line of a request: it is the longest-lived
//! part of the request path. The other lines are serialized by `serde_json`.

use std::cell::Cell;

use time::{OffsetDateTime, UtcOffset};

/// Append `text` as a JSON string (RFC 8259, section 7). Control characters are escaped, DEL and those of C1
/// included: a line may be read on a terminal.
pub(super) fn push_string(line: &mut Vec<u8>, text: &str) {
    line.push(b'"');
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
        line.extend_from_slice(text.as_bytes());
    } else {
        push_escaped(line, text);
    }
    line.push(b'"');
}

/// Append a word of the gateway as a JSON string: nothing in it needs an escape.
pub(super) fn push_token(line: &mut Vec<u8>, token: &'static str) {
    line.push(b'"');
    line.extend_from_slice(token.as_bytes());
    line.push(b'"');
}

#[cold]
fn push_escaped(line: &mut Vec<u8>, text: &str) {
    for c in text.chars() {
        match c {
            '"' => line.extend_from_slice(b"\\\""),
            '\\' => line.extend_from_slice(b"\\\\"),
            '\n' => line.extend_from_slice(b"\\n"),
            '\r' => line.extend_from_slice(b"\\r"),
            '\t' => line.extend_from_slice(b"\\t"),
            '\u{8}' => line.extend_from_slice(b"\\b"),
            '\u{c}' => line.extend_from_slice(b"\\f"),
            c if c.is_control() => line.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes()),
            c => line.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Append a number in decimal.
pub(super) fn push_number(line: &mut Vec<u8>, number: u64) {
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Append an RFC 3339 time in UTC with three digits of milliseconds, without quotes. The digits up to the second
/// are kept per thread, since most lines of a busy worker share them.
pub(super) fn push_time(line: &mut Vec<u8>, time: OffsetDateTime) {
    thread_local! {
        /// Unix second, and its text.
        static SECOND: Cell<(i64, [u8; 20])> = const { Cell::new((i64::MIN, [b'0'; 20])) };
    }
    let second = time.unix_timestamp();
    let (known, mut text) = SECOND.get();
    if known != second {
        text = second_text(time);
        SECOND.set((second, text));
    }
    line.extend_from_slice(&text);
    let millisecond = time.millisecond();
    line.extend_from_slice(&[digit(millisecond / 100), digit(millisecond / 10), digit(millisecond), b'Z']);
}

/// `2026-01-02T03:04:05.`
fn second_text(time: OffsetDateTime) -> [u8; 20] {
    let time = time.to_offset(UtcOffset::UTC);
    // A clock outside of the years 0 to 9999 is not one whose lines can be sorted.
    let year = u16::try_from(time.year()).unwrap_or_default();
    let mut text = *b"0000-00-00T00:00:00.";
    let pairs = [
        (0, year / 100),
        (2, year),
        (5, u8::from(time.month()).into()),
        (8, time.day().into()),
        (11, time.hour().into()),
        (14, time.minute().into()),
        (17, time.second().into()),
    ];
    for (at, number) in pairs {
        if let Some([tens, ones]) = text.get_mut(at..at + 2) {
            (*tens, *ones) = (digit(number / 10), digit(number));
        }
    }
    text
}

/// Last decimal digit of a number.
fn digit(number: u16) -> u8 {
    b'0' + u8::try_from(number % 10).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::{Duration, macros::datetime};

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut line = Vec::new();
        write(&mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn strings_are_json_and_hold_no_control_character() {
        let all: String = (0..0x300).filter_map(char::from_u32).collect();
        for text in
            ["", "GET", "/v1/ä?", "a\"b\\c", "\r\n{\"event\":\"forged\"}\u{1b}[2J\u{9b}31m\u{7f}", &all]
        {
            let json = written(|line| push_string(line, text));
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
            assert!(!json.chars().any(char::is_control), "{json:?}");
        }
    }

    #[test]
    fn times_sort_as_text() {
        let start = datetime!(2026-01-02 03:04:05.09 +02:00);
        let line = |ms: i64| written(|line| push_time(line, start + Duration::milliseconds(ms)));
        assert_eq!(line(0), "2026-01-02T01:04:05.090Z");
        assert_eq!(line(-91), "2026-01-02T01:04:04.999Z");
        let lines: Vec<_> = (0..2_000).map(line).collect();
        assert!(lines.is_sorted());
        assert_eq!(written(|line| push_time(line, OffsetDateTime::UNIX_EPOCH)), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 7, 10, u64::MAX] {
            assert_eq!(written(|line| push_number(line, number)), number.to_string());
        }
    }
}
