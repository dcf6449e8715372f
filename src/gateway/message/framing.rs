//! Checks of a request head: method, message length and host must be unambiguous.
//!
//! The checks apply to requests that hyper has parsed (RFC 9112, sections 3.2, 6.1 and 6.3). hyper has
//! already removed some ambiguities without an error:
//!
//! - It drops a `Content-Length` beside a `Transfer-Encoding`, and closes the connection after that request.
//! - It merges repeated `Content-Length` lines of equal value.
//! - It removes the fragment of a target.
//!
//! Only the raw bytes would show these. The request is safe nevertheless, because it is re-framed for the
//! upstream.

use http::header::{COOKIE, HeaderMap, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{Method, StatusCode, Version, request};

use crate::error::{Code, Coded};

/// Most header fields of a request: the default of hyper for HTTP/1.1, which needs no heap for so many.
pub const MAX_FIELDS: usize = 100;

/// Check the method, framing and host of a request; returns the host. `known` is a host that was parsed before, which
/// most requests of a connection repeat.
///
/// # Errors
/// [`FramingError`]: the request must be answered with [`FramingError::status`], and its connection closed.
pub fn check(request: &request::Parts, known: Option<&RequestHost>) -> Result<RequestHost, FramingError> {
    if matches!(request.method, Method::CONNECT | Method::TRACE) {
        return Err(FramingError::Method);
    }
    // A target of another scheme belongs to another origin (RFC 9110, section 7.4). Proxies that received a request
    // without TLS keep its `:scheme` in HTTP/2. The upstream learns the scheme of this connection, as of every one.
    let is_https = |scheme: &Scheme| {
        *scheme == Scheme::HTTPS || *scheme == Scheme::HTTP && request.version == Version::HTTP_2
    };
    if request.uri.scheme().is_some_and(|scheme| !is_https(scheme)) {
        return Err(FramingError::Scheme);
    }
    check_count(&request.headers)?;
    let fields = FramingFields::of(&request.headers);
    fields.check_length(request.version)?;
    requested_host(request, fields.host, known)
}

/// Limits the number of fields, as the parser of HTTP/1.1 does. HTTP/2 sends each cookie in a field of its own, and the
/// upstream gets them in one (RFC 9113, section 8.2.3).
fn check_count(headers: &HeaderMap) -> Result<(), FramingError> {
    if headers.len() <= MAX_FIELDS {
        return Ok(());
    }
    let cookies = headers.get_all(COOKIE).iter().count();
    if headers.len() - cookies.saturating_sub(1) > MAX_FIELDS {
        return Err(FramingError::TooManyFields);
    }
    Ok(())
}

/// Fields of a header that frame or route the message, found in one pass.
#[derive(Default)]
struct FramingFields<'a> {
    host: Lines<'a>,
    length: Lines<'a>,
    coding: Lines<'a>,
}

/// Lines of one field.
#[derive(Clone, Copy, Default)]
struct Lines<'a> {
    first: Option<&'a HeaderValue>,
    are_several: bool,
}

impl<'a> Lines<'a> {
    fn add(&mut self, value: &'a HeaderValue) {
        self.are_several = self.first.is_some();
        self.first.get_or_insert(value);
    }

    /// Value of a field that occurs exactly once.
    fn single(self) -> Option<&'a HeaderValue> {
        self.first.filter(|_| !self.are_several)
    }
}

impl<'a> FramingFields<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let mut fields = Self::default();
        for (name, value) in headers {
            match name.as_str() {
                "host" => fields.host.add(value),
                "content-length" => fields.length.add(value),
                "transfer-encoding" => fields.coding.add(value),
                _ => {}
            }
        }
        fields
    }

    fn check_length(&self, version: Version) -> Result<(), FramingError> {
        let has_coding = self.coding.first.is_some();
        if has_coding && self.length.first.is_some() {
            return Err(FramingError::TwoLengths);
        }
        if has_coding {
            let chunked =
                self.coding.single().is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
            if !chunked || version != Version::HTTP_11 {
                return Err(FramingError::TransferEncoding);
            }
        }
        if self.length.first.is_some() {
            let digits = self.length.single().map(HeaderValue::as_bytes).unwrap_or_default();
            // 19 digits always fit 64 bits.
            if !(1..=19).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
                return Err(FramingError::ContentLength);
            }
        }
        Ok(())
    }
}

fn requested_host(
    request: &request::Parts,
    field: Lines<'_>,
    known: Option<&RequestHost>,
) -> Result<RequestHost, FramingError> {
    let known = |text: &[u8]| known.filter(|known| known.value.as_bytes() == text).cloned();
    let field = match field.first {
        Some(_) => {
            let value = field.single().ok_or(FramingError::RepeatedHost)?;
            Some(known(value.as_bytes()).map_or_else(|| RequestHost::parse(value), Ok)?)
        }
        None => None,
    };
    let authority = match request.uri.authority().map(Authority::as_str) {
        Some(authority) => Some(match known(authority.as_bytes()) {
            Some(host) => host,
            // Every character of an `Authority` is valid in a header value.
            None => {
                let value = HeaderValue::from_str(authority).map_err(|_| FramingError::HostSyntax)?;
                RequestHost::parse(&value)?
            }
        }),
        None => None,
    };
    match (field, authority) {
        (Some(field), Some(authority)) if !field.is_same_authority(&authority) => {
            Err(FramingError::HostMismatch)
        }
        // HTTP/1.1 requires the field with every form of target.
        (None, Some(authority)) if request.version >= Version::HTTP_2 => Ok(authority),
        (Some(field), _) => Ok(field),
        (None, _) => Err(FramingError::MissingHost),
    }
}

/// Host of a request: name or address, with an optional port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHost {
    value: HeaderValue,
    name_length: usize,
    port: Option<u16>,
}

impl RequestHost {
    /// Default port of `https`.
    const DEFAULT_PORT: u16 = 443;

    /// Parse the value of a `Host` field.
    ///
    /// # Errors
    /// [`FramingError::HostSyntax`] if it is not a host with an optional port.
    pub fn parse(value: &HeaderValue) -> Result<Self, FramingError> {
        let text = value.to_str().map_err(|_| FramingError::HostSyntax)?;
        let name_length = match text.strip_prefix('[') {
            Some(literal) => literal.find(']').map(|end| end + 2),
            None => Some(text.find(':').unwrap_or(text.len())),
        };
        let (name, port) =
            name_length.and_then(|end| text.split_at_checked(end)).ok_or(FramingError::HostSyntax)?;
        let port = match port.strip_prefix(':') {
            Some(digits) => Some(parse_port(digits)?),
            None if port.is_empty() => None,
            None => return Err(FramingError::HostSyntax),
        };
        if !is_host(name) {
            return Err(FramingError::HostSyntax);
        }
        Ok(Self { name_length: name.len(), port, value: value.clone() })
    }

    /// Value as it was sent.
    #[must_use]
    pub const fn value(&self) -> &HeaderValue {
        &self.value
    }

    /// Host without the port, as it was sent.
    #[must_use]
    pub fn name(&self) -> &str {
        self.value.to_str().ok().and_then(|text| text.get(..self.name_length)).unwrap_or_default()
    }

    /// Port, if one was sent.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// Compare with the server name of the TLS handshake (RFC 6066, section 3), ignoring case and a trailing
    /// dot. A server name is never an address.
    #[must_use]
    pub fn matches_server_name(&self, server_name: &str) -> bool {
        without_trailing_dot(self.name()).eq_ignore_ascii_case(without_trailing_dot(server_name))
    }

    fn is_same_authority(&self, other: &Self) -> bool {
        let port = |host: &Self| host.port.unwrap_or(Self::DEFAULT_PORT);
        self.name().eq_ignore_ascii_case(other.name()) && port(self) == port(other)
    }
}

fn without_trailing_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Check that `name` is a host name or address. Escapes and `sub-delims` (RFC 3986, section 3.2.2) are
/// refused.
fn is_host(name: &str) -> bool {
    match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(literal) => literal.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !without_trailing_dot(name).is_empty()
                && name.len() <= 255
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        }
    }
}

fn parse_port(digits: &str) -> Result<u16, FramingError> {
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| all_digits).ok_or(FramingError::HostSyntax)
}

/// Request whose method, framing or host is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FramingError {
    /// `Content-Length` is not a number, or repeated.
    #[error("the Content-Length is not a single number")]
    ContentLength,
    /// `Host` and the authority of the target differ.
    #[error("the Host header differs from the host of the request target")]
    HostMismatch,
    /// `Host` is not a host with an optional port: user information, an escape, a bad port.
    #[error("the Host header is not a host name or address with an optional port")]
    HostSyntax,
    /// CONNECT or TRACE.
    #[error("the methods CONNECT and TRACE are not supported")]
    Method,
    /// `Host` is missing.
    #[error("the request has no Host header")]
    MissingHost,
    /// `Host` is repeated.
    #[error("the request has more than one Host header")]
    RepeatedHost,
    /// Scheme of the target other than `https`.
    #[error("the scheme of the request target is not https")]
    Scheme,
    /// More header fields than [`MAX_FIELDS`].
    #[error("the request has more than {MAX_FIELDS} header fields")]
    TooManyFields,
    /// Transfer coding other than a single `chunked`, or outside HTTP/1.1.
    #[error("the Transfer-Encoding is not a single `chunked` on HTTP/1.1")]
    TransferEncoding,
    /// Both `Transfer-Encoding` and `Content-Length`.
    #[error("the request has both a Transfer-Encoding and a Content-Length")]
    TwoLengths,
}

impl FramingError {
    /// Status of the response.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::NOT_IMPLEMENTED,
            Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl Coded for FramingError {
    fn coded(&self) -> Code {
        match self {
            Self::ContentLength => Code::refused("framing.content_length"),
            Self::HostMismatch => Code::refused("framing.host_mismatch"),
            Self::HostSyntax => Code::refused("framing.host_syntax"),
            Self::Method => Code::refused("framing.method"),
            Self::MissingHost => Code::refused("framing.missing_host"),
            Self::RepeatedHost => Code::refused("framing.repeated_host"),
            Self::Scheme => Code::refused("framing.scheme"),
            Self::TooManyFields => Code::refused("framing.too_many_fields"),
            Self::TransferEncoding => Code::refused("framing.transfer_encoding"),
            Self::TwoLengths => Code::refused("framing.two_lengths"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_head(
        version: Version,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> Result<RequestHost, FramingError> {
        let mut request = http::Request::builder().version(version).method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let head = request.body(()).unwrap().into_parts().0;
        let host = check(&head, None);
        // A host that is known is parsed as any other.
        for known in ["gateway", "other", "api.example:4523"] {
            let known = RequestHost::parse(&HeaderValue::from_static(known)).unwrap();
            assert_eq!(check(&head, Some(&known)), host);
        }
        host
    }

    fn post(fields: &[(&str, &str)]) -> Result<RequestHost, FramingError> {
        check_head(Version::HTTP_11, "POST", "/", &[&[("host", "api")], fields].concat())
    }

    #[test]
    fn a_target_with_a_scheme_other_than_https_is_refused() {
        let of = |target| check_head(Version::HTTP_2, "GET", target, &[]).map(|host| host.name().to_owned());
        // As Envoy sends it for a caller that spoke plain HTTP to it.
        for target in ["https://api/a", "http://api/a"] {
            assert_eq!(of(target).as_deref(), Ok("api"));
        }
        for target in ["ftp://api/a", "wss://api/a"] {
            assert_eq!(of(target), Err(FramingError::Scheme));
        }
        let of = |target| check_head(Version::HTTP_11, "GET", target, &[("host", "api")]).map(drop);
        assert_eq!(of("https://api/a"), Ok(()));
        assert_eq!(of("http://api/a"), Err(FramingError::Scheme));
    }

    #[test]
    fn a_request_has_exactly_one_length() {
        const TE: &str = "transfer-encoding";
        const CL: &str = "content-length";
        for fields in
            [&[][..], &[(CL, "0")], &[(CL, "9999999999999999999")], &[(TE, "chunked")], &[(TE, "Chunked")]]
        {
            assert!(post(fields).is_ok(), "{fields:?}");
        }
        for (fields, error) in [
            (&[(CL, "5"), (TE, "chunked")][..], FramingError::TwoLengths),
            (&[(TE, "chunked"), (CL, "5")], FramingError::TwoLengths),
            (&[(CL, "5"), (CL, "6")], FramingError::ContentLength),
            (&[(CL, "5"), (CL, "5")], FramingError::ContentLength),
            (&[(CL, "5,5")], FramingError::ContentLength),
            (&[(CL, "+5")], FramingError::ContentLength),
            (&[(CL, "-5")], FramingError::ContentLength),
            (&[(CL, "0x5")], FramingError::ContentLength),
            (&[(CL, "5 ")], FramingError::ContentLength),
            (&[(CL, "")], FramingError::ContentLength),
            (&[(CL, "99999999999999999999")], FramingError::ContentLength),
            (&[(TE, "xchunked")], FramingError::TransferEncoding),
            (&[(TE, "chunked, identity")], FramingError::TransferEncoding),
            (&[(TE, "gzip, chunked")], FramingError::TransferEncoding),
            (&[(TE, "\"chunked \"")], FramingError::TransferEncoding),
            (&[(TE, "\tchunked")], FramingError::TransferEncoding),
            (&[(TE, "chunked"), (TE, "chunked")], FramingError::TransferEncoding),
            (&[(TE, "")], FramingError::TransferEncoding),
        ] {
            assert_eq!(post(fields), Err(error), "{fields:?}");
        }
        for version in [Version::HTTP_10, Version::HTTP_2] {
            let fields = [("host", "api"), (TE, "chunked")];
            assert_eq!(check_head(version, "POST", "/", &fields), Err(FramingError::TransferEncoding));
        }
    }

    #[test]
    fn a_request_has_exactly_one_host() {
        let get = |target, fields: &[(&str, &str)]| check_head(Version::HTTP_11, "GET", target, fields);
        assert_eq!(get("/", &[]), Err(FramingError::MissingHost));
        assert_eq!(check_head(Version::HTTP_10, "GET", "/", &[]), Err(FramingError::MissingHost));
        assert_eq!(get("https://api/", &[]), Err(FramingError::MissingHost));
        assert_eq!(get("/", &[("host", "a"), ("host", "a")]), Err(FramingError::RepeatedHost));
        assert_eq!(get("https://a/", &[("host", "b")]), Err(FramingError::HostMismatch));
        assert_eq!(get("https://a:1/", &[("host", "a")]), Err(FramingError::HostMismatch));
        assert_eq!(get("https://A:443/", &[("host", "a")]).unwrap().value(), "a");
        assert_eq!(get("https://user@a/", &[("host", "a")]), Err(FramingError::HostSyntax));
        assert_eq!(check_head(Version::HTTP_2, "GET", "https://a:1/", &[]).unwrap().value(), "a:1");
        assert_eq!(
            check_head(Version::HTTP_2, "GET", "https://a/", &[("host", "b")]),
            Err(FramingError::HostMismatch)
        );
        assert_eq!(check_head(Version::HTTP_2, "GET", "/", &[]), Err(FramingError::MissingHost));
    }

    #[test]
    fn a_host_is_a_name_or_address_and_a_port() {
        let host = |value| check_head(Version::HTTP_11, "GET", "/", &[("host", value)]);
        for (value, name) in [
            ("api", "api"),
            ("API.example.:4523", "API.example."),
            ("192.0.2.1:1", "192.0.2.1"),
            ("[2001:db8::1]:443", "[2001:db8::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(host(value).unwrap().name(), name);
        }
        for value in [
            "", ".", ":443", "a:", "a:b", "a:+1", "a:65536", "a:1:2", "user@a", "a/b", "a?b", "a#b", "a b",
            "a,b", "a%2eb", "[::1", "[::1]x", "[a]", "[]", "::1", "a\\b", "é",
        ] {
            assert_eq!(host(value), Err(FramingError::HostSyntax), "{value}");
        }
    }

    #[test]
    fn a_host_matches_the_server_name_of_the_handshake() {
        let host = check_head(Version::HTTP_11, "GET", "/", &[("host", "Api.Example.:4523")]).unwrap();
        assert!(host.matches_server_name("api.example") && host.matches_server_name("api.example."));
        assert!(!host.matches_server_name("example") && !host.matches_server_name("api.example.org"));
    }

    #[test]
    fn connect_and_trace_are_refused() {
        for method in ["CONNECT", "TRACE"] {
            let error = check_head(Version::HTTP_11, method, "/", &[("host", "a")]).unwrap_err();
            assert_eq!((error, error.status()), (FramingError::Method, StatusCode::NOT_IMPLEMENTED));
        }
    }
}
