//! Responses that come to a standstill, on either side.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::eventually::PATIENCE;
use crate::harness::{Calls, Setup, TestGateway, patiently, read_until, request_h2};
use crate::upstreams::{read_request, scripted, until_full};

/// A gateway that waits a second for either side.
fn impatient(upstream: SocketAddr) -> TestGateway {
    let more = "limits: { stall_timeout: 1s, idle_timeout: 1s }\n";
    Setup { more, ..Setup::in_front_of(upstream) }.start()
}

/// A service that never stops sending, and says when it can send no more.
fn endless() -> (SocketAddr, Receiver<()>) {
    let (sender, ended) = channel();
    let address = scripted(move |_, mut stream| {
        read_request(&mut stream);
        let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
        let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while sent.is_ok() {
            sent = stream.write_all(chunk.as_bytes());
        }
        let _ = sender.send(());
    });
    (address, ended)
}

/// An HTTP/2 caller that lets so many bytes of a response come, and no more.
async fn open_with_window(gateway: &TestGateway, window: u32) -> Calls {
    let stream = gateway.connect(Some(&gateway.user()), &["h2"]).await.unwrap();
    let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn a_caller_that_takes_nothing_of_its_response_is_cut() {
    let (upstream, ended) = endless();
    let gateway = impatient(upstream);
    let mut stream = gateway.connect(Some(&gateway.user()), &["http/1.1"]).await.unwrap();
    stream.write_all(b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n").await.unwrap();
    ended.recv_timeout(PATIENCE).unwrap();
    assert_eq!(gateway.line("connection_closed", |_| true)["reason"], "connection.stalled");
    assert_eq!(gateway.line("request", |_| true)["reason"], "connection.stalled");
}

#[tokio::test]
async fn a_stalled_stream_is_ended_though_others_move() {
    let (upstream, ended) = endless();
    let gateway = impatient(upstream);
    let mut calls = open_with_window(&gateway, 0).await;
    let mut stalled = Vec::new();
    for _ in 0..10 {
        let response = patiently(calls.send_request(request_h2("GET", "/v1/x", ""))).await.unwrap();
        assert_eq!(response.status(), 200);
        stalled.push(response);
    }
    // A response without a body needs no window.
    let mut moves = calls.clone();
    let moving = tokio::spawn(async move {
        loop {
            let head = request_h2("HEAD", "/.well-known/cluster/whoami", "");
            assert_eq!(moves.send_request(head).await.unwrap().status(), 200);
            tokio::task::yield_now().await;
        }
    });
    for response in stalled {
        assert!(patiently(response.into_body().collect()).await.is_err());
        ended.recv_timeout(PATIENCE).unwrap();
    }
    assert!(!moving.is_finished(), "the connection goes on");
    moving.abort();
    let line = gateway.line("request", |line| line["path"] == "/v1/x");
    assert_eq!(line["reason"], "downstream.stalled", "{line}");
    assert!(gateway.lines().iter().all(|line| line["event"] != "connection_closed"));
}

#[tokio::test]
async fn a_caller_that_gives_up_all_of_its_requests_is_cut() {
    let upstream = scripted(|_, mut stream| {
        read_request(&mut stream);
        // Until the gateway gives up.
        let _ = std::io::Read::read(&mut stream, &mut [0]);
    });
    let gateway = Setup::in_front_of(upstream).start();
    let (mut calls, connection) = gateway.open_h2(&gateway.user()).await;
    for number in 0..1_000 {
        let given_up = calls.send_request(request_h2("GET", "/v1/x", ""));
        if tokio::time::timeout(std::time::Duration::from_millis(2), given_up).await.is_ok() {
            assert!(number >= 200, "{number}");
            break;
        }
    }
    assert!(patiently(connection).await.is_ok());
    assert_eq!(gateway.line("connection_closed", |_| true)["reason"], "connection.cancelled_requests");
    // Another connection of the same caller is let in.
    assert_eq!(gateway.get(&gateway.user(), "/.well-known/cluster/whoami").await.status, 200);
}

#[tokio::test]
async fn a_short_response_that_is_never_taken_holds_no_connection() {
    let gateway = impatient("127.0.0.1:1".parse().unwrap());
    let mut calls = open_with_window(&gateway, 1).await;
    let whoami = request_h2("GET", "/.well-known/cluster/whoami", "");
    let response = patiently(calls.send_request(whoami)).await.unwrap();
    assert_eq!(response.status(), 200);
    // For the gateway the request is over: all of it was handed to the connection.
    assert_eq!(gateway.line("request", |_| true)["status"], 200);
    assert_eq!(gateway.line("connection_closed", |_| true)["reason"], "connection.stalled");
}

#[tokio::test]
async fn a_caller_that_reads_slowly_is_not_cut() {
    let (upstream, _ended) = endless();
    let gateway = impatient(upstream);
    let mut stream = gateway.connect(Some(&gateway.user()), &["http/1.1"]).await.unwrap();
    stream.write_all(b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n").await.unwrap();
    let begun = std::time::Instant::now();
    let mut some = vec![0; 256 << 10];
    while begun.elapsed() < std::time::Duration::from_secs(3) {
        patiently(stream.read_exact(&mut some)).await.unwrap();
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_upstream_that_falls_silent_ends_that_response_alone() {
    let (sender, held) = channel();
    let upstream = scripted(move |_, mut stream| {
        let silent = read_request(&mut stream).unwrap().contains("/silent");
        let answer = if silent { "content-length: 10\r\n\r\nhello" } else { "content-length: 2\r\n\r\nok" };
        stream.write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes()).unwrap();
        sender.send(stream).unwrap();
    });
    let upstream_options = ", body_timeout: 1s";
    let gateway = Setup { upstream_options, ..Setup::in_front_of(upstream) }.start();
    let user = gateway.user();

    let mut stream = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
    stream.write_all(b"GET /v1/silent HTTP/1.1\r\nhost: g\r\n\r\n").await.unwrap();
    read_until(&mut stream, "hello").await;
    let mut rest = Vec::new();
    let _ = patiently(stream.read_to_end(&mut rest)).await;
    assert_eq!(gateway.line("request", |_| true)["reason"], "upstream.body_timeout");

    let (mut calls, _connection) = gateway.open_h2(&user).await;
    let response = patiently(calls.send_request(request_h2("GET", "/v1/silent", ""))).await.unwrap();
    assert!(patiently(response.into_body().collect()).await.is_err());
    let response = patiently(calls.send_request(request_h2("GET", "/v1/x", ""))).await.unwrap();
    assert_eq!(patiently(response.into_body().collect()).await.unwrap().to_bytes(), "ok");
    drop(held);
}

#[tokio::test]
async fn an_upstream_may_be_silent_once_its_response_has_begun() {
    let upstream = scripted(|_, mut stream| {
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n").unwrap();
        // Longer than the limits of clients, which do not apply to it; the gateway would close meanwhile.
        stream.set_read_timeout(Some(std::time::Duration::from_secs(3))).unwrap();
        assert!(std::io::Read::read(&mut stream, &mut [0]).is_err());
        stream.write_all(b"data: 2\n\n").unwrap();
    });
    let gateway = impatient(upstream);
    let user = gateway.user();
    let mut stream = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
    stream.write_all(b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n").await.unwrap();
    let (mut calls, _connection) = gateway.open_h2(&user).await;
    let response = patiently(calls.send_request(request_h2("GET", "/v1/x", ""))).await.unwrap();
    assert_eq!(patiently(response.into_body().collect()).await.unwrap().to_bytes(), "data: 1\n\ndata: 2\n\n");
    read_until(&mut stream, "data: 2").await;
    assert!(gateway.lines().iter().all(|line| line["reason"].is_null()), "{:?}", gateway.lines());
}

#[tokio::test]
async fn r7_what_a_caller_does_not_take_is_ended_when_the_policy_forbids_it() {
    let (upstream, full, ended) = until_full();
    let gateway = Setup::in_front_of(upstream).start();
    let mut http1 = gateway.connect(Some(&gateway.user()), &["http/1.1"]).await.unwrap();
    http1.write_all(b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n").await.unwrap();
    let mut calls = open_with_window(&gateway, 0).await;
    let response = patiently(calls.send_request(request_h2("GET", "/v1/x", ""))).await.unwrap();
    assert_eq!(response.status(), 200);
    let both = |told: &Receiver<()>| (0..2).for_each(|_| told.recv_timeout(PATIENCE).unwrap());
    both(&full);

    let config = std::fs::read_to_string(gateway.path("gateway.yaml")).unwrap();
    gateway.replace("gateway.yaml", config.replace("{ role: api-user }, ", ""));
    both(&ended);
    assert!(patiently(response.into_body().collect()).await.is_err());
    for protocol in ["http/1.1", "h2"] {
        let line = gateway.line("request", |line| line["alpn"] == protocol);
        assert_eq!(line["reason"], "policy.role_not_allowed", "{line}");
    }
    // The connection of the one stream is another matter.
    let whoami = request_h2("HEAD", "/.well-known/cluster/whoami", "");
    assert_eq!(patiently(calls.send_request(whoami)).await.unwrap().status(), 200);
}
