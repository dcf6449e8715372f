//! Connections to the service behind: which are used again, and what happens when one of them is dead.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Barrier};

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

/// A service that answers the first request of each connection, and to the second one says only `last_words` and
/// closes. It passes on every request it got.
fn dying(last_words: &'static str) -> (SocketAddr, Receiver<String>) {
    let (sender, received) = channel();
    let upstream = scripted(move |_, mut stream| {
        for answer in ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", last_words] {
            let Some(request) = read_request(&mut stream) else { return };
            sender.send(request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (upstream, received)
}

#[tokio::test]
async fn a_connection_that_dies_under_an_idempotent_request_costs_no_answer() {
    let (upstream, received) = dying("");
    let gateway = one_pool(upstream);
    let user = gateway.user();
    for method in ["GET", "GET", "PUT", "DELETE", "GET"] {
        let answer = gateway.call(&user, request(method, "/v1/x", "")).await;
        assert_eq!(answer.status, 200, "{method}: {answer:?}");
    }
    // The first request of a connection is answered, and each other one has to be sent again.
    assert_eq!(received.try_iter().count(), 9);
}

#[tokio::test]
async fn a_request_that_may_have_taken_effect_is_not_sent_again() {
    for (method, body, last_words) in [
        ("POST", "", ""),
        ("PUT", "hello", ""),
        // A byte of a response has come.
        ("GET", "", "H"),
        ("GET", "", "HTTP/1.1 103 Early Hints\r\n\r\n"),
    ] {
        let (upstream, received) = dying(last_words);
        let gateway = one_pool(upstream);
        let user = gateway.user();
        assert_eq!(gateway.call(&user, request("GET", "/v1/x", "")).await.status, 200);
        let answer = gateway.call(&user, request(method, "/v1/x", body)).await;
        let wanted = (502, &"upstream.unanswered".into());
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), wanted, "{method} {last_words:?}");
        assert_eq!(received.try_iter().count(), 2, "{method} {last_words:?}");
    }
}

#[tokio::test]
async fn a_request_is_sent_again_once_and_on_a_new_connection() {
    // The first two connections answer once. Each one after them answers nothing.
    let (sender, received) = channel();
    let both = Barrier::new(2);
    let upstream = scripted(move |number, mut stream| {
        for answered in [true, false] {
            let Some(_) = read_request(&mut stream) else { return };
            sender.send(number).unwrap();
            if number > 1 || !answered {
                return;
            }
            both.wait();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
        }
    });
    let gateway = one_pool(upstream);
    let user = gateway.user();
    // Two connections, both idle afterwards.
    let (mut one, _connection) = gateway.open_h2(&user).await;
    let first = one.send_request(request_h2("GET", "/v1/x", ""));
    let second = one.clone().send_request(request_h2("GET", "/v1/x", ""));
    let (first, second) = patiently(async { tokio::join!(first, second) }).await;
    for response in [first, second] {
        patiently(response.unwrap().into_body().collect()).await.unwrap();
    }
    received.try_iter().for_each(drop);
    let answer = gateway.call(&user, request("GET", "/v1/x", "")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (502, &"upstream.unanswered".into()));
    let sent: Vec<_> = received.try_iter().collect();
    assert!(matches!(sent[..], [0 | 1, 2]), "{sent:?}");
}

#[tokio::test]
async fn a_connection_is_used_no_longer_than_the_upstream_announces() {
    for (announced, connections) in [("timeout=0", 3), ("timeout=60", 1)] {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nkeep-alive: {announced}\r\n\r\nok");
        let (upstream, count) = counted(head.leak(), false);
        let gateway = one_pool(upstream);
        for _ in 0..3 {
            let answer = gateway.call(&gateway.user(), request("GET", "/v1/x", "")).await;
            assert!(!answer.headers.contains_key("keep-alive"), "{answer:?}");
        }
        assert_eq!(count.load(Ordering::SeqCst), connections, "{announced}");
    }
}
