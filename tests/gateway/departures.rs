//! Clients that leave of their own accord: health checks of TCP and TLS, scanners, browsers. They are counted, and
//! hide no refusal of a client that wanted something.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, SupportedProtocolVersion};
use serde_json::Value;
use socket2::SockRef;

use crate::eventually::{PATIENCE, eventually};
use crate::harness::{Setup, TestGateway};

const BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// Way in which a client closes its socket.
#[derive(Clone, Copy, Debug)]
enum Close {
    Fin,
    Reset,
}

impl Close {
    const ALL: [Self; 2] = [Self::Fin, Self::Reset];

    fn close(self, socket: TcpStream) {
        if let Self::Reset = self {
            SockRef::from(&socket).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        }
        drop(socket);
    }
}

fn socket(gateway: &TestGateway) -> TcpStream {
    let socket = TcpStream::connect(gateway.address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A client without a certificate.
fn client(gateway: &TestGateway, version: &'static SupportedProtocolVersion) -> ClientConnection {
    let config = Arc::new(gateway.client_config(None, &[], &[version]));
    ClientConnection::new(config, ServerName::from(gateway.address.ip())).unwrap()
}

/// A look at the port, without a byte.
fn tcp_check(gateway: &TestGateway, close: Close) {
    close.close(socket(gateway));
}

/// A handshake that ends once the gateway has asked for the certificate, as a browser's whose user has none.
fn asked_for_a_certificate(gateway: &TestGateway, version: &'static SupportedProtocolVersion, close: Close) {
    let (mut client, mut socket) = (client(gateway, version), socket(gateway));
    client.write_tls(&mut socket).unwrap();
    while client.peer_certificates().is_none() {
        assert!(client.read_tls(&mut socket).unwrap() > 0);
        client.process_new_packets().unwrap();
    }
    close.close(socket);
}

/// A whole handshake without a certificate, as health checks over TLS 1.3 make it, and not a byte after it.
fn tls_check(gateway: &TestGateway, close: Close) {
    let (mut client, mut socket) = (client(gateway, &rustls::version::TLS13), socket(gateway));
    while client.is_handshaking() {
        client.complete_io(&mut socket).unwrap();
    }
    close.close(socket);
}

/// The reasons of the refusals kept, the newest first.
fn kept(gateway: &TestGateway) -> Vec<String> {
    let kept = serde_json::to_value(gateway.running().telemetry().refused_handshakes.newest_first()).unwrap();
    let reason = |refused: &Value| refused["reason"].as_str().unwrap().to_owned();
    kept.as_array().unwrap().iter().map(reason).collect()
}

fn waits_for(gateway: &TestGateway, result: &str, count: usize) {
    let sample = format!("cluster_gateway_handshakes_total{{result=\"{result}\"}} {count}\n");
    let mut metrics = String::new();
    let reached = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually(&sample, || {
            metrics = crate::metrics::fetch(gateway, "/metrics").1;
            metrics.contains(&sample).then_some(())
        });
    }));
    assert!(reached.is_ok(), "{sample}: {metrics}");
}

#[tokio::test]
async fn health_checks_and_browsers_are_counted_and_displace_no_refusal() {
    const TIMES: usize = 30;
    let gateway = Setup { more: "metrics: 127.0.0.1:0\n", ..Setup::new() }.start();
    let stranger = crate::cluster::Cluster::new("other").leaf("api-user", "mallory");
    gateway.refused(Some(&stranger)).await;
    gateway.refused(None).await;
    let wanted = ["certificate.missing", "chain.unknown_issuer"];
    eventually("both are kept", || (kept(&gateway) == wanted).then_some(()));
    for close in Close::ALL {
        for _ in 0..TIMES {
            tcp_check(&gateway, close);
            for version in BOTH {
                asked_for_a_certificate(&gateway, version, close);
            }
            tls_check(&gateway, close);
        }
    }
    waits_for(&gateway, "tls.not_begun", Close::ALL.len() * TIMES);
    waits_for(&gateway, "tls.closed", Close::ALL.len() * (BOTH.len() + 1) * TIMES);
    assert_eq!(kept(&gateway), wanted);
    let lines = gateway.lines();
    assert!(lines.iter().all(|line| wanted.contains(&line["reason"].as_str().unwrap())), "{lines:?}");
}

// A client that sends no more, and waits for its answer, is refused like any other.
#[test]
fn a_client_that_half_closes_its_connection_has_not_left() {
    let gateway = TestGateway::start();
    let (mut client, mut socket) = (client(&gateway, &rustls::version::TLS13), socket(&gateway));
    while client.is_handshaking() {
        client.complete_io(&mut socket).unwrap();
    }
    socket.shutdown(Shutdown::Write).unwrap();
    let mut alert = Vec::new();
    socket.read_to_end(&mut alert).unwrap();
    assert!(!alert.is_empty(), "it gets its alert");
    assert_eq!(gateway.refusal(), "certificate.missing");
}

// A client of TLS 1.2 learns of its refusal within the handshake, and a request in flight changes nothing.
#[test]
fn a_client_that_reads_its_alert_has_not_left() {
    for version in BOTH {
        let gateway = TestGateway::start();
        let (mut client, mut socket) = (client(&gateway, version), socket(&gateway));
        let mut stream = rustls::Stream::new(&mut client, &mut socket);
        let mut answer = Vec::new();
        let refused = stream
            .write_all(b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n")
            .and_then(|()| stream.read_to_end(&mut answer));
        assert!(refused.is_err(), "{version:?}");
        drop(socket);
        assert_eq!(gateway.refusal(), "certificate.missing", "{version:?}");
        assert_eq!(kept(&gateway), ["certificate.missing"], "{version:?}");
    }
}
