//! Connections to the service behind: which are used again, and what happens when one of them is dead.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;

use crate::frames;
use crate::harness::{Setup, TestGateway, patiently, read_until, request, request_h2};
use crate::upstreams::{read_request, scripted};

/// A service that answers every request with these bytes, and a count of the connections made to it.
fn counted(answer: &'static str, closes: bool) -> (SocketAddr, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let upstream = scripted(move |_, mut stream| {
        count.fetch_add(1, Ordering::SeqCst);
        while read_request(&mut stream).is_some() {
            stream.write_all(answer.as_bytes()).unwrap();
            if closes {
                return;
            }
        }
    });
    (upstream, connections)
}

/// A gateway with one worker, so that there is one pool.
fn one_pool(upstream: SocketAddr) -> TestGateway {
    Setup { threads: 1, ..Setup::in_front_of(upstream) }.start()
}

/// Each way in which the end of a response can be told (RFC 9112, section 6.3), by method and bytes.
const ENDS: [(&str, &str); 10] = [
    ("GET", "200 OK\r\ncontent-length: 2\r\n\r\nok"),
    ("GET", "200 OK\r\ncontent-length: 0\r\n\r\n"),
    ("GET", "200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("GET", "200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\nx-sum: 1\r\n\r\n"),
    ("GET", "200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("GET", "204 No Content\r\n\r\n"),
    ("GET", "304 Not Modified\r\ncontent-length: 9\r\n\r\n"),
    ("HEAD", "200 OK\r\ncontent-length: 9\r\n\r\n"),
    ("HEAD", "200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
    ("POST", "200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
];

#[tokio::test]
async fn a_response_read_to_its_end_is_complete_and_its_connection_is_used_again() {
    for (method, end) in ENDS {
        let (upstream, connections) = counted(format!("HTTP/1.1 {end}").leak(), false);
        let gateway = one_pool(upstream);
        let user = gateway.user();
        let (mut calls, _connection) = gateway.open_h2(&user).await;
        for _ in 0..3 {
            gateway.call(&user, request(method, "/v1/x", "")).await;
            let response = patiently(calls.send_request(request_h2(method, "/v1/x", ""))).await.unwrap();
            patiently(response.into_body().collect()).await.unwrap();
        }
        assert_eq!(connections.load(Ordering::SeqCst), 1, "{method} {end:?}");
        let lines = gateway.lines();
        let ended: Vec<_> = lines.iter().filter(|line| line["event"] == "request").collect();
        assert!(ended.iter().all(|line| line["reason"].is_null()), "{method} {end:?}: {ended:?}");
    }
}

#[tokio::test]
async fn a_response_that_ends_with_its_connection_is_complete() {
    let (upstream, connections) = counted("HTTP/1.1 200 OK\r\n\r\nok", true);
    let gateway = one_pool(upstream);
    let user = gateway.user();
    assert_eq!(gateway.call(&user, request("GET", "/v1/x", "")).await.body, "ok");
    assert_eq!(gateway.call_h2(&user, request_h2("GET", "/v1/x", "")).await.body, "ok");
    let old = "GET /v1/x HTTP/1.0\r\nhost: g\r\n\r\n";
    assert!(gateway.raw(&user, old).await.ends_with("\r\n\r\nok"));
    assert_eq!(connections.load(Ordering::SeqCst), 3);
    for version in 0..3 {
        let line = gateway.line("request", |line| line["status"] == 200);
        assert!(line["reason"].is_null(), "{version}: {line}");
    }
}

/// A cut after 200 streams that the caller ended must not come from responses that it read whole.
#[tokio::test]
async fn a_response_with_trailers_counts_as_read() {
    let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n";
    let (upstream, _) = counted(chunks, false);
    let gateway = one_pool(upstream);
    let (mut calls, _connection) = gateway.open_h2(&gateway.user()).await;
    for number in 0..210 {
        let response = patiently(calls.send_request(request_h2("GET", "/v1/x", ""))).await.unwrap();
        let body = patiently(response.into_body().collect()).await.unwrap();
        assert_eq!(body.trailers().unwrap()["x-sum"], "1", "{number}");
    }
}

#[tokio::test]
async fn a_request_body_read_to_its_end_leaves_the_connection_usable() {
    let (upstream, connections) = counted("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", false);
    let gateway = one_pool(upstream);
    let user = gateway.user();
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "g"),
        (":path", "/v1/x"),
        ("content-length", "5"),
    ];
    for _ in 0..3 {
        let mut stream = gateway.connect(Some(&user), &["h2"]).await.unwrap();
        frames::begin_with(&mut stream, 1, &fields, &[(frames::DATA, "hello", false)]).await;
        while frames::next(&mut stream).await.expect("a response") != (frames::HEADERS, 1) {}
        // As most clients end it.
        frames::end(&mut stream, 1).await;
        for body in ["2\r\nok\r\n0\r\n\r\n", "2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n"] {
            let mut stream = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
            let head =
                "POST /v1/x HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n";
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            read_until(&mut stream, "ok").await;
        }
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}
