//! Content on methods that give it no meaning (RFC 9110, section 9.3): servers that leave it unread take it for the
//! next request.

use std::io::Write;
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use crate::explain::{explain, run};
use crate::frames::{self, DATA, HEADERS};
use crate::harness::{Setup, TestGateway, request, request_h2};
use crate::upstreams::{answering, scripted};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

const ROUTES: &str = r#"
  - { path: "/v1/open", methods: [GET, HEAD, DELETE, OPTIONS], allow: [{ role: api-user }], upstream: api, body: allowed }
  - { path: "/v1/**", methods: [GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS], allow: [{ role: api-user }], upstream: api }
"#;

const LENGTH: &str = "content-length: 5\r\n\r\nhello";
const CHUNKED: &str = "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
const NO_CHUNKS: &str = "transfer-encoding: chunked\r\n\r\n0\r\n\r\n";

fn start() -> (TestGateway, Receiver<String>) {
    let (upstream, requests) = answering(OK);
    let setup = Setup { routes: ROUTES, ..Setup::in_front_of(upstream) };
    (setup.start(), requests)
}

async fn raw(gateway: &TestGateway, method: &str, path: &str, rest: &str) -> String {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: g\r\nconnection: close\r\n");
    gateway.raw(&gateway.user(), format!("{head}{rest}")).await
}

#[tokio::test]
async fn content_without_a_meaning_is_refused() {
    let (gateway, requests) = start();
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        for rest in [LENGTH, CHUNKED, NO_CHUNKS] {
            let answer = raw(&gateway, method, "/v1/x", rest).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{method} {rest:?}: {answer}");
            assert_eq!(answer.contains("policy.content_not_allowed"), method != "HEAD", "{answer}");
        }
        let answer = raw(&gateway, method, "/v1/x", "content-length: 0\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "no content: {answer}");
        assert!(requests.recv().unwrap().starts_with(method));
    }
    let line = gateway.line("request", |line| line["status"] == 400);
    assert_eq!((&line["decision"], &line["rule"]), (&"deny".into(), &"routes[1] (line 10)".into()), "{line}");
    assert_eq!(line["reason"], "policy.content_not_allowed");
    for method in ["POST", "PUT", "PATCH"] {
        let answer = raw(&gateway, method, "/v1/x", CHUNKED).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{method}: {answer}");
        assert!(requests.recv().unwrap().contains("hello"));
    }
    assert!(requests.try_recv().is_err());
    // The policy comes first: its answer does not depend on the content.
    let answer = raw(&gateway, "GET", "/elsewhere", CHUNKED).await;
    assert!(answer.contains("policy.no_route"), "{answer}");
}

#[tokio::test]
async fn content_without_a_meaning_is_refused_on_http2() {
    let (gateway, requests) = start();
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        let answer = gateway.call_h2(&gateway.user(), request_h2(method, "/v1/x", "hello")).await;
        assert_eq!(answer.status, 400, "{method}");
        let answer = gateway.call_h2(&gateway.user(), request_h2(method, "/v1/x", "")).await;
        assert_eq!(answer.status, 200, "{method}");
        requests.recv().unwrap();
    }
    assert!(requests.try_recv().is_err());
    // The end of the stream decides, which may come in a frame of its own.
    for (frames, status) in [
        (&[(DATA, "", true)][..], "200"),
        (&[(DATA, "", false), (DATA, "", true)], "200"),
        (&[(DATA, "", false), (DATA, "x", true)], "400"),
        (&[(DATA, "x", false)], "400"),
        (&[(HEADERS, "", true)], "400"),
    ] {
        let mut stream = gateway.connect(Some(&gateway.user()), &["h2"]).await.unwrap();
        let fields = [(":method", "GET"), (":scheme", "https"), (":authority", "g"), (":path", "/v1/x")];
        frames::begin_with(&mut stream, 1, &fields, frames).await;
        assert_eq!(frames::status(&mut stream).await, status, "{frames:?}");
    }
    assert_eq!(requests.try_iter().count(), 2);
}

/// A service that answers without reading a body, and says which connection a request came on.
fn ignoring_bodies() -> (std::net::SocketAddr, Receiver<(usize, String)>) {
    let (sender, received) = channel();
    let address = scripted(move |number, mut stream| {
        let mut seen = Vec::new();
        loop {
            let text = String::from_utf8(seen.clone()).unwrap();
            if let Some((head, rest)) = text.split_once("\r\n\r\n") {
                let closes = head.contains("connection: close");
                let _ = sender.send((number, head.to_owned()));
                if stream.write_all(OK.as_bytes()).is_err() || closes {
                    return;
                }
                seen = rest.as_bytes().to_vec();
                continue;
            }
            let mut some = [0; 4_096];
            match std::io::Read::read(&mut stream, &mut some) {
                Ok(0) | Err(_) => return,
                Ok(length) => seen.extend_from_slice(&some[..length]),
            }
        }
    });
    (address, received)
}

#[tokio::test]
async fn content_that_a_route_allows_is_never_the_next_request_of_a_connection() {
    const FORGED: &str =
        "GET /admin HTTP/1.1\r\nhost: g\r\nx-cluster-role: control-service\r\nx-cluster-name: root\r\n\r\n";
    let (upstream, requests) = ignoring_bodies();
    let gateway = Setup { routes: ROUTES, threads: 1, ..Setup::in_front_of(upstream) }.start();
    assert_eq!(gateway.get(&gateway.user(), "/v1/x").await.status, 200);
    let (first, _) = requests.recv().unwrap();
    for calls in 0..2 {
        let answer = match calls {
            0 => gateway.call(&gateway.user(), request("GET", "/v1/open", FORGED)).await,
            _ => gateway.call_h2(&gateway.user(), request_h2("GET", "/v1/open", FORGED)).await,
        };
        assert_eq!(answer.status, 200);
        let (used, head) = requests.recv().unwrap();
        assert!(head.starts_with("GET /v1/open ") && head.contains("connection: close"), "{head}");
        assert_eq!(gateway.get(&gateway.user(), "/v1/x").await.status, 200);
        let (next, head) = requests.recv().unwrap();
        assert!(head.starts_with("GET /v1/x ") && !head.contains("connection:"), "{head}");
        assert_ne!(next, used, "a connection of its own after {first}");
    }
}

#[tokio::test]
async fn explain_replay_and_check_know_of_content() {
    let (gateway, _requests) = start();
    let directory = gateway.path("");
    gateway.user().write(&directory, "caller");
    for (line, code, permitted) in [
        ("GET /v1/x", Value::Null, true),
        ("GET /v1/x --body", "policy.content_not_allowed".into(), false),
        ("DELETE /v1/x --body", "policy.content_not_allowed".into(), false),
        ("POST /v1/x --body", Value::Null, true),
        ("GET /v1/open --body", Value::Null, true),
        ("GET /elsewhere --body", "policy.no_route".into(), false),
    ] {
        let (line, more) =
            line.split_once(" --body").map_or((line, &[][..]), |(line, _)| (line, &["--body"]));
        let (exit, said) = explain(&directory, Some("caller.crt"), line, more);
        assert_eq!((exit, &said["code"]), (i32::from(!permitted), &code), "{line}: {said}");
        let (method, path) = line.split_once(' ').unwrap();
        let body = if more.is_empty() { "" } else { "hello" };
        let answer = gateway.call(&gateway.user(), request(method, path, body)).await;
        let status = said["status"].as_u64().unwrap_or(200);
        assert_eq!(u64::from(answer.status.as_u16()), status, "{line}: {said}");
    }
    let log: Vec<_> = gateway.lines().iter().map(ToString::to_string).collect();
    std::fs::write(directory.join("access.log"), log.join("\n")).unwrap();
    let (exit, text, _) = run(&directory, &["replay", "access.log", "--config", "gateway.yaml"]);
    assert_eq!(exit, 0, "the same policy decides the same: {text}");
    let strict = std::fs::read_to_string(directory.join("gateway.yaml")).unwrap();
    std::fs::write(directory.join("strict.yaml"), strict.replace(", body: allowed", "")).unwrap();
    let (exit, text, _) = run(&directory, &["replay", "access.log", "--config", "strict.yaml"]);
    assert_eq!(exit, 1);
    assert!(
        text.contains("GET /v1/open: permit (api) -> deny (policy.content_not_allowed) by routes[0]"),
        "{text}"
    );
    assert!(text.contains("1 request(s) decided differently"), "{text}");
    let (exit, text, said) = run(&directory, &["check", "--config", "gateway.yaml"]);
    assert_eq!(exit, 0, "{said}");
    assert!(text.contains("gives it no meaning: /v1/open for GET, HEAD, DELETE, OPTIONS.\n"), "{text}");
}
