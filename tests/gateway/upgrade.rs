//! Connections that become WebSockets: only where the policy and the service behind both say so.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::Leaf;
use crate::harness::{Setup, TestGateway, Tls, patiently, read_until};
use crate::upstreams::{answering, read_request, scripted};

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A service that becomes a tunnel and sends back what comes.
pub(crate) fn echoing() -> SocketAddr {
    scripted(|_, mut stream| {
        if read_request(&mut stream)
            .is_none_or(|request| !request.to_lowercase().contains("upgrade: websocket"))
        {
            return;
        }
        stream.write_all(SWITCHING.as_bytes()).unwrap();
        let mut some = [0; 1_024];
        while let Ok(length @ 1..) = stream.read(&mut some) {
            if stream.write_all(&some[..length]).is_err() {
                return;
            }
        }
    })
}

fn ask(path: &str, protocol: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: g\r\nconnection: keep-alive, Upgrade\r\nupgrade: {protocol}\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// An open WebSocket.
pub(crate) async fn open(gateway: &TestGateway, leaf: &Leaf, path: &str) -> Tls {
    let mut stream = gateway.connect(Some(leaf), &["http/1.1"]).await.unwrap();
    stream.write_all(ask(path, "websocket").as_bytes()).await.unwrap();
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let head = head.to_lowercase();
    for line in ["connection: upgrade", "upgrade: websocket", "sec-websocket-accept: "] {
        assert!(head.contains(line), "{head}");
    }
    ping(&mut stream).await;
    stream
}

/// Bytes go there and come back.
pub(crate) async fn ping(stream: &mut Tls) {
    stream.write_all(b"ping").await.unwrap();
    assert_eq!(read_until(stream, "ping").await, "ping");
}

fn with_websockets(upstream: SocketAddr) -> Setup {
    let routes = "
  - { path: /v1/ws, methods: [GET], allow: [{ role: api-user }], upstream: api, upgrade: websocket }
  - { path: /v1/plain, methods: [GET], allow: [{ role: api-user }], upstream: api }
";
    Setup { routes, ..Setup::in_front_of(upstream) }
}

#[tokio::test]
async fn a_websocket_passes_and_leaves_a_line_at_its_end() {
    let gateway = with_websockets(echoing()).start();
    let mut stream = open(&gateway, &gateway.user(), "/v1/ws").await;
    ping(&mut stream).await;
    stream.shutdown().await.unwrap();
    let line = gateway.line("request", |_| true);
    assert_eq!((&line["status"], &line["bytes_in"], &line["bytes_out"]), (&101.into(), &8.into(), &8.into()));
}

#[tokio::test]
async fn what_has_passed_is_told_however_a_websocket_ends() {
    let gateway = with_websockets(echoing()).start();
    let mut stream = open(&gateway, &gateway.user(), "/v1/ws").await;
    ping(&mut stream).await;
    // No end is said: the connection is gone.
    drop(stream);
    let line = gateway.line("request", |_| true);
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&8.into(), &8.into()), "{line}");
}

#[tokio::test]
async fn s9_what_is_sent_before_the_101_waits_for_it() {
    let gateway = with_websockets(echoing()).start();
    let mut stream = gateway.connect(Some(&gateway.user()), &["http/1.1"]).await.unwrap();
    stream.write_all((ask("/v1/ws", "websocket") + "early").as_bytes()).await.unwrap();
    let seen = read_until(&mut stream, "early").await;
    assert!(seen.starts_with("HTTP/1.1 101 "), "{seen}");
}

#[tokio::test]
async fn s9_an_upgrade_that_is_not_granted_ends_the_connection() {
    let (upstream, requests) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let gateway = with_websockets(upstream).start();
    let smuggled = "GET /v1/plain HTTP/1.1\r\nhost: g\r\n\r\n";
    let seen = gateway.raw(&gateway.user(), ask("/v1/ws", "websocket") + smuggled).await;
    assert!(seen.starts_with("HTTP/1.1 200 ") && seen.contains("connection: close"), "{seen}");
    assert_eq!(seen.matches("HTTP/1.1 ").count(), 1, "{seen}");
    assert!(requests.recv().unwrap().starts_with("GET /v1/ws "));
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn no_other_protocol_and_no_other_route_is_upgraded() {
    for (path, protocol) in [("/v1/plain", "websocket"), ("/v1/ws", "h2c"), ("/v1/ws", "websocket, h2c")] {
        let (upstream, requests) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let gateway = with_websockets(upstream).start();
        let seen = gateway.raw(&gateway.user(), ask(path, protocol)).await;
        assert!(seen.starts_with("HTTP/1.1 200 "), "{seen}");
        let sent = requests.recv().unwrap().to_lowercase();
        assert!(!sent.contains("upgrade"), "{sent}");
    }
}

#[tokio::test]
async fn a_101_that_is_not_what_was_asked_for_is_502() {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n",
    ] {
        let (upstream, _requests) = answering(answer);
        let gateway = with_websockets(upstream).start();
        let seen = gateway.raw(&gateway.user(), ask("/v1/ws", "websocket")).await;
        assert!(seen.starts_with("HTTP/1.1 502 ") && seen.contains("upstream.ambiguous"), "{seen}");
    }
}

#[tokio::test]
async fn a_tunnel_through_which_nothing_passes_ends() {
    let more = "limits: { tunnel_timeout: 1s }\n";
    let gateway = Setup { more, ..with_websockets(echoing()) }.start();
    let mut stream = open(&gateway, &gateway.user(), "/v1/ws").await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        // As long as something does, it stays.
        ping(&mut stream).await;
    }
    let mut rest = Vec::new();
    let _ = patiently(stream.read_to_end(&mut rest)).await;
    let line = gateway.line("request", |_| true);
    assert_eq!((&line["status"], &line["reason"]), (&101.into(), &"tunnel.idle".into()), "{line}");
}

#[tokio::test]
async fn a_tunnel_ends_on_both_sides() {
    let (sender, ended) = channel();
    let upstream = scripted(move |_, mut stream| {
        read_request(&mut stream);
        stream.write_all(SWITCHING.as_bytes()).unwrap();
        let mut some = [0; 16];
        while let Ok(1..) = stream.read(&mut some) {}
        sender.send(()).unwrap();
    });
    let gateway = with_websockets(upstream).start();
    let mut stream = gateway.connect(Some(&gateway.user()), &["http/1.1"]).await.unwrap();
    stream.write_all(ask("/v1/ws", "websocket").as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    drop(stream);
    ended.recv_timeout(crate::eventually::PATIENCE).unwrap();
}
