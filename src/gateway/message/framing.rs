//! What must hold of a request before anything in it is believed: one method that is passed on, one way
//! to know its length, one host.
//!
//! This judges a request that hyper has parsed (RFC 9112, sections 3.2, 6.1 and 6.3). What hyper has
//! settled by then cannot be seen here: it drops a `Content-Length` that comes with a
//! `Transfer-Encoding` and closes the connection after that request, merges equal doubled
//! `Content-Length` lines, and cuts off a fragment. Whoever wants these to be 400 has to look at the
//! bytes; a request re-framed from what is left here is sound either way.

use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::uri::Scheme;
use http::{Method, StatusCode, Version, request};

use crate::error::{Code, Coded};

/// Judges a request's method, framing and host; the host is what it is for.
///
/// # Errors
/// [`FramingError`]: the request must be answered with [`FramingError::status`], and its connection
/// closed.
pub fn check(request: &request::Parts) -> Result<RequestHost, FramingError> {
    if matches!(request.method, Method::CONNECT | Method::TRACE) {
        return Err(FramingError::Method);
    }
    // Callers that mean another scheme mean another origin (RFC 9110, section 7.4).
    if request.uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTPS) {
        return Err(FramingError::Scheme);
    }
    check_length(&request.headers, request.version)?;
    requested_host(request)
}

fn check_length(headers: &HeaderMap, version: Version) -> Result<(), FramingError> {
    let coded = headers.contains_key(TRANSFER_ENCODING);
    if coded && headers.contains_key(CONTENT_LENGTH) {
        return Err(FramingError::TwoLengths);
    }
    if coded {
        let chunked = only(headers, TRANSFER_ENCODING)
            .is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if !chunked || version != Version::HTTP_11 {
            return Err(FramingError::TransferEncoding);
        }
    }
    if headers.contains_key(CONTENT_LENGTH) {
        let digits = only(headers, CONTENT_LENGTH).map(HeaderValue::as_bytes).unwrap_or_default();
        // 19 digits always fit 64 bits.
        if !(1..=19).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
            return Err(FramingError::ContentLength);
        }
    }
    Ok(())
}

/// The value of a field that stands once.
fn only(headers: &HeaderMap, name: http::HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).into_iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

fn requested_host(request: &request::Parts) -> Result<RequestHost, FramingError> {
    let field = match request.headers.contains_key(HOST) {
        true => Some(RequestHost::parse(only(&request.headers, HOST).ok_or(FramingError::RepeatedHost)?)?),
        false => None,
    };
    let authority = match request.uri.authority() {
        // An `Authority` has only characters that a field can have.
        Some(authority) => {
            let value = HeaderValue::from_str(authority.as_str()).map_err(|_| FramingError::HostSyntax)?;
            Some(RequestHost::parse(&value)?)
        }
        None => None,
    };
    match (field, authority) {
        (Some(field), Some(authority)) if !field.is_same_as(&authority) => Err(FramingError::HostMismatch),
        // HTTP/1.1 demands the field whatever the form of the target.
        (None, Some(authority)) if request.version >= Version::HTTP_2 => Ok(authority),
        (Some(field), _) => Ok(field),
        (None, _) => Err(FramingError::MissingHost),
    }
}

/// The host that a request is for: a name or address, and a port if one was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHost {
    value: HeaderValue,
    name_length: usize,
    port: Option<u16>,
}

impl RequestHost {
    /// The port of `https`, which need not be written.
    const DEFAULT_PORT: u16 = 443;

    /// Reads the value of a `Host` field.
    ///
    /// # Errors
    /// [`FramingError::HostSyntax`].
    pub fn parse(value: &HeaderValue) -> Result<Self, FramingError> {
        let text = value.to_str().map_err(|_| FramingError::HostSyntax)?;
        let name_length = match text.strip_prefix('[') {
            Some(literal) => literal.find(']').map(|end| end + 2),
            None => Some(text.find(':').unwrap_or(text.len())),
        };
        let (name, port) =
            name_length.and_then(|end| text.split_at_checked(end)).ok_or(FramingError::HostSyntax)?;
        let port = match port.strip_prefix(':') {
            Some(digits) => Some(read_port(digits)?),
            None if port.is_empty() => None,
            None => return Err(FramingError::HostSyntax),
        };
        if !is_name(name) {
            return Err(FramingError::HostSyntax);
        }
        Ok(Self { name_length: name.len(), port, value: value.clone() })
    }

    /// As it was sent.
    #[must_use]
    pub const fn value(&self) -> &HeaderValue {
        &self.value
    }

    /// The host without its port, as it was sent.
    #[must_use]
    pub fn name(&self) -> &str {
        self.value.to_str().ok().and_then(|text| text.get(..self.name_length)).unwrap_or_default()
    }

    /// The port, if it was given.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether it is what a client named in its TLS handshake (RFC 6066, section 3), ignoring case and
    /// a dot at the end. An address is never named there.
    #[must_use]
    pub fn agrees_with(&self, server_name: &str) -> bool {
        without_dot(self.name()).eq_ignore_ascii_case(without_dot(server_name))
    }

    fn is_same_as(&self, other: &Self) -> bool {
        let port = |host: &Self| host.port.unwrap_or(Self::DEFAULT_PORT);
        self.name().eq_ignore_ascii_case(other.name()) && port(self) == port(other)
    }
}

fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// A host name or address; escapes and the rarer characters of RFC 3986, section 3.2.2 are refused.
fn is_name(name: &str) -> bool {
    match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(literal) => literal.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !without_dot(name).is_empty()
                && name.len() <= 255
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        }
    }
}

fn read_port(digits: &str) -> Result<u16, FramingError> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain).ok_or(FramingError::HostSyntax)
}

/// Why a request is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FramingError {
    /// `Content-Length` is no number, or stands more than once.
    #[error("the Content-Length is not one number")]
    ContentLength,
    /// `Host` and the authority of the target differ.
    #[error("the Host is not the host of the request target")]
    HostMismatch,
    /// Not a host with an optional port: user information, an escape, a bad port.
    #[error("the Host is not a host name or address with an optional port")]
    HostSyntax,
    /// CONNECT or TRACE.
    #[error("CONNECT and TRACE are not passed on")]
    Method,
    /// No `Host`.
    #[error("the request has no Host")]
    MissingHost,
    /// `Host` stands more than once.
    #[error("the request has more than one Host")]
    RepeatedHost,
    /// A target of another scheme than `https`.
    #[error("the scheme of the request target is not https")]
    Scheme,
    /// Any transfer coding but a single `chunked`, or one outside HTTP/1.1.
    #[error("the Transfer-Encoding is not a single `chunked` on HTTP/1.1")]
    TransferEncoding,
    /// `Transfer-Encoding` beside `Content-Length`.
    #[error("the request has both a Transfer-Encoding and a Content-Length")]
    TwoLengths,
}

impl FramingError {
    /// The status that answers such a request.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::NOT_IMPLEMENTED,
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
            Self::TransferEncoding => Code::refused("framing.transfer_encoding"),
            Self::TwoLengths => Code::refused("framing.two_lengths"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(
        version: Version,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> Result<RequestHost, FramingError> {
        let mut request = http::Request::builder().version(version).method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap().into_parts().0)
    }

    fn post(fields: &[(&str, &str)]) -> Result<RequestHost, FramingError> {
        judge(Version::HTTP_11, "POST", "/", &[&[("host", "api")], fields].concat())
    }

    #[test]
    fn a_target_with_a_scheme_is_of_https() {
        let of = |target| judge(Version::HTTP_2, "GET", target, &[]).map(|host| host.name().to_owned());
        assert_eq!(of("https://api/a").as_deref(), Ok("api"));
        for target in ["http://api/a", "ftp://api/a", "wss://api/a"] {
            assert_eq!(of(target), Err(FramingError::Scheme));
        }
    }

    #[test]
    fn a_request_has_one_length() {
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
            assert_eq!(judge(version, "POST", "/", &fields), Err(FramingError::TransferEncoding));
        }
    }

    #[test]
    fn a_request_has_one_host() {
        let get = |target, fields: &[(&str, &str)]| judge(Version::HTTP_11, "GET", target, fields);
        assert_eq!(get("/", &[]), Err(FramingError::MissingHost));
        assert_eq!(judge(Version::HTTP_10, "GET", "/", &[]), Err(FramingError::MissingHost));
        assert_eq!(get("https://api/", &[]), Err(FramingError::MissingHost));
        assert_eq!(get("/", &[("host", "a"), ("host", "a")]), Err(FramingError::RepeatedHost));
        assert_eq!(get("https://a/", &[("host", "b")]), Err(FramingError::HostMismatch));
        assert_eq!(get("https://a:1/", &[("host", "a")]), Err(FramingError::HostMismatch));
        assert_eq!(get("https://A:443/", &[("host", "a")]).unwrap().value(), "a");
        assert_eq!(get("https://user@a/", &[("host", "a")]), Err(FramingError::HostSyntax));
        assert_eq!(judge(Version::HTTP_2, "GET", "https://a:1/", &[]).unwrap().value(), "a:1");
        assert_eq!(
            judge(Version::HTTP_2, "GET", "https://a/", &[("host", "b")]),
            Err(FramingError::HostMismatch)
        );
        assert_eq!(judge(Version::HTTP_2, "GET", "/", &[]), Err(FramingError::MissingHost));
    }

    #[test]
    fn a_host_is_a_name_or_address_and_a_port() {
        let host = |value| judge(Version::HTTP_11, "GET", "/", &[("host", value)]);
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
    fn a_host_agrees_with_the_name_in_the_handshake() {
        let host = judge(Version::HTTP_11, "GET", "/", &[("host", "Api.Example.:4523")]).unwrap();
        assert!(host.agrees_with("api.example") && host.agrees_with("api.example."));
        assert!(!host.agrees_with("example") && !host.agrees_with("api.example.org"));
    }

    #[test]
    fn connect_and_trace_are_not_passed_on() {
        for method in ["CONNECT", "TRACE"] {
            let error = judge(Version::HTTP_11, method, "/", &[("host", "a")]).unwrap_err();
            assert_eq!((error, error.status()), (FramingError::Method, StatusCode::NOT_IMPLEMENTED));
        }
    }
}
