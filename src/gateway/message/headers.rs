//! Filter of header fields and trailers, and the headers that describe the client to the upstream.
//!
//! Only the gateway sets identity headers. Many servers fold field names before the application sees them:
//! `X_Cluster.Role` and `x-cluster-role` become one variable. So reserved fields are removed by their folded
//! name, from requests, trailers and responses. Hop-by-hop fields (RFC 9110, section 7.6.1) never pass. The
//! gateway sets its own fields last: a `Connection` option that names one removes only the field of the
//! client.

use std::net::IpAddr;

use http::header::{
    CONNECTION, COOKIE, FORWARDED, GetAll, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER,
};

use crate::gateway::message::framing::RequestHost;
use crate::gateway::message::reserved_headers::ReservedHeaders;
use crate::mtls::IdentityHeaders;

/// Address of the client.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Host that the client requested.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Scheme of the client's request: always `https`.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Fields that the gateway sets on every request of a connection: identity and address of the client. They are not
/// kept, since most requests repeat the fields of the one before, and their lines are.
#[derive(Clone, Debug)]
pub struct ConnectionFields(HeaderMap);

impl ConnectionFields {
    /// Number of fields of most requests, so that their table does not grow.
    const CAPACITY: usize = 24;

    /// Fields for a client at `address`. Without `caller`, none of them states an identity.
    #[must_use]
    pub fn new(caller: Option<&IdentityHeaders>, address: IpAddr) -> Self {
        let address = address.to_canonical();
        let forwarded = match address {
            IpAddr::V4(v4) => format!("for={v4};proto=https"),
            IpAddr::V6(v6) => format!("for=\"[{v6}]\";proto=https"),
        };
        // Never used, since every address is a valid value; RFC 7239, section 6 defines `unknown`.
        let value = |text: String| text.try_into().unwrap_or(HeaderValue::from_static("unknown"));
        let mut fields = HeaderMap::with_capacity(Self::CAPACITY);
        // Their values are those of each request; `Host` goes first (RFC 9110, section 7.2).
        fields.insert(HOST, HeaderValue::from_static(""));
        fields.insert(X_FORWARDED_HOST, HeaderValue::from_static(""));
        for (name, value) in caller.into_iter().flat_map(IdentityHeaders::iter) {
            fields.insert(name, value.clone());
        }
        fields.insert(FORWARDED, value(forwarded));
        fields.insert(X_FORWARDED_FOR, value(address.to_string()));
        fields.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
        Self(fields)
    }
}

/// Header for the upstream, made of the header `client` of a client's request and the `fields` of its connection.
#[must_use]
pub fn to_upstream(
    client: &HeaderMap,
    reserved: &ReservedHeaders,
    host: &RequestHost,
    fields: ConnectionFields,
) -> HeaderMap {
    let mut headers = fields.0;
    headers.insert(HOST, host.value().clone());
    headers.insert(X_FORWARDED_HOST, host.value().clone());
    let options = Options::of(client);
    let (mut accepts_trailers, mut announces_trailers) = (false, false);
    let mut cookies = 0;
    for (name, value) in client {
        match name.as_str() {
            // Set above; only its exact spelling is not reserved.
            "host" => continue,
            "te" => accepts_trailers |= lists(value, "trailers"),
            _ => {}
        }
        if reserved.contain(name) || options.contain(name) {
            continue;
        }
        match name.as_str() {
            "cookie" => cookies += 1,
            "trailer" => announces_trailers = true,
            _ => {}
        }
        headers.append(name, value.clone());
    }
    if announces_trailers {
        filter_announced_trailers(&mut headers, reserved);
    }
    if cookies > 1 {
        join_cookies(&mut headers);
    }
    if accepts_trailers {
        // The only hop-by-hop field that the client decides; on HTTP/1.1, `Connection` must list TE (RFC
        // 9110, section 10.1.4).
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    headers
}

/// Turn the header of an upstream's response into the header for the client.
pub fn to_downstream(headers: &mut HeaderMap, reserved: &ReservedHeaders) {
    remove_restricted(headers, reserved);
}

/// Remove restricted trailers, in either direction: identity, framing, routing, and all fields that are
/// evaluated before the body arrives (RFC 9110, section 6.5.1).
pub fn filter_trailers(headers: &mut HeaderMap, reserved: &ReservedHeaders) {
    remove_restricted(headers, reserved);
    remove(headers, |name| {
        matches!(
            name.as_str(),
            "age"
                | "authorization"
                | "cache-control"
                | "content-length"
                | "content-encoding"
                | "content-range"
                | "content-type"
                | "cookie"
                | "date"
                | "expires"
                | "host"
                | "location"
                | "max-forwards"
                | "pragma"
                | "range"
                | "retry-after"
                | "set-cookie"
                | "trailer"
                | "vary"
                | "warning"
                | "www-authenticate"
        ) || name.as_str().starts_with("if-")
    });
}

fn remove_restricted(headers: &mut HeaderMap, reserved: &ReservedHeaders) {
    let options = Options::of(headers);
    let mut announces_trailers = false;
    // An empty `Vec` does not allocate.
    let mut removed = Vec::new();
    for name in headers.keys() {
        if reserved.contain(name) || options.contain(name) {
            removed.push(name.clone());
        } else {
            announces_trailers |= *name == TRAILER;
        }
    }
    for name in removed {
        // Removes every line of that name, although it returns only the first.
        headers.remove(name);
    }
    if announces_trailers {
        filter_announced_trailers(headers, reserved);
    }
}

/// Detect a scheme in a list of credentials or challenges that authenticates the connection instead of the request (RFC
/// 4559, NTLM). The upstream would attribute later requests on that connection to the same user.
#[must_use]
pub fn binds_connection(value: &HeaderValue) -> bool {
    value.as_bytes().split(|byte| *byte == b',').any(|challenge| {
        let scheme = challenge.trim_ascii_start().split(u8::is_ascii_whitespace).next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
    })
}

/// Options of all `Connection` fields of a header.
struct Options<'a>(Option<GetAll<'a, HeaderValue>>);

impl<'a> Options<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let lines = headers.get_all(CONNECTION);
        Self(lines.iter().next().is_some().then_some(lines))
    }

    /// True if an option has the name of this field.
    fn contain(&self, name: &HeaderName) -> bool {
        self.0.as_ref().is_some_and(|lines| lines.iter().any(|line| lists(line, name.as_str())))
    }
}

/// True if `text` is a member of the list `value`, in any case.
fn lists(value: &HeaderValue, text: &str) -> bool {
    let mut members = value.as_bytes().split(|byte| *byte == b',');
    members.any(|member| member.trim_ascii().eq_ignore_ascii_case(text.as_bytes()))
}

/// Announce no trailers that are removed.
fn filter_announced_trailers(headers: &mut HeaderMap, reserved: &ReservedHeaders) {
    if names_listed_in(headers, TRAILER).any(|name| reserved.contain(&name)) {
        let kept: Vec<_> = names_listed_in(headers, TRAILER).filter(|name| !reserved.contain(name)).collect();
        headers.remove(TRAILER);
        for name in kept {
            headers.append(TRAILER, name.into());
        }
    }
}

/// Names listed in all lines of `field`.
pub(super) fn names_listed_in(headers: &HeaderMap, field: HeaderName) -> impl Iterator<Item = HeaderName> {
    let lines = headers.get_all(field).into_iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
}

fn remove(headers: &mut HeaderMap, is_removed: impl Fn(&HeaderName) -> bool) {
    // An empty `Vec` does not allocate.
    let found: Vec<_> = headers.keys().filter(|name| is_removed(name)).cloned().collect();
    for name in found {
        // Removes every line of that name, although it returns only the first.
        headers.remove(name);
    }
}

/// Join cookie fields: HTTP/2 allows several, HTTP/1.1 only one (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<_> = headers.get_all(COOKIE).into_iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(b"; ".as_slice()))
    {
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mtls::*;
    use crate::x509::Certificate;
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    use rcgen::{CertificateParams, DnType, KeyPair};

    const CALLER: &str = "spiffe://prod/api-user/alice";

    fn caller_headers(common_name: &str) -> (IdentityHeaders, Certificate) {
        let mut params = CertificateParams::default();
        params.serial_number = Some(vec![7].into());
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        let certificate = Certificate::from_der(&der).unwrap();
        let caller = CALLER.parse().unwrap();
        let headers = IdentityHeaders::new(&caller, &certificate).unwrap();
        (headers, certificate)
    }

    fn header(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn sent_upstream(lines: &[(&str, &str)]) -> HeaderMap {
        let host = RequestHost::parse(&HeaderValue::from_static("api.example:4523")).unwrap();
        let caller = caller_headers("user-alice").0;
        let fields = ConnectionFields::new(Some(&caller), "192.0.2.1".parse().unwrap());
        to_upstream(&header(lines), &ReservedHeaders::default(), &host, fields)
    }

    /// Passed fields, without those that the gateway sets.
    fn passed(lines: &[(&str, &str)]) -> Vec<(String, String)> {
        let ours = sent_upstream(&[]);
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        sent_upstream(lines).iter().filter(|(name, _)| !ours.contains_key(*name)).map(text).collect()
    }

    #[test]
    fn only_the_gateway_sets_identity_headers() {
        let forged: Vec<_> = [
            "Client-Cert",
            "Client-Cert-Chain",
            "X-Forwarded-Client-Cert",
            "X-Cluster-Role",
            "X-Cluster-Name",
            "X-Cluster-Id",
            "X-Cluster-Serial",
            "Forwarded",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
        ]
        .into_iter()
        .flat_map(|name| [(name, "forged"), (name, "forged, forged"), (name, "")])
        .collect();
        assert_eq!(passed(&forged), []);
        let headers = sent_upstream(&forged);
        assert!(headers.values().all(|value| value != "forged" && !value.is_empty()));
        assert_eq!(headers.len(), headers.keys_len(), "each once");
        assert_eq!(headers[X_CLUSTER_ROLE], "api-user");
        assert_eq!(headers[X_CLUSTER_NAME], "alice");
        assert_eq!(headers[X_CLUSTER_ID], CALLER);
        assert_eq!(headers[X_CLUSTER_SERIAL], "00000000000000000000000000000007");
        assert_eq!(headers[FORWARDED], "for=192.0.2.1;proto=https");
        assert_eq!(headers[X_FORWARDED_FOR], "192.0.2.1");
        assert_eq!(headers[X_FORWARDED_PROTO], "https");
        assert_eq!(headers[X_FORWARDED_HOST], "api.example:4523");
        assert_eq!(headers[HOST], "api.example:4523");
    }

    #[test]
    fn every_field_that_the_gateway_sets_is_removed_from_the_request_of_a_client() {
        let reserved = ReservedHeaders::default();
        for name in sent_upstream(&[("te", "trailers")]).keys() {
            assert!(reserved.contain(name) || name == HOST, "{name}");
        }
    }

    #[test]
    fn aliases_of_reserved_fields_are_removed() {
        for name in [
            "x_forwarded_client_cert",
            "X.Forwarded.Client_Cert",
            "x-forwarded-client_cert",
            "X_CLUSTER_ROLE",
            "x.cluster.role",
            "X-Cluster.Role",
            "x~cluster!role",
            "X-Cluster-",
            "X-Cluster-Anything",
            "client_cert",
            "Client.Cert.Chain",
            "x_forwarded_for",
            "x_forwarded_user",
            "X-Client-Cert",
            "X-Client-Certificate",
            "X.Client.Role",
            "X-Client-Verify",
            "X-SSL-Client-CN",
            "x_ssl_cert",
            "SSL_CLIENT_S_DN",
            "SSL-Client-Verify",
            "X-Remote-User",
            "X-Remote-Group",
            "Remote_User",
            "Proxy",
            "X-Client-IP",
            "True-Client-IP",
            "X-Authenticated-User",
            "X.Authenticated.User",
            "X-Real-IP",
            "X-HTTP-Method-Override",
            "X_HTTP_Method",
            "X-Method-Override",
            "X-Original-URL",
            "X-Rewrite-URL",
            "X-Request-Id",
            "X_Request_Id",
            "Content_Length",
            "Transfer.Encoding",
            "transfer_encoding",
            "Keep_Alive",
        ] {
            assert_eq!(passed(&[(name, "forged")]), [], "{name}");
            for clean in [to_downstream, filter_trailers] {
                let mut headers = header(&[(name, "forged"), (name, "again"), ("grpc-status", "0")]);
                clean(&mut headers, &ReservedHeaders::default());
                assert_eq!(headers.len(), 1, "{name}");
            }
        }
    }

    #[test]
    fn other_fields_pass_untouched() {
        let lines = [
            ("accept", "*/*"),
            ("authorization", "Bearer x"),
            ("content-length", "3"),
            ("content-type", "application/json"),
            ("cookie", "a=b"),
            ("client-certainty", "x"),
            ("x-client-version", "1"),
            ("x-clusters", "x"),
            ("x_correlation_id", "7"),
            ("forwarded-by", "x"),
            ("x-sslish", "x"),
            ("trailer", "grpc-status"),
            ("traceparent", "00-1-2-00"),
            ("x-tag", "one"),
            ("x-tag", "two"),
        ];
        let expected: Vec<_> = lines.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let mut passed = passed(&lines);
        passed.sort();
        let mut sorted = expected;
        sorted.sort();
        assert_eq!(passed, sorted);
    }

    #[test]
    fn hop_by_hop_fields_are_removed_whichever_line_names_them() {
        assert_eq!(
            passed(&[
                ("connection", "close, X-One"),
                ("connection", " x-two ,, b@d"),
                ("x-one", "1"),
                ("x-two", "2"),
                ("x-two", "3"),
                ("x-three", "4"),
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "keep-alive"),
                ("proxy-authorization", "Basic x"),
                ("te", "gzip"),
                ("transfer-encoding", "chunked"),
                ("upgrade", "h2c"),
                ("http2-settings", "AAAA"),
                ("expect", "100-continue"),
            ]),
            [("x-three".to_owned(), "4".to_owned())]
        );
        let mut response =
            header(&[("connection", "x-one"), ("x-one", "1"), ("upgrade", "x"), ("etag", "y")]);
        to_downstream(&mut response, &ReservedHeaders::default());
        assert_eq!(response, header(&[("etag", "y")]));
    }

    #[test]
    fn a_connection_option_cannot_remove_gateway_headers() {
        let names = "client-cert, x-cluster-role, x-forwarded-client-cert, x-forwarded-for, host";
        let headers = sent_upstream(&[("connection", names), ("host", "elsewhere")]);
        assert!(headers.keys().eq(sent_upstream(&[]).keys()));
        assert_eq!(headers[HOST], "api.example:4523");
    }

    #[test]
    fn only_te_trailers_is_passed_on() {
        let headers =
            sent_upstream(&[("te", "gzip;q=0.5, Trailers"), ("connection", "TE, x-a"), ("x-a", "1")]);
        assert_eq!(headers[TE], "trailers");
        assert_eq!(headers[CONNECTION], "te");
        assert!(!headers.contains_key("x-a"));
        assert!(!sent_upstream(&[("te", "trailers;q=0, gzip")]).contains_key(TE));
    }

    #[test]
    fn several_cookie_fields_are_joined() {
        let headers = sent_upstream(&[("cookie", "a=b"), ("cookie", "c=d; e=f")]);
        assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=b; c=d; e=f"]);
    }

    #[test]
    fn trailers_with_framing_routing_or_policy_fields_are_removed() {
        for name in ["content-length", "host", "transfer-encoding", "authorization", "set-cookie", "if-match"]
        {
            let mut headers = header(&[(name, "1"), ("x-checksum", "2")]);
            filter_trailers(&mut headers, &ReservedHeaders::default());
            assert_eq!(headers, header(&[("x-checksum", "2")]), "{name}");
        }
    }

    #[test]
    fn the_certificate_is_passed_on_in_both_standard_headers() {
        let (headers, certificate) = caller_headers("user-alice");
        let value = |name| headers.iter().find(|(n, _)| *n == name).unwrap().1.to_str().unwrap().to_owned();
        let encoded = value(CLIENT_CERT);
        let inner = encoded.strip_prefix(':').unwrap().strip_suffix(':').unwrap();
        assert_eq!(BASE64_STANDARD.decode(inner).unwrap(), certificate.der.to_vec());
        assert_eq!(
            value(X_FORWARDED_CLIENT_CERT),
            format!("Hash={};Subject=\"CN=user-alice\";URI={CALLER}", certificate.fingerprint())
        );
    }

    #[test]
    fn a_subject_cannot_close_its_quotes() {
        for name in ["a\";URI=spiffe://prod/control-service/x", "a\\", "a\r\nX-Cluster-Role: x", "é\u{202e}"]
        {
            let (headers, _) = caller_headers(name);
            let value = headers.iter().nth(1).unwrap().1.to_str().unwrap();
            let mut rest = value.split_once("Subject=\"").unwrap().1.chars();
            while let Some(c) = rest.next() {
                match c {
                    '\\' => assert!(rest.next().is_some()),
                    '"' => break,
                    c => assert!((' '..='~').contains(&c)),
                }
            }
            assert_eq!(rest.as_str(), format!(";URI={CALLER}"), "{value}");
        }
    }

    #[test]
    fn addresses_are_formatted_as_in_rfc_7239() {
        let forwarded = |address: &str| {
            let headers = ConnectionFields::new(None, address.parse().unwrap()).0;
            [FORWARDED, X_FORWARDED_FOR].map(|name| headers[name].to_str().unwrap().to_owned())
        };
        assert_eq!(forwarded("2001:db8::1"), ["for=\"[2001:db8::1]\";proto=https", "2001:db8::1"]);
        assert_eq!(forwarded("::ffff:192.0.2.1"), ["for=192.0.2.1;proto=https", "192.0.2.1"]);
    }
}
