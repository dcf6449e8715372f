//! The end of HTTP/1.1 connections: answers that must arrive although the caller still sends, callers that end their
//! side, and connections that drain.

use std::io::{Read, Write};
use std::sync::mpsc::channel;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::eventually::eventually;
use crate::harness::{Setup, TestGateway, Tls, patiently, read_until};
use crate::upstreams::{answering, read_request, scripted};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Sends a whole request.
async fn send(stream: &mut Tls, head: &str, body: &[u8]) {
    stream.write_all(head.as_bytes()).await.unwrap();
    for part in body.chunks(16 << 10) {
        patiently(stream.write_all(part)).await.unwrap();
    }
}

/// What arrives when a caller sends all of its request before it reads, as most do. The end must be clean.
async fn send_then_read(mut stream: Tls, head: &str, body: &[u8]) -> String {
    send(&mut stream, head, body).await;
    let mut answer = String::new();
    patiently(stream.read_to_string(&mut answer)).await.unwrap();
    answer.to_ascii_lowercase()
}

#[tokio::test]
async fn a_refusal_during_an_upload_arrives() {
    let (upstream, _requests) = answering(OK);
    let gateway = Setup { more: "limits: { request_body: 64KiB }\n", ..Setup::in_front_of(upstream) }.start();
    let user = gateway.user();
    let body = vec![b'x'; 4 << 20];
    let chunked = [b"400000\r\n".as_slice(), &body, b"\r\n0\r\n\r\n"].concat();
    let (length, chunks) = ("content-length: 4194304", "transfer-encoding: chunked");
    for (path, framing, body, status) in [
        ("/v2/x", length, &body, "403"),
        ("/v2/x", chunks, &chunked, "403"),
        ("/v1/x", length, &body, "413"),
        ("/v1/x", chunks, &chunked, "413"),
        ("/.well-known/cluster/crl", length, &body, "405"),
        ("/v1//x", length, &body, "400"),
    ] {
        let stream = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: g\r\n{framing}\r\n\r\n");
        let answer = send_then_read(stream, &head, body).await;
        assert!(answer.starts_with(&format!("http/1.1 {status} ")), "{path} {framing}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{path} {framing}: {answer}");
        assert!(answer.ends_with("}\n"), "{path} {framing}: {answer}");
    }
    // A header that is too large is refused while the rest of it is on its way.
    let stream = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
    let answer = send_then_read(stream, "GET /v1/x HTTP/1.1\r\nx: ", &body).await;
    assert!(answer.starts_with("http/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn an_early_answer_of_the_upstream_arrives() {
    for (end, body) in [("content-length: 2", "no"), ("transfer-encoding: chunked", "2\r\nno\r\n0\r\n\r\n")] {
        for staged in [true, false] {
            // With `staged`, as RFC 9112 has it; otherwise with a reset, since most of the request is unread.
            let upstream = scripted(move |_, mut stream| {
                let _ = stream.read(&mut [0; 1_024]);
                let head = format!("HTTP/1.1 409 Conflict\r\n{end}\r\nconnection: close\r\n\r\n{body}");
                stream.write_all(head.as_bytes()).unwrap();
                if staged {
                    stream.shutdown(std::net::Shutdown::Write).unwrap();
                    while matches!(stream.read(&mut [0; 1 << 16]), Ok(1..)) {}
                }
            });
            let gateway = Setup::in_front_of(upstream).start();
            for _ in 0..5 {
                let mut stream = gateway.connect(Some(&gateway.user()), &["http/1.1"]).await.unwrap();
                let head = "POST /v1/x HTTP/1.1\r\nhost: g\r\ncontent-length: 4194304\r\n\r\n";
                send(&mut stream, head, &vec![b'x'; 4 << 20]).await;
                let whole = if end.starts_with("transfer") { "\r\n0\r\n\r\n" } else { "\r\n\r\nno" };
                let answer = read_until(&mut stream, whole).await.to_ascii_lowercase();
                assert!(answer.starts_with("http/1.1 409 "), "{end} {staged}: {answer}");
                // Without it, all of the body was on its way before the response came.
                if answer.contains("connection: close\r\n") {
                    let rest = patiently(stream.read_to_end(&mut Vec::new())).await;
                    assert_eq!(rest.unwrap(), 0, "{end} {staged}");
                }
            }
            assert!(gateway.lines().iter().all(|line| line["reason"].is_null()), "{end} {staged}");
        }
    }
}

#[tokio::test]
async fn a_refusal_leaves_the_connection_usable_or_says_close() {
    let gateway = TestGateway::start();
    let user = gateway.user();
    let head = "POST /v2/x HTTP/1.1\r\nhost: g\r\ncontent-length: 5\r\n";
    let whoami = "GET /.well-known/cluster/whoami HTTP/1.1\r\nhost: g\r\n\r\n";

    let mut stream = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
    stream.write_all(format!("{head}\r\nhello").as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "}\n").await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && !answer.contains("close"), "{answer}");
    stream.write_all(whoami.as_bytes()).await.unwrap();
    assert!(read_until(&mut stream, "}\n").await.starts_with("HTTP/1.1 200 "));

    // The body comes after the header, as from most libraries.
    let mut stream = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let answer = read_until(&mut stream, "}\n").await;
    if !answer.contains("connection: close") {
        stream.write_all(whoami.as_bytes()).await.unwrap();
        assert!(read_until(&mut stream, "}\n").await.starts_with("HTTP/1.1 200 "));
    }

    // A caller that is not asked to go on may send its body or not.
    let stream = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
    let answer = send_then_read(stream, &format!("{head}expect: 100-continue\r\n\r\n"), b"").await;
    assert!(answer.starts_with("http/1.1 403 ") && answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_caller_that_ends_its_side_gets_its_answer() {
    let (release, released) = channel::<()>();
    let released = std::sync::Mutex::new(released);
    let upstream = scripted(move |_, mut stream| {
        while let Some(request) = read_request(&mut stream) {
            if !request.starts_with("GET /v1/now") {
                released.lock().unwrap().recv().unwrap();
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate").unwrap();
        }
    });
    let gateway = Setup::in_front_of(upstream).start();
    let user = gateway.user();
    for request in [
        "GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n",
        "GET /v1/x HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n",
        "POST /v1/x HTTP/1.1\r\nhost: g\r\ncontent-length: 3\r\n\r\nabc",
    ] {
        let mut stream = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        patiently(stream.shutdown()).await.unwrap();
        // Meanwhile, others are served.
        assert_eq!(gateway.get(&user, "/v1/now").await.body, "late");
        release.send(()).unwrap();
        let mut answer = String::new();
        patiently(stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.ends_with("late"), "{request:?}: {answer}");
    }
    // Half a request is none.
    let mut stream = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
    stream.write_all(b"POST /v1/x HTTP/1.1\r\nhost: g\r\ncontent-length: 3\r\n\r\na").await.unwrap();
    patiently(stream.shutdown()).await.unwrap();
    let mut answer = String::new();
    let _ = patiently(stream.read_to_string(&mut answer)).await;
    assert!(!answer.contains("200"), "{answer}");
    gateway.line("request", |line| {
        line["reason"] == "request.body_broken" || line["reason"] == "downstream.aborted"
    });
}

#[tokio::test]
async fn a_request_sent_while_another_one_is_served_is_answered_next() {
    let (release, released) = channel::<()>();
    let released = std::sync::Mutex::new(released);
    let (seen, has_seen) = channel();
    let upstream = scripted(move |_, mut stream| {
        while let Some(request) = read_request(&mut stream) {
            seen.send(()).unwrap();
            released.lock().unwrap().recv().unwrap();
            let path = request.split(' ').nth(1).unwrap();
            let length = path.len();
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{path}").unwrap();
        }
    });
    let gateway = Setup::in_front_of(upstream).start();
    let mut stream = gateway.connect(Some(&gateway.user()), &["http/1.1"]).await.unwrap();
    stream.write_all(b"GET /v1/one HTTP/1.1\r\nhost: g\r\n\r\n").await.unwrap();
    has_seen.recv_timeout(crate::eventually::PATIENCE).unwrap();
    stream.write_all(b"GET /v1/two HTTP/1.1\r\nhost: g\r\n\r\n").await.unwrap();
    patiently(stream.shutdown()).await.unwrap();
    (0..2).for_each(|_| release.send(()).unwrap());
    let mut answers = String::new();
    patiently(stream.read_to_string(&mut answers)).await.unwrap();
    assert!(answers.contains("/v1/one") && answers.ends_with("/v1/two"), "{answers}");
}

#[tokio::test]
async fn a_connection_without_a_request_may_still_send_one_when_the_gateway_drains() {
    let (upstream, _requests) = answering(OK);
    let gateway = Setup::in_front_of(upstream).start();
    let user = gateway.user();
    let mut fresh = Vec::new();
    for _ in 0..4 {
        fresh.push(gateway.connect(Some(&user), &["http/1.1"]).await.unwrap());
    }
    eventually("the handshakes are over", || (gateway.status()["connections"] == 4).then_some(()));
    gateway.running().drain();
    let mut silent = fresh.pop().unwrap();
    for (mut stream, (path, status)) in
        fresh.into_iter().zip([("/v1/x", 200), ("/v2/x", 403), ("/v1//x", 400)])
    {
        let post = format!("POST {path} HTTP/1.1\r\nhost: g\r\ncontent-length: 2\r\n\r\nok");
        stream.write_all(post.as_bytes()).await.unwrap();
        let mut answer = String::new();
        patiently(stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{path}: {answer}");
    }
    assert_eq!(patiently(silent.read(&mut [0])).await.unwrap(), 0, "it was silent for too long");
}
