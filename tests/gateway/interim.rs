//! Interim responses, and the head of responses: what the service behind decides, and what reaches the caller.

use std::io::{Read, Write};
use std::sync::mpsc::channel;

use tokio::io::AsyncWriteExt;

use crate::eventually::PATIENCE;
use crate::harness::{Setup, read_until, request_h2};
use crate::upstreams::{answering, read_request, scripted};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The head of a POST whose caller waits to be asked for the body.
fn waiting(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: g\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
}

#[tokio::test]
async fn the_upstream_decides_whether_a_caller_is_asked_for_its_body() {
    let (sender, received) = channel();
    let upstream = scripted(move |_, mut stream| {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(char::from(byte[0]));
        }
        if head.contains("/v1/refused") {
            sender.send(head).unwrap();
            let refusal = b"HTTP/1.1 417 Expectation Failed\r\ncontent-length: 2\r\n\r\nno";
            stream.write_all(refusal).unwrap();
            // Nothing of the body may follow.
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            sender.send(String::from_utf8(rest).unwrap()).unwrap();
            return;
        }
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        let mut body = [0; 5];
        stream.read_exact(&mut body).unwrap();
        sender.send(head + std::str::from_utf8(&body).unwrap()).unwrap();
        stream.write_all(OK.as_bytes()).unwrap();
    });
    let gateway = Setup::in_front_of(upstream).start();
    let user = gateway.user();
    let mut stream = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
    stream.write_all(waiting("/v1/x").as_bytes()).await.unwrap();
    let seen = read_until(&mut stream, "\r\n\r\n").await;
    assert_eq!(seen, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    assert!(read_until(&mut stream, "ok").await.starts_with("HTTP/1.1 200 "));
    let sent = received.recv_timeout(PATIENCE).unwrap();
    assert!(sent.contains("expect: 100-continue\r\n") && sent.ends_with("hello"), "{sent}");

    let answer = gateway.raw(&user, waiting("/v1/refused")).await;
    assert!(answer.starts_with("HTTP/1.1 417 ") && answer.contains("connection: close"), "{answer}");
    assert!(received.recv_timeout(PATIENCE).unwrap().contains("expect: 100-continue\r\n"));
    assert_eq!(received.recv_timeout(PATIENCE).unwrap(), "", "the body of a refused request");

    let answer = gateway.raw(&user, waiting("/v2/x")).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn an_upstream_that_asks_for_nothing_gets_the_body_after_a_while() {
    let (upstream, requests) = answering(OK);
    let gateway = Setup::in_front_of(upstream).start();
    let mut stream = gateway.connect(Some(&gateway.user()), &["http/1.1"]).await.unwrap();
    stream.write_all(waiting("/v1/x").as_bytes()).await.unwrap();
    assert!(read_until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 100 "));
    stream.write_all(b"hello").await.unwrap();
    assert!(read_until(&mut stream, "ok").await.starts_with("HTTP/1.1 200 "));
    assert!(requests.recv_timeout(PATIENCE).unwrap().ends_with("hello"));
}

#[tokio::test]
async fn interim_responses_reach_http1_callers_before_the_final_one() {
    let (release, released) = channel::<()>();
    let released = std::sync::Mutex::new(released);
    let upstream = scripted(move |_, mut stream| {
        while let Some(request) = read_request(&mut stream) {
            stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n").unwrap();
            stream.write_all(b"link: </a>; rel=preload\r\nx-cluster-role: forged\r\n\r\n").unwrap();
            if request.starts_with("GET /v1/late") {
                released.lock().unwrap().recv().unwrap();
            }
            stream.write_all(OK.as_bytes()).unwrap();
        }
    });
    let gateway = Setup { more: "http1_title_case: true\n", ..Setup::in_front_of(upstream) }.start();
    let user = gateway.user();
    let hints = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";
    let mut stream = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
    for path in ["/v1/late", "/v1/x", "/v1/late"] {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: g\r\n\r\n").as_bytes()).await.unwrap();
        let mut seen = String::new();
        if path == "/v1/late" {
            // While the final response is still to come.
            seen = read_until(&mut stream, "preload\r\n\r\n").await;
            release.send(()).unwrap();
        }
        seen += &read_until(&mut stream, "\r\n\r\nok").await;
        assert!(seen.starts_with(&format!("{hints}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n")), "{seen}");
        assert!(seen.contains("\r\nX-Request-Id: "), "{seen}");
    }
    // HTTP/1.0 has none, and an HTTP/2 caller gets the final response alone.
    let old = gateway.raw(&user, "GET /v1/x HTTP/1.0\r\nhost: g\r\n\r\n").await;
    assert!(old.contains(" 200 OK\r\n") && !old.contains("Early Hints"), "{old}");
    assert_eq!(gateway.call_h2(&user, request_h2("GET", "/v1/x", "")).await.status, 200);
}

#[tokio::test]
async fn a_response_with_too_many_fields_is_refused_by_name() {
    let answer = |fields: usize| {
        let more: String = (1..fields).map(|number| format!("x-{number}: y\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{more}\r\nok")
    };
    for (options, fields, status) in [
        ("", 100, 200),
        ("", 101, 502),
        (", response_fields: 300", 300, 200),
        (", response_fields: 300", 301, 502),
    ] {
        let (upstream, _requests) = answering(answer(fields).leak());
        let gateway = Setup { upstream_options: options, ..Setup::in_front_of(upstream) }.start();
        let get = "GET /v1/x HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n";
        let seen = gateway.raw(&gateway.user(), get).await;
        assert!(seen.starts_with(&format!("HTTP/1.1 {status} ")), "{options} {fields}: {seen}");
        assert_eq!(seen.contains("\"upstream.header_too_large\""), status == 502, "{seen}");
    }
}
