//! The path of a request: judged byte for byte as it is sent upstream, or refused.
//!
//! A front end and the service behind it that read one path differently are how access control is
//! bypassed. So nothing is normalized here: a path (RFC 3986, section 3.3) either has the one spelling
//! that every server reads alike, or the request ends with 400. What may stand in a path unescaped and
//! is unreserved must stand so; what needs escaping is escaped once, in upper-case hexadecimal.
//!
//! The fragment of a target never gets here: `http` cuts it off before anybody can judge it, and it is
//! not sent on.

use std::fmt;

use http::uri::PathAndQuery;
use http::{StatusCode, Uri};

use crate::error::{Code, Coded};

/// The longest path with its query; RFC 9110, section 4.1 asks for at least 8,000 octets.
pub const MAX_LENGTH: usize = 8_192;

/// A path, with its query, that can be read in one way only.
///
/// Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPath(PathAndQuery);

impl RequestPath {
    /// The path of a parsed request target.
    ///
    /// An absolute target (HTTP/1.1 proxies' form, and every HTTP/2 one) is taken without its
    /// authority, which [`framing::check`](crate::gateway::message::framing::check) judges.
    ///
    /// # Errors
    /// [`PathError`] when the path is ambiguous, or the target has none.
    pub fn from_uri(uri: &Uri) -> Result<Self, PathError> {
        let target = uri.path_and_query().ok_or(PathError::AuthorityForm)?;
        check(target.as_str())?;
        Ok(Self(target.clone()))
    }

    /// Reads a path with its query as it stands in a request line.
    ///
    /// # Errors
    /// [`PathError`] when it is ambiguous or not in origin form.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        check(text)?;
        PathAndQuery::try_from(text).map(Self).map_err(|_| PathError::Query)
    }

    /// Path and query: the bytes that are judged, and the bytes to send.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The same, as the type that requests are made of.
    #[must_use]
    pub fn to_path_and_query(&self) -> PathAndQuery {
        self.0.clone()
    }

    /// The path alone.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.path()
    }

    /// The query without its `?`, raw.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.0.query()
    }

    /// What stands between the slashes, escapes included; after a slash at the end comes an empty one.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.below_root().split('/')
    }

    /// The path without its first slash.
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

/// Judges one segment; an empty one passes.
pub(crate) fn check_segment(segment: &str) -> Result<(), PathError> {
    if matches!(segment, "." | "..") {
        return Err(PathError::DotSegment);
    }
    let mut beyond_ascii = false;
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
                beyond_ascii |= !byte.is_ascii();
                tail
            }
            [b'%', ..] => return Err(PathError::BadEscape),
            [b'\\', ..] => return Err(PathError::Backslash),
            [b';', ..] => return Err(PathError::Parameters),
            [byte, tail @ ..] if stands_unescaped(*byte) => tail,
            [byte, ..] => return Err(PathError::Character { found: *byte }),
        };
    }
    if beyond_ascii {
        let text = String::from_utf8(decoded(segment).collect()).map_err(|_| PathError::NotUtf8)?;
        if text.chars().any(char::is_control) {
            return Err(PathError::EncodedControl);
        }
    }
    Ok(())
}

/// Judges what an escape hides; `tail` follows it.
fn check_escaped(byte: u8, tail: &[u8]) -> Result<(), PathError> {
    match byte {
        b'/' | b'\\' => Err(PathError::EncodedSlash),
        b'#' | b';' | b'?' => Err(PathError::EncodedDelimiter),
        _ if byte.is_ascii_control() => Err(PathError::EncodedControl),
        _ if is_unreserved(byte) => Err(PathError::EncodedUnreserved),
        // A server that decodes twice would see another path than one that decodes once.
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

/// `pchar` of RFC 3986, section 3.3, without escapes and without `;`, at which some servers cut a segment.
const fn stands_unescaped(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@')
}

/// What a segment says once its escapes are read.
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

/// Why a path is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// `*`, which names no resource.
    #[error("the target is `*`")]
    AsteriskForm,
    /// A host and port, which only CONNECT uses.
    #[error("the target is an authority without a path")]
    AuthorityForm,
    /// A backslash, which some servers read as a slash.
    #[error("the path has a backslash")]
    Backslash,
    /// A `%` without two hexadecimal digits.
    #[error("the path has a `%` that is not followed by two hexadecimal digits")]
    BadEscape,
    /// A character that has to be escaped in a path.
    #[error("the path has the byte 0x{found:02X}, which must be percent-encoded")]
    Character {
        /// The first such byte.
        found: u8,
    },
    /// `.` or `..`, which some servers resolve.
    #[error("the path has a `.` or `..` segment")]
    DotSegment,
    /// An escape of an escape.
    #[error("the path is percent-encoded twice")]
    DoubleEncoding,
    /// Two slashes in a row, which some servers merge.
    #[error("the path has an empty segment (`//`)")]
    EmptySegment,
    /// An escaped control character, NUL among them.
    #[error("the path has an encoded control character")]
    EncodedControl,
    /// An escaped `#`, `;` or `?`, at which a server that decodes early cuts the path.
    #[error("the path has an encoded `#`, `;` or `?`")]
    EncodedDelimiter,
    /// An escaped slash or backslash, which some servers take for a separator.
    #[error("the path has an encoded slash or backslash")]
    EncodedSlash,
    /// An escape of a character that needs none: a second spelling of the same path.
    #[error("the path has an encoded letter, digit or one of `-._~`, which must stand as itself")]
    EncodedUnreserved,
    /// A `#`.
    #[error("the path has a `#`")]
    Fragment,
    /// An escape in lower-case hexadecimal: a second spelling of the same path.
    #[error("the path has an escape in lower case, which must be upper case")]
    LowerCaseEscape,
    /// Nothing that HTTP takes for a target.
    #[error("the target is none of HTTP")]
    Malformed,
    /// It does not begin with a slash.
    #[error("the path does not begin with `/`")]
    NotOriginForm,
    /// The escapes do not decode to UTF-8, or decode to an overlong form of it.
    #[error("the path does not decode to UTF-8")]
    NotUtf8,
    /// A `;`, at which some servers cut a segment.
    #[error("the path has a `;` parameter")]
    Parameters,
    /// A byte in the query that cannot stand there.
    #[error("the query has a character that must be percent-encoded")]
    Query,
    /// Longer than [`MAX_LENGTH`].
    #[error("the path and query are longer than {MAX_LENGTH} bytes")]
    TooLong,
}

impl PathError {
    /// The status that answers such a request.
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
    fn a_path_with_one_reading_is_kept_byte_for_byte() {
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
            assert_eq!(RequestPath::from_uri(&uri).unwrap().to_path_and_query().as_str(), text);
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
    fn what_a_parsed_target_lets_through_is_judged_too() {
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
    fn every_byte_is_either_kept_or_refused_never_changed() {
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
    fn a_path_too_long_to_judge_is_414() {
        let longest = format!("/{}", "a".repeat(MAX_LENGTH - 1));
        assert!(RequestPath::parse(&longest).is_ok());
        let error = RequestPath::parse(&format!("{longest}a")).unwrap_err();
        assert_eq!((error, error.status()), (PathError::TooLong, StatusCode::URI_TOO_LONG));
    }

    #[test]
    fn a_slash_at_the_end_is_a_segment() {
        assert_eq!(RequestPath::parse("/a/").unwrap().segments().collect::<Vec<_>>(), ["a", ""]);
        assert_eq!(RequestPath::parse("/a").unwrap().segments().collect::<Vec<_>>(), ["a"]);
    }
}
