//! The life of a gateway and of its connections: logs, expiry, drain, limits.

use std::sync::Arc;

use serde_json::Value;
use socket2::SockRef;
use time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::now;
use crate::eventually::eventually;
use crate::harness::{Calls, MovedClock, Setup, TestGateway, patiently, read_until, request};
use crate::upstreams::scripted;

#[tokio::test]
async fn every_request_leaves_one_line() {
    let gateway = TestGateway::start();
    let user = gateway.user();
    let answer = gateway.call(&user, request("POST", "/v1/things?secret=1", "hello")).await;
    let line = gateway.line("request", |_| true);
    let expected = [
        ("role", Value::from("api-user")),
        ("name", "alice".into()),
        ("serial_number", user.serial_number().into()),
        ("method", "POST".into()),
        ("path", "/v1/things".into()),
        ("decision", "permit".into()),
        ("upstream", "api".into()),
        ("status", 200.into()),
        ("reason", Value::Null),
        ("bytes_in", 5.into()),
        ("bytes_out", answer.body.len().into()),
        ("tls_version", "1.3".into()),
        ("alpn", "http/1.1".into()),
        ("resumed", false.into()),
        ("request_id", answer.header("x-request-id").into()),
    ];
    for (field, value) in expected {
        assert_eq!(line[field], value, "{field}: {line}");
    }
    assert!(line["rule"].as_str().unwrap().starts_with("routes[1]"), "{line}");
    assert!(line["remote"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    assert!(line["duration_us"].as_u64().unwrap() > 0, "{line}");
    assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    assert_eq!(gateway.lines().len(), 1);
}

#[tokio::test]
async fn a_connection_ends_with_its_certificate() {
    let gateway = TestGateway::start();
    let short = gateway.cluster.leaf_with("api-user", "alice", |params| {
        params.not_after = now() + Duration::seconds(2);
    });
    let mut stream = gateway.connect(Some(&short), &["http/1.1"]).await.unwrap();
    stream.write_all(b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n").await.unwrap();
    read_until(&mut stream, "body_too_large_to_echo").await;
    let mut rest = Vec::new();
    let _ = patiently(stream.read_to_end(&mut rest)).await;
    let line = gateway.line("connection_closed", |_| true);
    assert_eq!(line["reason"], "connection.certificate_expired");
    assert_eq!(line["serial_number"], short.serial_number());
}

#[tokio::test]
async fn a_crl_that_expires_keeps_new_callers_out_and_leaves_the_others() {
    let mut setup = Setup::new();
    let clock = MovedClock::default();
    setup.clock = Arc::new(clock.clone());
    setup.crl = Some(setup.cluster.crl_until(1, &[], now() + Duration::hours(2)));
    let gateway = setup.start();
    let user = gateway.user();
    let mut open = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
    let call = b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n";
    open.write_all(call).await.unwrap();
    read_until(&mut open, "body_too_large_to_echo").await;
    clock.set(Duration::hours(3));
    gateway.refused(Some(&user)).await;
    assert_eq!(gateway.refusal(), "revocation.crl_expired");
    open.write_all(call).await.unwrap();
    read_until(&mut open, "body_too_large_to_echo").await;
    clock.set(Duration::ZERO);
    assert_eq!(gateway.get(&user, "/v1/x").await.status, 200, "a clock set right sets it right");
}

#[tokio::test]
async fn a_remembered_certificate_is_refused_once_it_has_expired() {
    let clock = MovedClock::default();
    let mut setup = Setup { clock: Arc::new(clock.clone()), ..Setup::new() };
    setup.crl = Some(setup.cluster.crl_until(1, &[], now() + Duration::days(90)));
    let gateway = setup.start();
    let user = gateway.user();
    for _ in 0..2 {
        assert_eq!(gateway.get(&user, "/v1/x").await.status, 200);
    }
    for (by, reason) in [(31, "chain.expired"), (-2, "chain.not_yet_valid")] {
        clock.set(Duration::days(by));
        gateway.refused(Some(&user)).await;
        gateway.line("handshake_refused", |line| line["reason"] == reason);
    }
}

#[tokio::test]
async fn one_identity_has_no_more_connections_than_it_may() {
    let gateway = Setup { more: "limits: { connections_per_identity: 1 }\n", ..Setup::new() }.start();
    let user = gateway.user();
    let mut held = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
    held.write_all(b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n").await.unwrap();
    read_until(&mut held, "body_too_large_to_echo").await;
    // Another certificate of the same identity counts as well, another identity does not.
    let mut over = gateway.connect(Some(&gateway.user()), &["http/1.1"]).await.unwrap();
    let mut nothing = Vec::new();
    let _ = patiently(over.read_to_end(&mut nothing)).await;
    assert!(nothing.is_empty());
    assert_eq!(gateway.refusal(), "connection.identity_limit");
    assert_eq!(gateway.get(&gateway.cluster.leaf("api-user", "bob"), "/v1/x").await.status, 200);
    drop(held);
    eventually("room again", || (gateway.running().open_connections() == 0).then_some(()));
    assert_eq!(gateway.get(&user, "/v1/x").await.status, 200);
}

#[tokio::test]
async fn a_connection_without_requests_is_closed() {
    let gateway = Setup { more: "limits: { idle_timeout: 1s }\n", ..Setup::new() }.start();
    let mut idle = gateway.connect(Some(&gateway.user()), &["http/1.1"]).await.unwrap();
    let mut rest = Vec::new();
    let _ = patiently(idle.read_to_end(&mut rest)).await;
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn a_header_that_never_ends_is_cut_off() {
    let gateway = Setup { more: "limits: { header_timeout: 1s }\n", ..Setup::new() }.start();
    let mut slow = gateway.connect(Some(&gateway.user()), &["http/1.1"]).await.unwrap();
    slow.write_all(b"GET /v1/x HTTP/1.1\r\nhost: g\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = patiently(slow.read_to_end(&mut rest)).await;
    assert_eq!(gateway.line("connection_closed", |_| true)["reason"], "connection.header_timeout");
}

#[tokio::test]
async fn connections_over_the_limit_are_turned_away() {
    let gateway = Setup { more: "limits: { connections: 2 }\n", ..Setup::new() }.start();
    let user = gateway.user();
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
        stream.write_all(b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n").await.unwrap();
        read_until(&mut stream, "body_too_large_to_echo").await;
        held.push(stream);
    }
    assert!(gateway.connect(Some(&user), &[]).await.is_err());
    assert_eq!(gateway.refusal(), "connection.limit");
    drop(held);
    eventually("room again", || (gateway.running().open_connections() == 0).then_some(()));
    assert_eq!(gateway.get(&user, "/v1/x").await.status, 200);
}

#[tokio::test]
async fn a_drain_lets_running_requests_end_and_takes_no_others() {
    let (go_on, wait) = std::sync::mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let upstream = scripted(move |_, mut stream| {
        use std::io::Write;
        crate::upstreams::read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").unwrap();
        wait.lock().unwrap().recv().unwrap();
        stream.write_all(b"world").unwrap();
    });
    let mut gateway = Setup::in_front_of(upstream).start();
    let user = gateway.user();
    let mut idle = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
    let mut busy = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
    busy.write_all(b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n").await.unwrap();
    read_until(&mut busy, "hello").await;
    gateway.running().drain();
    let mut rest = Vec::new();
    let _ = patiently(idle.read_to_end(&mut rest)).await;
    assert!(rest.is_empty(), "an idle connection is closed");
    eventually("nobody is accepted", || std::net::TcpStream::connect(gateway.address).err());
    go_on.send(()).unwrap();
    let mut rest = String::new();
    patiently(busy.read_to_string(&mut rest)).await.unwrap();
    assert_eq!(rest, "world");
    gateway.join();
}

#[tokio::test]
async fn a_drain_lets_http2_requests_end_too() {
    let (go_on, wait) = std::sync::mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let (arrived, seen) = std::sync::mpsc::channel();
    let upstream = scripted(move |_, mut stream| {
        use std::io::Write;
        crate::upstreams::read_request(&mut stream);
        arrived.send(()).unwrap();
        wait.lock().unwrap().recv().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    });
    let mut gateway = Setup::in_front_of(upstream).start();
    let (mut calls, connection) = gateway.open_h2(&gateway.user()).await;
    let call = || crate::harness::request_h2("GET", "/v1/x", "");
    let running = tokio::spawn(calls.send_request(call()));
    patiently(tokio::task::spawn_blocking(move || seen.recv().unwrap())).await.unwrap();
    gateway.running().drain();
    eventually("nobody is accepted", || std::net::TcpStream::connect(gateway.address).err());
    go_on.send(()).unwrap();
    assert_eq!(patiently(running).await.unwrap().unwrap().status(), 200);
    patiently(connection).await.unwrap().unwrap();
    assert!(calls.send_request(call()).await.is_err(), "the connection has ended");
    gateway.join();
}

#[tokio::test]
async fn a_drain_ends_at_its_deadline() {
    let (sender, held) = std::sync::mpsc::channel();
    let upstream = scripted(move |_, stream| sender.send(stream).unwrap());
    let setup = Setup { more: "limits: { drain_timeout: 1s }\n", ..Setup::in_front_of(upstream) };
    let mut gateway = setup.start();
    let mut busy = gateway.connect(Some(&gateway.user()), &["http/1.1"]).await.unwrap();
    busy.write_all(b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n").await.unwrap();
    let upstream_side = held.recv().unwrap();
    gateway.running().drain();
    gateway.join();
    drop(upstream_side);
    let mut rest = String::new();
    let _ = patiently(busy.read_to_string(&mut rest)).await;
    assert!(rest.starts_with("HTTP/1.1 503 ") && rest.contains("connection.shutdown"), "{rest}");
}

#[tokio::test]
async fn http2_requests_on_one_connection_do_not_wait_for_each_other() {
    let (go_on, wait) = std::sync::mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let upstream = scripted(move |_, mut stream| {
        use std::io::Write;
        let request = crate::upstreams::read_request(&mut stream).unwrap();
        if request.contains("/v1/slow") {
            wait.lock().unwrap().recv().unwrap();
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    });
    let gateway = Setup::in_front_of(upstream).start();
    let (sender, _connection) = gateway.open_h2(&gateway.user()).await;
    let call = |path| sender.clone().send_request(crate::harness::request_h2("GET", path, ""));
    let slow = tokio::spawn(call("/v1/slow"));
    assert_eq!(patiently(call("/v1/quick")).await.unwrap().status(), 200);
    go_on.send(()).unwrap();
    assert_eq!(patiently(slow).await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_cut_ends_every_stream_of_an_http2_connection() {
    let (sender, held) = std::sync::mpsc::channel();
    let upstream = scripted(move |_, stream| sender.send(stream).unwrap());
    let clock = MovedClock::default();
    let gateway = Setup { clock: Arc::new(clock.clone()), ..Setup::in_front_of(upstream) }.start();
    let short = gateway.cluster.leaf_with("api-user", "alice", |params| {
        params.not_after = now() + Duration::HOUR;
    });
    let (calls, connection) = gateway.open_h2(&short).await;
    let other = gateway.cluster.leaf("api-user", "bob");
    let (other_calls, other_connection) = gateway.open_h2(&other).await;
    let call = |sender: &Calls| {
        tokio::spawn(sender.clone().send_request(crate::harness::request_h2("GET", "/v1/x", "")))
    };
    let running: Vec<_> = (0..100).map(|_| call(&calls)).collect();
    let untouched = call(&other_calls);
    let upstream_sides: Vec<_> =
        patiently(tokio::task::spawn_blocking(move || (0..101).map(|_| held.recv().unwrap()).collect()))
            .await
            .unwrap();
    clock.set(Duration::hours(2));
    for call in running {
        // Told why, or ended before that.
        if let Ok(answer) = patiently(call).await.unwrap() {
            assert_eq!(answer.status(), 401);
        }
    }
    let _ = patiently(connection).await;
    gateway.line("connection_closed", |line| line["name"] == "alice" && line["alpn"] == "h2");
    assert!(!untouched.is_finished() && !other_connection.is_finished());
    let _: Vec<std::net::TcpStream> = upstream_sides;
}

#[tokio::test]
async fn a_caller_that_is_gone_without_a_word_is_sent_none() {
    let gateway = TestGateway::start();
    for (says_so, alerts) in [(true, 1), (false, 0)] {
        let mut stream = gateway.connect(Some(&gateway.user()), &["http/1.1"]).await.unwrap();
        stream.write_all(b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n").await.unwrap();
        read_until(&mut stream, "body_too_large_to_echo").await;
        if says_so {
            stream.shutdown().await.unwrap();
        } else {
            SockRef::from(stream.get_ref().0).shutdown(std::net::Shutdown::Write).unwrap();
        }
        let mut rest = Vec::new();
        patiently(stream.get_mut().0.read_to_end(&mut rest)).await.unwrap();
        // One record, if any: close_notify, encrypted (RFC 8446, section 6.1).
        assert_eq!(rest.len(), alerts * 24, "{rest:?}");
    }
}
