//! Too much of everything before anybody has said who it is: connections, handshakes that stand still or
//! fail, long chains, and the lines about them (T27 of the attack checklist).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::cutoff::{call, idle};
use crate::eventually::{PATIENCE, eventually};
use crate::harness::{Setup, TestGateway, Tls};
use crate::tls::openssl;

/// Another address of this machine than the one that floods.
const ELSEWHERE: &str = "127.0.0.2";

fn limited(more: &'static str) -> TestGateway {
    Setup { more, ..Setup::new() }.start()
}

/// A connection from the address that floods, before anything is said on it.
fn silent(gateway: &TestGateway) -> TcpStream {
    let stream = TcpStream::connect(gateway.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Waits for the end of a connection on which nothing is to be answered.
fn ends(stream: &mut TcpStream) {
    let mut answer = Vec::new();
    // The end may come as a reset.
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{answer:?}");
}

/// Whoever has a connection goes on, and a caller from another address is let in.
async fn others_are_served(gateway: &TestGateway, established: &mut Tls) {
    call(established).await;
    let bob = gateway.cluster.leaf("api-user", "bob");
    call(&mut gateway.connect_from(ELSEWHERE, &bob).await.unwrap()).await;
}

async fn established(gateway: &TestGateway) -> Tls {
    idle(gateway, &gateway.user()).await
}

#[tokio::test]
async fn t27_stalled_handshakes_exhaust_only_the_limit_of_their_own_address() {
    let gateway = limited("limits: { handshakes_per_address: 4, handshake_timeout: 3s }\n");
    let mut open = established(&gateway).await;
    let held: Vec<_> = (0..4).map(|_| silent(&gateway)).collect();
    eventually("they are accepted", || (gateway.running().open_connections() == 5).then_some(()));
    ends(&mut silent(&gateway));
    assert_eq!(gateway.refusal(), "connection.handshake_limit");
    others_are_served(&gateway, &mut open).await;
    // They end at their deadline, and then there is room again.
    for mut stream in held {
        ends(&mut stream);
    }
    gateway.line("handshake_refused", |line| line["reason"] == "tls.timeout");
    eventually("room again", || (gateway.running().open_connections() <= 2).then_some(()));
    call(&mut gateway.connect(Some(&gateway.user()), &["http/1.1"]).await.unwrap()).await;
}

#[tokio::test]
async fn t27_a_handshake_stalled_before_the_certificate_ends_at_its_deadline() {
    let gateway = limited("limits: { handshake_timeout: 1s }\n");
    let mut open = established(&gateway).await;
    let config = Arc::new(gateway.client_config(Some(&gateway.user()), &[], rustls::DEFAULT_VERSIONS));
    let mut caller = ClientConnection::new(config, ServerName::from(gateway.address.ip())).unwrap();
    let mut socket = silent(&gateway);
    caller.write_tls(&mut socket).unwrap();
    // The gateway has answered with all that it has to say, and now waits for the certificate.
    while caller.is_handshaking() {
        assert!(caller.read_tls(&mut socket).unwrap() > 0);
        caller.process_new_packets().unwrap();
    }
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest);
    let line = gateway.line("handshake_refused", |_| true);
    assert_eq!((&line["reason"], &line["subject"]), (&"tls.timeout".into(), &serde_json::Value::Null));
    others_are_served(&gateway, &mut open).await;
}

#[tokio::test]
async fn t27_connections_are_limited_per_address() {
    let gateway = limited("limits: { connections_per_address: 2 }\n");
    let mut open = [established(&gateway).await, established(&gateway).await];
    ends(&mut silent(&gateway));
    assert_eq!(gateway.refusal(), "connection.address_limit");
    others_are_served(&gateway, &mut open[0]).await;
    drop(open);
    eventually("room again", || (gateway.running().open_connections() == 0).then_some(()));
    call(&mut established(&gateway).await).await;
}

#[tokio::test]
async fn t27_failed_handshakes_block_their_address_and_port_probes_do_not_count() {
    let gateway = limited("limits: { failed_handshakes_per_address: 3 }\n");
    let mut open = established(&gateway).await;
    for _ in 0..10 {
        // As a load balancer looks whether somebody is there.
        drop(silent(&gateway));
    }
    eventually("they are gone", || (gateway.running().open_connections() == 1).then_some(()));
    let stranger = crate::cluster::Cluster::new("other").leaf("api-user", "mallory");
    for leaf in [None, Some(&stranger), None] {
        gateway.refused(leaf).await;
    }
    eventually("they are counted", || {
        let count = |lines: Vec<serde_json::Value>| {
            lines.iter().filter(|line| line["reason"] == "certificate.missing").count()
        };
        (count(gateway.lines()) == 2 && gateway.running().open_connections() == 1).then_some(())
    });
    ends(&mut silent(&gateway));
    gateway.line("handshake_refused", |line| line["reason"] == "connection.failed_handshakes_limit");
    others_are_served(&gateway, &mut open).await;
}

#[tokio::test]
async fn t27_a_certificate_chain_is_limited_to_the_size_of_a_message() {
    let gateway = TestGateway::start();
    let mut open = established(&gateway).await;
    let mut params = CertificateParams::default();
    let filling = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 2], vec![0; 15 << 10]);
    params.custom_extensions.push(filling);
    let large = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone();
    let mut alice = gateway.user();
    alice.chain.extend(std::iter::repeat_n(large.clone(), 3));
    assert_eq!(gateway.get(&alice, "/v1/x").await.status, 200, "what is of no use does no harm");
    for certificates in [5, 64, 1_000] {
        alice.chain.truncate(1);
        alice.chain.extend(std::iter::repeat_n(large.clone(), certificates));
        gateway.refused(Some(&alice)).await;
    }
    let line = gateway.line("handshake_refused", |_| true);
    assert_eq!(line["reason"], "tls.malformed", "{line}");
    others_are_served(&gateway, &mut open).await;
}

// In TLS 1.3, rustls ends the connection without an alert.
#[test]
fn t27_a_client_of_tls_1_2_learns_that_its_chain_is_too_long() {
    let gateway = TestGateway::start();
    let mut params = CertificateParams::default();
    let filling = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 2], vec![0; 15 << 10]);
    params.custom_extensions.push(filling);
    let large = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let alice = gateway.user();
    std::fs::write(gateway.path("chain.pem"), alice.certificate_pem.clone() + &large.repeat(5)).unwrap();
    let client = openssl(&gateway, Some(&alice), &["-tls1_2", "-cert_chain", "chain.pem"]);
    let output = client.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("SSL alert number 50"), "{said}");
    assert_eq!(gateway.refusal(), "tls.malformed");
}

#[tokio::test]
async fn t27_a_flood_neither_fills_the_log_nor_hides_other_addresses() {
    const FLOOD: usize = 700;
    let gateway = limited("metrics: 127.0.0.1:0\n");
    let begun = std::time::Instant::now();
    for _ in 0..FLOOD {
        let mut stream = silent(&gateway);
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut alert = Vec::new();
        let _ = stream.read_to_end(&mut alert);
    }
    let stranger = crate::cluster::Cluster::new("other").leaf("api-user", "mallory");
    let mut tried = gateway.connect_from(ELSEWHERE, &stranger).await.unwrap();
    let mut nothing = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut tried, &mut nothing).await;
    gateway.line("handshake_refused", |line| line["serial_number"] == stranger.serial_number());
    let (told, untold) = eventually("everything is told or counted", || {
        let lines = gateway.lines();
        let told = lines.iter().filter(|line| line["reason"] == "tls.plain_http").count();
        let summed_up = lines.iter().filter(|line| line["event"] == "handshakes_refused");
        let untold: u64 = summed_up.map(|line| line["reasons"]["tls.plain_http"].as_u64().unwrap()).sum();
        (u64::try_from(told).unwrap() + untold == u64::try_from(FLOOD).unwrap()).then_some((told, untold))
    });
    // Three hundred at once, and five a second.
    let allowed = 301 + 5 * begun.elapsed().as_secs();
    assert!(u64::try_from(told).unwrap() <= allowed && untold > 0, "{told} lines, {allowed} are allowed");
    let metrics = crate::metrics::fetch(&gateway, "/metrics").1;
    for sample in [
        format!("cluster_gateway_handshakes_total{{result=\"tls.plain_http\"}} {FLOOD}\n"),
        format!("cluster_gateway_handshake_lines_omitted_total {untold}\n"),
    ] {
        assert!(metrics.contains(&sample), "{sample}: {metrics}");
    }
}
