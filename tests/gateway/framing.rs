//! Messages that could be read in two ways (the attack checklist's S and H cases), sent byte for byte.

use http::HeaderName;

use crate::harness::{Setup, TestGateway, request, request_h2};
use crate::upstreams::answering;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Sends `bytes`, and gives the statuses of all answers and every request that the upstream saw.
async fn send(bytes: &str) -> (Vec<u16>, Vec<String>) {
    let (upstream, requests) = answering(OK);
    let gateway = Setup::in_front_of(upstream).start();
    let answer = gateway.raw(&gateway.user(), bytes.replace('\n', "\r\n").replace("\r\r", "\r")).await;
    let statuses = answer.split("HTTP/1.1 ").skip(1).map(|part| part[..3].parse().unwrap()).collect();
    drop(gateway);
    (statuses, requests.try_iter().collect())
}

async fn is_refused(bytes: &str, status: u16) {
    let (statuses, requests) = send(bytes).await;
    assert_eq!(statuses, [status], "{bytes:?}");
    assert!(requests.is_empty(), "{bytes:?} reached the upstream: {requests:?}");
}

const END: &str = "GET /v1/end HTTP/1.1\nhost: g\nconnection: close\n\n";

#[tokio::test]
async fn a_request_with_two_lengths_reaches_the_upstream_once_or_not_at_all() {
    for fields in
        ["content-length: 4\ntransfer-encoding: chunked", "transfer-encoding: chunked\ncontent-length: 4"]
    {
        let smuggled = format!("POST /v1/a HTTP/1.1\nhost: g\n{fields}\n\n0\n\n{END}");
        let (statuses, requests) = send(&smuggled).await;
        assert!(requests.len() <= 1 && statuses.len() == 1, "{fields}: {statuses:?} {requests:?}");
        assert!(requests.iter().all(|request| !request.contains("/v1/end")), "{requests:?}");
        assert!(requests.iter().all(|request| !request.contains("content-length")), "{requests:?}");
    }
}

#[tokio::test]
async fn a_content_length_is_one_plain_number() {
    for length in
        ["5\ncontent-length: 6", "+5", "0x5", "5,5", "5, 6", "-1", "5 5", "", "99999999999999999999"]
    {
        is_refused(&format!("POST /v1/a HTTP/1.1\nhost: g\ncontent-length: {length}\n\nhello{END}"), 400)
            .await;
    }
}

#[tokio::test]
async fn a_transfer_encoding_is_chunked_and_nothing_else() {
    for coding in [
        "xchunked",
        "chunked, identity",
        "identity, chunked",
        "\"chunked \"",
        "chunked\ntransfer-encoding: chunked",
        "chunked\ntransfer-encoding: identity",
        "gzip, chunked",
        "chunked;a=b",
        "\x0bchunked",
    ] {
        let bytes = format!("POST /v1/a HTTP/1.1\nhost: g\ntransfer-encoding: {coding}\n\n0\n\n{END}");
        is_refused(&bytes, 400).await;
    }
    is_refused(&format!("POST /v1/a HTTP/1.0\nhost: g\ntransfer-encoding: chunked\n\n0\n\n{END}"), 400).await;
}

#[tokio::test]
async fn a_field_has_one_line_one_name_and_no_control_characters() {
    for field in [
        "x-a : b",
        "x a: b",
        "x-a: b\n folded",
        " x-a: b",
        "x-a: \0",
        "x-a\0: b",
        "x-a: a\rb",
        ": b",
        "x-a",
        "x-(a): b",
    ] {
        is_refused(&format!("GET /v1/a HTTP/1.1\nhost: g\n{field}\n\n{END}"), 400).await;
    }
}

#[tokio::test]
async fn a_request_has_exactly_one_host() {
    for bytes in [
        "GET /v1/a HTTP/1.1\n\n",
        "GET /v1/a HTTP/1.1\nhost: g\nhost: g\n\n",
        "GET /v1/a HTTP/1.1\nhost: g\nHost: h\n\n",
        "GET /v1/a HTTP/1.1\nhost: user@g\n\n",
        "GET /v1/a HTTP/1.1\nhost: g, h\n\n",
        "GET /v1/a HTTP/1.1\nhost: \n\n",
        "GET http://other/v1/a HTTP/1.1\nhost: g\n\n",
    ] {
        is_refused(&format!("{bytes}{END}"), 400).await;
    }
}

#[tokio::test]
async fn a_path_that_could_be_read_in_two_ways_is_refused() {
    for path in [
        "//v1/a",
        "/./v1/a",
        "/v1/../v1/a",
        "/%76%31/a",
        "/v1/%2e%2e/a",
        "/v1%2Fa",
        "/v1%5Ca",
        "/v1\\a",
        "/v1/a;x=1",
        "/v1/%00",
        "/v1/%zz",
        "/v1/%252e",
        "/v1/%c0%af",
        "*",
        "/v1/a/..",
        "/v1/%3fa",
    ] {
        is_refused(&format!("GET {path} HTTP/1.1\nhost: g\nconnection: close\n\n{END}"), 400).await;
    }
}

#[tokio::test]
async fn connect_and_trace_are_off_and_methods_are_case_sensitive() {
    is_refused("CONNECT g:443 HTTP/1.1\nhost: g:443\n\n", 501).await;
    is_refused("TRACE /v1/a HTTP/1.1\nhost: g\nconnection: close\n\n", 501).await;
    is_refused("get /v1/a HTTP/1.1\nhost: g\nconnection: close\n\n", 403).await;
    is_refused("PATCH /v1/a HTTP/1.1\nhost: g\nconnection: close\n\n", 403).await;
}

#[tokio::test]
async fn broken_chunks_end_the_request() {
    for body in ["x\nhello\n0\n\n", "-5\nhello\n0\n\n", "FFFFFFFFFFFFFFFFF\nhello", "5\nhelloX0\n\n"] {
        let bytes = format!("POST /v1/a HTTP/1.1\nhost: g\ntransfer-encoding: chunked\n\n{body}{END}");
        let (statuses, requests) = send(&bytes).await;
        assert!(statuses.iter().all(|status| *status == 400), "{body:?}: {statuses:?}");
        assert!(requests.is_empty(), "{body:?}: {requests:?}");
    }
}

#[tokio::test]
async fn every_message_is_framed_anew() {
    let chunked = "POST /v1/a HTTP/1.1\nhost: g\ntransfer-encoding: CHUNKED\n\n5;ext=1\nhello\n0\n\n";
    let (statuses, requests) = send(&format!("{chunked}{END}")).await;
    assert_eq!(statuses, [200, 200]);
    assert!(requests[0].contains("transfer-encoding: chunked"), "{}", requests[0]);
    assert!(requests[0].ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{}", requests[0]);

    let (_, requests) = send(&format!("POST /v1/a HTTP/1.1\nhost: g\ncontent-length: 0\n\n{END}")).await;
    assert!(requests[0].contains("content-length: 0\r\n"), "{}", requests[0]);

    let padded = "POST /v1/a HTTP/1.1\nhost: g\ncontent-length: 005\n\nhello";
    let (statuses, requests) = send(&format!("{padded}{END}")).await;
    assert_eq!(statuses, [200, 200]);
    assert!(requests[0].contains("content-length: 5\r\n"), "{}", requests[0]);

    // HTTP/1.0, absolute form and a fragment leave as HTTP/1.1 in origin form.
    let (_, requests) = send("GET https://g/v1/a?b#c HTTP/1.0\nhost: g\n\n").await;
    assert!(requests[0].starts_with("GET /v1/a?b HTTP/1.1\r\n"), "{}", requests[0]);
}

#[tokio::test]
async fn headers_over_the_limit_are_431_and_bodies_over_the_limit_413() {
    let (upstream, requests) = answering(OK);
    let setup = Setup {
        more: "limits: { header_bytes: 8KiB, request_body: 1KiB }\n",
        ..Setup::in_front_of(upstream)
    };
    let gateway = setup.start();
    let user = gateway.user();
    let long = "a".repeat(9_000);
    let answer = gateway.raw(&user, format!("GET /v1/a HTTP/1.1\r\nhost: g\r\nx: {long}\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    gateway.line("request_malformed", |_| true);
    let answer = gateway
        .raw(&user, "POST /v1/a HTTP/1.1\r\nhost: g\r\nconnection: close\r\ncontent-length: 1025\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(requests.try_iter().next().is_none());
    let chunk = format!("401\r\n{}\r\n0\r\n\r\n", "a".repeat(0x401));
    let head = "POST /v1/a HTTP/1.1\r\nhost: g\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = gateway.raw(&user, format!("{head}{chunk}")).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let body: &'static str = "a".repeat(1_025).leak();
    assert_eq!(gateway.call_h2(&user, request_h2("POST", "/v1/a", body)).await.status, 413);
    assert_eq!(gateway.call(&user, request("POST", "/v1/a", &body[..1_024])).await.status, 200);
}

#[tokio::test]
async fn a_request_has_at_most_100_fields_in_every_version() {
    let (upstream, requests) = answering(OK);
    let gateway = Setup::in_front_of(upstream).start();
    let user = gateway.user();
    for (fields, status) in [(99, 200), (100, 431)] {
        let lines: String = (0..fields).map(|number| format!("x-{number}: y\r\n")).collect();
        let head = format!("GET /v1/a HTTP/1.1\r\nhost: g\r\n{lines}connection: close\r\n\r\n");
        let head = head.replacen("x-0: y\r\n", "", 1);
        let answer = gateway.raw(&user, head).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{fields}: {answer}");
        let mut request = request_h2("GET", "/v1/a", "");
        for number in 0..=fields {
            request
                .headers_mut()
                .append(HeaderName::try_from(format!("x-{number}")).unwrap(), "y".parse().unwrap());
        }
        assert_eq!(gateway.call_h2(&user, request).await.status, status, "{fields}");
    }
    let mut request = request_h2("GET", "/v1/a", "");
    for _ in 0..200 {
        request.headers_mut().append("cookie", "a=b".parse().unwrap());
    }
    assert_eq!(gateway.call_h2(&user, request).await.status, 200, "cookies become one field");
    assert_eq!(requests.try_iter().count(), 3);
}

#[tokio::test]
async fn what_is_no_request_leaves_a_line_with_the_caller() {
    let gateway = TestGateway::start();
    let answer = gateway.raw(&gateway.user(), "\x16\x03\x01 no request\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let line = gateway.line("request_malformed", |_| true);
    assert_eq!((&line["role"], &line["name"]), (&"api-user".into(), &"alice".into()));
}
