//! Path of a request: the policy evaluates exactly the bytes that are sent to the upstream.
//!
//! Access control is bypassed when a proxy and an upstream interpret one path differently. So the gateway
//! never normalizes a path (RFC 3986, section 3.3). It accepts the one spelling that every server interprets
//! alike, and answers every other with 400:
//!
//! - Unreserved characters are not escaped.
//! - Characters that need an escape are escaped once, in upper-case hexadecimal.
//!
//! The fragment of a target is not checked: the `http` crate cuts it off, so it is never sent to the
//! upstream.

use std::fmt;

use http::uri::PathAndQuery;
use http::{StatusCode, Uri};

use crate::error::{Code, Coded};

/// Maximum length of path and query in bytes; RFC 9110, section 4.1 recommends at least 8,000.
pub const MAX_LENGTH: usize = 8_192;

/// Unambiguous path, with its query. Clones share the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPath(PathAndQuery);

impl RequestPath {
    /// Path and query of a parsed request target.
    ///
    /// [`framing::check`](crate::gateway::message::framing::check) checks the authority of an absolute
    /// target, the form of HTTP/2 and of requests to HTTP/1.1 proxies.
    ///
    /// # Errors
    /// [`PathError`] if the path is ambiguous or missing.
    pub fn from_uri(uri: &Uri) -> Result<Self, PathError> {
        let target = uri.path_and_query().ok_or(PathError::AuthorityForm)?;
        check(target.as_str())?;
        Ok(Self(target.clone()))
    }

    /// Parse a path and query in the form of a request line.
    ///
    /// # Errors
    /// [`PathError`] if the path is ambiguous or not in origin form.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        check(text)?;
        PathAndQuery::try_from(text).map(Self).map_err(|_| PathError::Query)
    }

    /// Path and query, for the policy and the upstream.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Path without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.path()
    }

    /// Raw query without the `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.0.query()
    }

    /// Segments, with their escapes. A trailing slash gives an empty last segment.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.below_root().split('/')
    }

    /// Path without the leading slash.
    pub(crate) fn below_root(&self) -> &str {
        self.path().strip_prefix('/').unwrap_or_default()
    }
}

impl fmt::Display for RequestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

fn check(target: &str) -> Result<(), PathError> {
    match is_plain(target) {
        true => Ok(()),
        false => check_all(target),
    }
}

/// True for a path of which nothing more has to be checked: it has no query, escape, empty segment, or segment that
/// begins with a dot. Most paths are so.
fn is_plain(target: &str) -> bool {
    #[expect(
        clippy::as_conversions,
        clippy::indexing_slicing,
        reason = "`From` is not const, and 128 is in range"
    )]
    const ALLOWED: [bool; 256] = {
        let mut allowed = [false; 256];
        let mut byte = 0_u8;
        while byte < 128 {
            allowed[byte as usize] = is_allowed_unescaped(byte);
            byte += 1;
        }
        allowed
    };
    let Some(rest) = target.strip_prefix('/').filter(|_| target.len() <= MAX_LENGTH) else { return false };
    let mut begins = true;
    for byte in rest.bytes() {
        if byte == b'/' || begins && byte == b'.' {
            if begins {
                return false;
            }
            begins = true;
        } else if ALLOWED.get(usize::from(byte)).is_some_and(|allowed| *allowed) {
            begins = false;
        } else {
            return false;
        }
    }
    !begins
}

fn check_all(target: &str) -> Result<(), PathError> {
    if target.len() > MAX_LENGTH {
        return Err(PathError::TooLong);
    }
    if target == "*" {
        return Err(PathError::AsteriskForm);
    }
    if target.contains('#') {
        return Err(PathError::Fragment);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if !query.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(PathError::Query);
    }
    let mut rest = path.strip_prefix('/').ok_or(PathError::NotOriginForm)?;
    while let Some((segment, tail)) = rest.split_once('/') {
        if segment.is_empty() {
            return Err(PathError::EmptySegment);
        }
        check_segment(segment)?;
        rest = tail;
    }
    check_segment(rest)
}

/// Check one segment, which may be empty.
pub(crate) fn check_segment(segment: &str) -> Result<(), PathError> {
    if matches!(segment, "." | "..") {
        return Err(PathError::DotSegment);
    }
    let mut non_ascii = false;
    let mut rest = segment.as_bytes();
    loop {
        rest = match rest {
            [] => break,
            [b'%', high, low, tail @ ..] => {
                let byte = unescape(*high, *low).ok_or(PathError::BadEscape)?;
                check_escaped(byte, tail)?;
                if high.is_ascii_lowercase() || low.is_ascii_lowercase() {
                    return Err(PathError::LowerCaseEscape);
                }
                non_ascii |= !byte.is_ascii();
                tail
            }
            [b'%', ..] => return Err(PathError::BadEscape),
            [b'\\', ..] => return Err(PathError::Backslash),
            [b';', ..] => return Err(PathError::Parameters),
            [byte, tail @ ..] if is_allowed_unescaped(*byte) => tail,
            [byte, ..] => return Err(PathError::Character { found: *byte }),
        };
    }
    if non_ascii {
        let text = String::from_utf8(decoded(segment).collect()).map_err(|_| PathError::NotUtf8)?;
        if text.chars().any(char::is_control) {
            return Err(PathError::EncodedControl);
        }
    }
    Ok(())
}

/// Check the byte that an escape encodes; `tail` follows the escape.
fn check_escaped(byte: u8, tail: &[u8]) -> Result<(), PathError> {
    match byte {
        b'/' | b'\\' => Err(PathError::EncodedSlash),
        b'#' | b';' | b'?' => Err(PathError::EncodedDelimiter),
        _ if byte.is_ascii_control() => Err(PathError::EncodedControl),
        _ if is_unreserved(byte) => Err(PathError::EncodedUnreserved),
        // A server that decodes twice would see a different path.
        b'%' if matches!(tail, [high, low, ..] if unescape(*high, *low).is_some()) => {
            Err(PathError::DoubleEncoding)
        }
        _ => Ok(()),
    }
}

/// `unreserved` of RFC 3986, section 2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `pchar` of RFC 3986, section 3.3, except escapes and `;`, where some servers truncate a segment.
const fn is_allowed_unescaped(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@')
}

/// Bytes of a segment after decoding.
pub(crate) fn decoded(segment: &str) -> impl Iterator<Item = u8> {
    let mut bytes = segment.bytes();
    std::iter::from_fn(move || match bytes.next()? {
        b'%' => unescape(bytes.next()?, bytes.next()?),
        byte => Some(byte),
    })
}

fn unescape(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// Path or query that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// `*`, which identifies no resource.
    #[error("the request target is `*`")]
    AsteriskForm,
    /// Host and port, the form of CONNECT.
    #[error("the request target is an authority without a path")]
    AuthorityForm,
    /// Backslash, which some servers treat as a slash.
    #[error("the path has a backslash")]
    Backslash,
    /// `%` without two hexadecimal digits.
    #[error("the path has a `%` that is not followed by two hexadecimal digits")]
    BadEscape,
    /// Character that must be escaped in a path.
    #[error("the path has the byte 0x{found:02X}, which must be percent-encoded")]
    Character {
        /// First such byte.
        found: u8,
    },
    /// `.` or `..`, which some servers resolve.
    #[error("the path has a `.` or `..` segment")]
    DotSegment,
    /// Escape of an escape.
    #[error("the path is percent-encoded twice")]
    DoubleEncoding,
    /// Two consecutive slashes, which some servers merge.
    #[error("the path has an empty segment (`//`)")]
    EmptySegment,
    /// Escaped control character, including NUL.
    #[error("the path has an encoded control character")]
    EncodedControl,
    /// Escaped `#`, `;` or `?`, where a server that decodes first truncates the path.
    #[error("the path has an encoded `#`, `;` or `?`")]
    EncodedDelimiter,
    /// Escaped slash or backslash, which some servers treat as a separator.
    #[error("the path has an encoded slash or backslash")]
    EncodedSlash,
    /// Escape of an unreserved character: a second spelling of the same path.
    #[error("the path has an encoded letter, digit or one of `-._~`, which must not be encoded")]
    EncodedUnreserved,
    /// `#` in a path.
    #[error("the path has a `#`")]
    Fragment,
    /// Escape in lower-case hexadecimal: a second spelling of the same path.
    #[error("the path has a lower-case escape, which must be in upper case")]
    LowerCaseEscape,
    /// Target that is not valid HTTP.
    #[error("the request target is malformed")]
    Malformed,
    /// Path without a leading slash.
    #[error("the path does not begin with `/`")]
    NotOriginForm,
    /// Escape that do not decode to valid UTF-8; overlong forms are invalid.
    #[error("the path does not decode to UTF-8")]
    NotUtf8,
    /// `;`, where some servers truncate a segment.
    #[error("the path has a `;` parameter")]
    Parameters,
    /// Character that must be escaped in a query.
    #[error("the query has a character that must be percent-encoded")]
    Query,
    /// Path and query longer than [`MAX_LENGTH`].
    #[error("the path and query are longer than {MAX_LENGTH} bytes")]
    TooLong,
}

impl PathError {
    /// Status of the response.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::TooLong => StatusCode::URI_TOO_LONG,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl Coded for PathError {
    fn coded(&self) -> Code {
        match self {
            Self::AsteriskForm => Code::refused("path.asterisk_form"),
            Self::AuthorityForm => Code::refused("path.authority_form"),
            Self::Backslash => Code::refused("path.backslash"),
            Self::BadEscape => Code::refused("path.bad_escape"),
            Self::Character { .. } => Code::refused("path.character"),
            Self::DotSegment => Code::refused("path.dot_segment"),
            Self::DoubleEncoding => Code::refused("path.double_encoding"),
            Self::EmptySegment => Code::refused("path.empty_segment"),
            Self::EncodedControl => Code::refused("path.encoded_control"),
            Self::EncodedDelimiter => Code::refused("path.encoded_delimiter"),
            Self::EncodedSlash => Code::refused("path.encoded_slash"),
            Self::EncodedUnreserved => Code::refused("path.encoded_unreserved"),
            Self::Fragment => Code::refused("path.fragment"),
            Self::LowerCaseEscape => Code::refused("path.lower_case_escape"),
            Self::Malformed => Code::refused("request.malformed"),
            Self::NotOriginForm => Code::refused("path.not_origin_form"),
            Self::NotUtf8 => Code::refused("path.not_utf8"),
            Self::Parameters => Code::refused("path.parameters"),
            Self::Query => Code::refused("path.query"),
            Self::TooLong => Code::refused("path.too_long"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unambiguous_path_is_kept_byte_for_byte() {
        for text in [
            "/",
            "/v1",
            "/v1/",
            "/v1/nodes/3f2b8a52-1c5f-4a7e-9a51-6a1f0f4f2f11/state",
            "/V1/nodes",
            "/a/.hidden/..data/...",
            "/~user/a-b_c.d",
            "/jobs:cancel/@me/(x)/a=b,c+d&e!f$g'h*i",
            "/caf%C3%A9/100%25/a%20b/%7Bid%7D/2027-01-31T12%3A00%3A00Z",
            "/v1?",
            "/v1?next=/../admin//;x&q=%2F%zz%00?",
        ] {
            let path = RequestPath::parse(text).unwrap();
            assert_eq!(path.to_string(), text);
            let uri: Uri = text.parse().unwrap();
            assert_eq!(RequestPath::from_uri(&uri).unwrap().as_str(), text);
        }
    }

    #[test]
    fn an_ambiguous_path_is_refused_with_its_reason() {
        use PathError::*;
        for (text, reason) in [
            ("//admin", EmptySegment),
            ("/a//", EmptySegment),
            ("/a//b", EmptySegment),
            ("/./admin", DotSegment),
            ("/a/../admin", DotSegment),
            ("/a/..", DotSegment),
            ("/.", DotSegment),
            ("/%2e%2e/admin", EncodedUnreserved),
            ("/%2E/admin", EncodedUnreserved),
            ("/.%2e/admin", EncodedUnreserved),
            ("/%61dmin", EncodedUnreserved),
            ("/%7Euser", EncodedUnreserved),
            ("/a%2Fb", EncodedSlash),
            ("/a%2fb", EncodedSlash),
            ("/a%5Cb", EncodedSlash),
            ("/a%5cb", EncodedSlash),
            ("/a\\b", Backslash),
            ("/admin;x=1", Parameters),
            ("/;/admin", Parameters),
            ("/a/..;/admin", Parameters),
            ("/a%3Bx=1", EncodedDelimiter),
            ("/a%3Fx=1", EncodedDelimiter),
            ("/a%23b", EncodedDelimiter),
            ("/a%00", EncodedControl),
            ("/a%0D%0AHost:x", EncodedControl),
            ("/a%7F", EncodedControl),
            ("/a%C2%85b", EncodedControl),
            ("/a#frag", Fragment),
            ("/a?b#frag", Fragment),
            ("/%252e%252e/admin", DoubleEncoding),
            ("/%2561dmin", DoubleEncoding),
            ("/%zz", BadEscape),
            ("/a%", BadEscape),
            ("/a%2", BadEscape),
            ("/a%2/b", BadEscape),
            ("/%+1", BadEscape),
            ("/caf%c3%a9", LowerCaseEscape),
            ("/%C0%AF", NotUtf8),
            ("/%C0%AE%C0%AE/", NotUtf8),
            ("/%E0%80%AF", NotUtf8),
            ("/%ED%A0%80", NotUtf8),
            ("/%FF", NotUtf8),
            ("/café", Character { found: 0xC3 }),
            ("/a b", Character { found: b' ' }),
            ("/a\tb", Character { found: b'\t' }),
            ("/a\0b", Character { found: 0 }),
            ("/a\"b", Character { found: b'"' }),
            ("/{id}", Character { found: b'{' }),
            ("/a|b", Character { found: b'|' }),
            ("/a?b c", Query),
            ("/a?b\r\n", Query),
            ("/a?é", Query),
            ("", NotOriginForm),
            ("admin", NotOriginForm),
            ("?x", NotOriginForm),
            ("http://host/admin", NotOriginForm),
            ("host:443", NotOriginForm),
            ("*", AsteriskForm),
        ] {
            let error = RequestPath::parse(text).unwrap_err();
            assert_eq!(error, reason, "{text:?}");
            assert_eq!(error.status(), StatusCode::BAD_REQUEST);
        }
    }

    #[test]
    fn a_path_from_a_parsed_target_is_checked_too() {
        for text in ["/a/../b", "//a", "/a;b", "/%2e", "http://host/a//b", "http://host?x", "/caf\u{e9}"] {
            if let Ok(uri) = text.parse::<Uri>() {
                assert!(RequestPath::from_uri(&uri).is_err(), "{text}");
            }
        }
        let absolute: Uri = "https://host:1/a?b".parse().unwrap();
        assert_eq!(RequestPath::from_uri(&absolute).unwrap().as_str(), "/a?b");
        let bare: Uri = "https://host".parse().unwrap();
        assert_eq!(RequestPath::from_uri(&bare).unwrap().as_str(), "/");
        let authority: Uri = "host:443".parse().unwrap();
        assert_eq!(RequestPath::from_uri(&authority), Err(PathError::AuthorityForm));
        let asterisk: Uri = "*".parse().unwrap();
        assert_eq!(RequestPath::from_uri(&asterisk), Err(PathError::AsteriskForm));
    }

    #[test]
    fn every_byte_is_kept_or_refused_but_never_changed() {
        for byte in 0..=u8::MAX {
            for text in
                [format!("/a{}b", char::from(byte)), format!("/a%{byte:02X}b"), format!("/%{byte:02x}")]
            {
                if let Ok(path) = RequestPath::parse(&text) {
                    assert_eq!(path.as_str(), text);
                    assert_eq!(path.segments().count(), 1 + text[1..].matches('/').count());
                }
            }
        }
    }

    #[test]
    fn a_plain_path_passes_every_check() {
        let bytes = || (0..=127_u8).map(char::from);
        let texts = bytes().flat_map(|a| bytes().map(move |b| [a, b])).flat_map(|[a, b]| {
            ["/", "/x", "/x/", "", "/."]
                .into_iter()
                .flat_map(move |start| ["", "/", "y", ".", "/y"].map(|end| format!("{start}{a}{b}{end}")))
        });
        let mut plain = 0;
        for text in texts {
            if is_plain(&text) {
                plain += 1;
                assert_eq!(check_all(&text), Ok(()), "{text:?}");
            }
        }
        assert!(plain > 10_000, "{plain}");
        assert!(!is_plain(&format!("/{}", "a".repeat(MAX_LENGTH))));
        for text in [
            "",
            "/",
            "/a/",
            "//",
            "/a//b",
            "/./a",
            "/a/../b",
            "/a/.b",
            "/a%20b",
            "/a?b",
            "/caf\u{e9}",
            "/a;b",
        ] {
            assert!(!is_plain(text), "{text}");
        }
    }

    #[test]
    fn a_path_that_is_too_long_is_414() {
        let longest = format!("/{}", "a".repeat(MAX_LENGTH - 1));
        assert!(RequestPath::parse(&longest).is_ok());
        let error = RequestPath::parse(&format!("{longest}a")).unwrap_err();
        assert_eq!((error, error.status()), (PathError::TooLong, StatusCode::URI_TOO_LONG));
    }

    #[test]
    fn a_trailing_slash_gives_an_empty_segment() {
        assert_eq!(RequestPath::parse("/a/").unwrap().segments().collect::<Vec<_>>(), ["a", ""]);
        assert_eq!(RequestPath::parse("/a").unwrap().segments().collect::<Vec<_>>(), ["a"]);
    }
}
