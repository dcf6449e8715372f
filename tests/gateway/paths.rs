//! One path, one host, one method: what is judged is what is sent.

use crate::cluster::{Cluster, Leaf};
use crate::frames::{self, Outcome};
use crate::harness::{Setup, TestGateway, Tls, call_h2_on, raw_on};
use crate::upstreams::answering;

/// A gateway whose certificate also has a DNS name.
fn named() -> TestGateway {
    let mut setup = Setup::new();
    setup.own = own(&setup.cluster);
    setup.start()
}

fn own(cluster: &Cluster) -> Leaf {
    cluster.leaf_with("control-service", "127.0.0.1", |params| {
        for name in ["api.example", "b.example"] {
            params.subject_alt_names.push(rcgen::SanType::DnsName(name.try_into().unwrap()));
        }
    })
}

async fn connect(gateway: &TestGateway, name: Option<&str>, alpn: &str) -> Tls {
    let user = gateway.user();
    match name {
        Some(name) => gateway.connect_named(Some(&user), &[alpn], name).await,
        None => gateway.connect(Some(&user), &[alpn]).await,
    }
    .unwrap()
}

/// The status for a request for `host` on a connection to `name`, over both protocols.
async fn status(gateway: &TestGateway, name: Option<&str>, host: &str) -> u16 {
    let request = format!("GET /v1/x HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let answer = raw_on(connect(gateway, name, "http/1.1").await, request).await;
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let request =
        http::Request::get(format!("https://{host}/v1/x")).body(http_body_util::Full::default()).unwrap();
    let over_h2 = call_h2_on(connect(gateway, name, "h2").await, request).await;
    assert_eq!(over_h2.status.as_u16(), status, "{name:?} {host}");
    status
}

// T25, T26.
#[tokio::test]
async fn a_request_is_for_the_host_that_the_connection_is_to() {
    let gateway = named();
    for (name, host, wanted) in [
        (Some("api.example"), "api.example", 200),
        (Some("api.example"), "API.Example:4523", 200),
        (Some("api.example"), "api.example.", 200),
        (Some("API.EXAMPLE"), "api.example", 200),
        (Some("api.example"), "b.example", 200),
        (Some("api.example"), "c.example", 421),
        (Some("api.example"), "api.example.org", 421),
        // Two names of one certificate, as proxies send them (`proxy_ssl_name`).
        (Some("api.example"), "127.0.0.1", 200),
        (Some("api.example"), "control-service", 200),
        (Some("api.example"), "127.0.0.2", 421),
        // The name that Flocker-style clients give, whatever they dial.
        (Some("control-service"), "api.example", 200),
        (Some("control-service"), "127.0.0.1:4523", 200),
        (Some("control-service"), "evil.example", 421),
        // A connection to an address names no host, and is for any of ours.
        (None, "127.0.0.1", 200),
        (None, "127.0.0.1:4523", 200),
        (None, "api.example", 200),
        (None, "Api.Example.", 200),
        (None, "control-service", 200),
        (None, "evil.example", 421),
        (None, "api.example.org", 421),
        (None, "127.0.0.2", 421),
        (None, "[::1]", 421),
    ] {
        assert_eq!(status(&gateway, name, host).await, wanted, "{name:?} {host}");
    }
    let answer = raw_on(
        connect(&gateway, Some("api.example"), "http/1.1").await,
        "GET /v1/x HTTP/1.1\r\nhost: c.example\r\nconnection: close\r\n\r\n".to_owned(),
    )
    .await;
    assert!(
        answer.contains("the request is for c.example, and the TLS connection for api.example"),
        "{answer}"
    );
    let line = gateway.line("request", |line| line["status"] == 421 && line["server_name"] == "api.example");
    assert_eq!((&line["reason"], &line["decision"]), (&"request.misdirected".into(), &"none".into()));
    let misdirected = |host: &str| {
        gateway.line("request", |line| line["status"] == 421 && line["host"] == host)["server_name"].clone()
    };
    assert_eq!(misdirected("c.example"), "api.example");
    assert_eq!(misdirected("[::1]"), serde_json::Value::Null);
    let served = gateway.line("request", |line| line["host"] == "API.Example:4523");
    assert_eq!((&served["status"], &served["server_name"]), (&200.into(), &"api.example".into()));
    assert!(
        gateway
            .lines()
            .iter()
            .all(|line| line["status"] != 421
                || line.get("upstream").is_none_or(|upstream| upstream.is_null()))
    );
}

// T25.
#[tokio::test]
async fn a_name_that_is_not_ours_gets_no_connection() {
    for name in ["other.example", "example", "x.api.example", "127.0.0.1.example"] {
        let gateway = named();
        assert!(gateway.connect_named(Some(&gateway.user()), &["http/1.1"], name).await.is_err(), "{name}");
        assert_eq!(gateway.refusal(), "tls.unknown_server_name", "{name}");
    }
}

// T25: names that only openssl is willing to send.
#[test]
fn an_odd_server_name_gets_no_other_treatment() {
    let gateway = named();
    let directory = tempfile::tempdir().unwrap();
    gateway.user().write(directory.path(), "user");
    let serves = |name: &str| {
        let output = std::process::Command::new("openssl")
            .args(["s_client", "-connect", &gateway.address.to_string(), "-servername", name])
            .args(["-cert", "user.crt", "-key", "user.key", "-tls1_2"])
            .current_dir(directory.path())
            .stdin(std::process::Stdio::null())
            .output()
            .expect("openssl is installed");
        !String::from_utf8_lossy(&output.stdout).contains("Cipher is (NONE)")
    };
    for name in ["api.example", "API.example", "api.example.", "127.0.0.1"] {
        assert!(serves(name), "{name}");
    }
    for name in ["api.example..", "*.example", "api_example", "api.example/x", "a b", "other.example."] {
        assert!(!serves(name), "{name}");
    }
}

/// What becomes of a request over HTTP/2: its line in the log if it was one, and what the upstream saw.
struct OverH2 {
    outcome: Outcome,
    line: Option<serde_json::Value>,
    upstream: Vec<String>,
}

async fn over_h2(fields: &[(&str, &str)]) -> OverH2 {
    let (upstream, requests) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let gateway = Setup { routes: EVERYTHING, ..Setup::in_front_of(upstream) }.start();
    let mut stream = gateway.connect(Some(&gateway.user()), &["h2"]).await.unwrap();
    let outcome = frames::send(&mut stream, fields).await;
    drop(stream);
    let line = (outcome == Outcome::Answered).then(|| gateway.line("request", |_| true));
    drop(gateway);
    OverH2 { outcome, line, upstream: requests.try_iter().collect() }
}

const EVERYTHING: &str = r#"
  - { path: "/**", methods: [GET], allow: [{ role: api-user }], upstream: api }
"#;

fn get(path: &str) -> [(&str, &str); 4] {
    [(":method", "GET"), (":scheme", "https"), (":authority", "g"), (":path", path)]
}

// H7, over both protocols.
#[tokio::test]
async fn the_path_that_is_judged_is_the_path_that_is_sent() {
    for path in [
        "/",
        "/a/",
        "/~user/a-b_c.d/...",
        "/jobs:cancel/@me/(x)/a=b,c+d&e!f$g'h*i",
        "/caf%C3%A9/100%25/a%20b/%7Bid%7D",
        "/a?",
        "/a?next=/../admin//;x&q=%2F%zz%00?",
    ] {
        let seen = over_h2(&get(path)).await;
        let wanted = format!("GET {path} HTTP/1.1\r\n");
        assert!(
            seen.upstream.len() == 1 && seen.upstream[0].starts_with(&wanted),
            "{path}: {:?}",
            seen.upstream
        );

        let (upstream, requests) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let gateway = Setup { routes: EVERYTHING, ..Setup::in_front_of(upstream) }.start();
        for target in [path.to_owned(), format!("https://g{path}")] {
            let request = format!("GET {target} HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n");
            gateway.raw(&gateway.user(), request).await;
            assert!(requests.try_recv().unwrap().starts_with(&wanted), "{target}");
        }
    }
}

// H7: the same cases over HTTP/1.1 are in `framing`.
#[tokio::test]
async fn an_ambiguous_path_reaches_no_upstream_over_http2() {
    for (path, code) in [
        ("//admin", Some("path.empty_segment")),
        ("/a//b", Some("path.empty_segment")),
        ("/./admin", Some("path.dot_segment")),
        ("/a/../admin", Some("path.dot_segment")),
        ("/a/..", Some("path.dot_segment")),
        ("/%61dmin", Some("path.encoded_unreserved")),
        ("/%2e%2e/admin", Some("path.encoded_unreserved")),
        ("/a%2Fb", Some("path.encoded_slash")),
        ("/a%5Cb", Some("path.encoded_slash")),
        ("/a;x=1/b", Some("path.parameters")),
        ("/a%3Bx", Some("path.encoded_delimiter")),
        ("/a%3Fx", Some("path.encoded_delimiter")),
        ("/a%23x", Some("path.encoded_delimiter")),
        ("/a%00", Some("path.encoded_control")),
        ("/%252e%252e/", Some("path.double_encoding")),
        ("/%zz", Some("path.bad_escape")),
        ("/%C0%AF", Some("path.not_utf8")),
        ("/caf%c3%a9", Some("path.lower_case_escape")),
        ("/a|b", Some("path.character")),
        ("*", None),
        ("", None),
        ("admin", None),
        ("http://g/admin", None),
        ("/a b", None),
        ("/a\r\nx: y", None),
        ("/a\0", None),
    ] {
        let seen = over_h2(&get(path)).await;
        assert!(seen.upstream.is_empty(), "{path:?}: {:?}", seen.upstream);
        match (code, seen.line) {
            (Some(code), Some(line)) => {
                assert_eq!((&line["status"], &line["reason"]), (&400.into(), &code.into()), "{path:?}");
            }
            (Some(_), None) => panic!("{path:?} was no request"),
            (None, Some(line)) => assert_eq!(line["status"], 400, "{path:?}"),
            (None, None) => assert_eq!(seen.outcome, Outcome::Refused),
        }
    }
}

// H7: what the parser cuts off is neither judged nor sent.
#[tokio::test]
async fn a_fragment_is_never_sent() {
    let seen = over_h2(&get("/a#b")).await;
    assert!(
        seen.upstream.iter().all(|request| request.starts_with("GET /a HTTP/1.1\r\n")),
        "{:?}",
        seen.upstream
    );
    let (upstream, requests) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let gateway = Setup { routes: EVERYTHING, ..Setup::in_front_of(upstream) }.start();
    gateway.raw(&gateway.user(), "GET /a#b?c HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n").await;
    assert!(requests.try_iter().all(|request| request.starts_with("GET /a HTTP/1.1\r\n")));
}

// H8.
#[tokio::test]
async fn methods_are_exact_over_http2_and_none_can_be_overridden() {
    for (method, status) in
        [("get", 403), ("Get", 403), ("HEAD", 403), ("POST", 403), ("BREW", 403), ("TRACE", 501)]
    {
        let mut fields = get("/a");
        fields[0].1 = method;
        let seen = over_h2(&fields).await;
        assert!(seen.upstream.is_empty(), "{method}: {:?}", seen.upstream);
        assert_eq!(seen.line.unwrap()["status"], status, "{method}");
    }
    let connect = over_h2(&[(":method", "CONNECT"), (":authority", "g:443")]).await;
    assert!(connect.upstream.is_empty());
    assert!(connect.line.is_none_or(|line| line["status"] == 501));
    for name in [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
        "x_http_method_override",
        "x-original-url",
        "x-rewrite-url",
    ] {
        let mut fields = get("/a").to_vec();
        fields.push((name, "DELETE"));
        let seen = over_h2(&fields).await;
        assert!(
            seen.upstream.len() == 1 && !seen.upstream[0].contains("DELETE"),
            "{name}: {:?}",
            seen.upstream
        );
        let (upstream, requests) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let gateway = Setup { routes: EVERYTHING, ..Setup::in_front_of(upstream) }.start();
        let request = format!("GET /a HTTP/1.1\r\nhost: g\r\n{name}: DELETE\r\nconnection: close\r\n\r\n");
        gateway.raw(&gateway.user(), request).await;
        assert!(!requests.try_recv().unwrap().contains("DELETE"), "{name}");
    }
}

// Envoy and Istio keep the scheme of a caller without TLS.
#[tokio::test]
async fn the_log_says_that_a_request_over_http2_claims_to_be_plain() {
    let mut fields = get("/a");
    fields[1].1 = "http";
    let seen = over_h2(&fields).await;
    let line = seen.line.unwrap();
    assert_eq!((&line["scheme"], &line["host"]), (&"http".into(), &"g".into()), "{line}");
    assert!(
        seen.upstream[0].to_ascii_lowercase().contains("x-forwarded-proto: https"),
        "{:?}",
        seen.upstream
    );
    let secure = over_h2(&get("/a")).await.line.unwrap();
    assert_eq!((secure.get("scheme"), &secure["host"]), (None, &"g".into()), "{secure}");
    let two_hosts = over_h2(&[get("/a").as_slice(), &[("host", "other")]].concat()).await.line.unwrap();
    assert_eq!(
        (&two_hosts["host"], &two_hosts["status"]),
        (&serde_json::Value::Null, &400.into()),
        "{two_hosts}"
    );
}

// H9, S7.
#[tokio::test]
async fn a_request_over_http2_is_well_formed_or_refused() {
    let sound = get("/a").to_vec();
    let with = |more: &[(&'static str, &'static str)]| [sound.as_slice(), more].concat();
    let without = |name: &str| sound.iter().copied().filter(|(given, _)| *given != name).collect::<Vec<_>>();
    for fields in [
        with(&[("host", "other")]),
        with(&[("host", "g"), ("host", "g")]),
        with(&[("host", "user@g")]),
        with(&[(":authority", "g")]),
        with(&[(":path", "/b")]),
        with(&[(":method", "GET")]),
        with(&[("x", "y"), (":path", "/b")]),
        with(&[(":protocol", "websocket")]),
        with(&[(":unknown", "x")]),
        with(&[("connection", "close")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("upgrade", "websocket")]),
        with(&[("keep-alive", "1")]),
        with(&[("te", "gzip")]),
        with(&[("X-Upper", "x")]),
        with(&[("x y", "z")]),
        with(&[("x", "a\r\nx-cluster-role: control-service")]),
        with(&[("x", "a\0")]),
        with(&[("content-length", "5")]),
        with(&[("content-length", "+5")]),
        with(&[("content-length", "0"), ("content-length", "5")]),
        without(":method"),
        without(":path"),
        without(":scheme"),
        without(":authority"),
    ] {
        let seen = over_h2(&fields).await;
        assert!(seen.upstream.is_empty(), "{fields:?}: {:?}", seen.upstream);
        if let Some(line) = seen.line {
            assert_eq!(line["status"], 400, "{fields:?}: {line}");
        }
    }
    // The same host twice, as long as both say the same.
    assert_eq!(over_h2(&with(&[("host", "g")])).await.upstream.len(), 1);
}

// S2: the parser makes one of two that are alike.
#[tokio::test]
async fn equal_lengths_become_one() {
    let (upstream, requests) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let gateway = Setup::in_front_of(upstream).start();
    let request = "POST /v1/a HTTP/1.1\r\nhost: g\r\ncontent-length: 5\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
    let answer = gateway.raw(&gateway.user(), request).await;
    let seen: Vec<_> = requests.try_iter().collect();
    if answer.starts_with("HTTP/1.1 400 ") {
        assert!(seen.is_empty(), "{seen:?}");
    } else {
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(seen[0].to_ascii_lowercase().matches("content-length: 5").count(), 1, "{seen:?}");
        assert!(seen[0].ends_with("\r\n\r\nhello"), "{seen:?}");
    }
}
