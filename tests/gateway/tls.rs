//! What TLS has beside the handshake, and the gateway does without: renegotiation, certificates asked for
//! later, new keys without end, compressed certificates (T23 and T28 of the attack checklist).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::CertificateCompressionAlgorithm;
use rustls::ClientConnection;
use rustls::compress::{
    CertCompressor, CertDecompressor, CompressionFailed, CompressionLevel, DecompressionFailed,
};
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;

use crate::cluster::Leaf;
use crate::eventually::PATIENCE;
use crate::harness::{Setup, TestGateway, read_until};

/// openssl's client, whose commands are single letters on standard input.
pub(crate) fn openssl(gateway: &TestGateway, leaf: Option<&Leaf>, options: &[&str]) -> std::process::Child {
    let directory = gateway.directory();
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &gateway.address.to_string(), "-CAfile", "cluster.crt"]);
    if let Some(leaf) = leaf {
        leaf.write(directory, "own");
        command.args(["-cert", "own.crt", "-key", "own.key"]);
    }
    command
        .args(options)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed")
}

#[test]
fn the_suite_that_costs_least_is_taken_and_a_caller_who_wants_another_offers_no_other() {
    let gateway = TestGateway::start();
    for (options, suite) in [
        (&["-tls1_3"][..], "TLS_AES_128_GCM_SHA256"),
        (&["-tls1_2"], "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (&["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"], "TLS_AES_256_GCM_SHA384"),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"], "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ] {
        let client = openssl(&gateway, Some(&gateway.user()), options);
        let said = String::from_utf8(client.wait_with_output().unwrap().stdout).unwrap();
        assert!(said.contains(&format!("Cipher is {suite}")), "{options:?}: {said}");
    }
}

#[test]
fn t23_a_renegotiation_is_refused() {
    let gateway = TestGateway::start();
    let mut client = openssl(&gateway, Some(&gateway.user()), &["-tls1_2"]);
    let mut input = client.stdin.take().unwrap();
    let mut said = BufReader::new(client.stdout.take().unwrap());
    // Its handshake is over when it shows the session.
    let mut line = String::new();
    while !line.contains("Extended master secret") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it was let in");
    }
    input.write_all(b"R\n").unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    let mut error = String::new();
    client.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert!(rest.contains("RENEGOTIATING") || error.contains("RENEGOTIATING"), "it tried: {rest}{error}");
    assert!((rest + &error).contains("no renegotiation"));
    let _ = client.wait();
    assert!(gateway.lines().is_empty(), "one handshake, and no request");
}

#[test]
fn t23_a_certificate_is_never_asked_for_later() {
    let listen = "[{ address: \"127.0.0.1:0\", client_certificate: optional }]";
    let routes = "
  - { path: /healthz, methods: [GET], allow: [anyone], upstream: api }
  - { path: /v1/**, methods: [GET], allow: [{ role: api-user }], upstream: api }
";
    let gateway = Setup { listen, routes, ..Setup::new() }.start();
    let mut client = openssl(&gateway, None, &["-tls1_3", "-enable_pha", "-ign_eof"]);
    let request = b"GET /v1/x HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n";
    client.stdin.as_mut().unwrap().write_all(request).unwrap();
    let output = client.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("HTTP/1.1 401 ") && said.contains("certificate.missing"), "{said}");
}

/// A connection of rustls that is driven by hand.
fn by_hand(gateway: &TestGateway) -> (ClientConnection, TcpStream) {
    let config = gateway.client_config(Some(&gateway.user()), &[], &[&rustls::version::TLS13]);
    let caller = ClientConnection::new(Arc::new(config), ServerName::from(gateway.address.ip())).unwrap();
    let socket = TcpStream::connect(gateway.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    (caller, socket)
}

const CALL: &[u8] = b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n";

fn call(caller: &mut ClientConnection, socket: &mut TcpStream) {
    let mut stream = rustls::Stream::new(caller, socket);
    stream.write_all(CALL).unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("body_too_large_to_echo") {
        let mut some = [0; 4_096];
        let length = stream.read(&mut some).unwrap();
        assert!(length > 0);
        seen.extend_from_slice(&some[..length]);
    }
}

#[tokio::test]
async fn t23_new_keys_are_taken_now_and_then_and_a_flood_of_them_ends_the_connection() {
    let gateway = TestGateway::start();
    let mut other = gateway.connect(Some(&gateway.node()), &["http/1.1"]).await.unwrap();
    let (mut caller, mut socket) = by_hand(&gateway);
    call(&mut caller, &mut socket);
    caller.refresh_traffic_keys().unwrap();
    call(&mut caller, &mut socket);
    for _ in 0..1_000 {
        caller.refresh_traffic_keys().unwrap();
        if caller.write_tls(&mut socket).is_err() {
            break;
        }
    }
    let ended = loop {
        match caller.read_tls(&mut socket) {
            Ok(0) => break "closed".to_owned(),
            Err(error) => break error.to_string(),
            Ok(_) => {
                if let Err(error) = caller.process_new_packets() {
                    break error.to_string();
                }
            }
        }
    };
    assert!(!ended.contains("timed out") && !ended.contains("unavailable"), "{ended}");
    crate::eventually::eventually("it is gone", || (gateway.running().open_connections() == 1).then_some(()));
    let path = format!("GET /v1/nodes/{}/state HTTP/1.1\r\nhost: g\r\n\r\n", crate::harness::NODE);
    other.write_all(path.as_bytes()).await.unwrap();
    read_until(&mut other, "body_too_large_to_echo").await;
}

/// Counts how often a certificate was to be compressed or decompressed.
#[derive(Debug)]
struct Counted(AtomicUsize);

static COUNTED: Counted = Counted(AtomicUsize::new(0));

impl CertCompressor for Counted {
    fn compress(&self, _: Vec<u8>, _: CompressionLevel) -> Result<Vec<u8>, CompressionFailed> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(CompressionFailed)
    }

    fn algorithm(&self) -> CertificateCompressionAlgorithm {
        CertificateCompressionAlgorithm::Zlib
    }
}

impl CertDecompressor for Counted {
    fn decompress(&self, _: &[u8], _: &mut [u8]) -> Result<(), DecompressionFailed> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(DecompressionFailed)
    }

    fn algorithm(&self) -> CertificateCompressionAlgorithm {
        CertificateCompressionAlgorithm::Zlib
    }
}

#[test]
fn t28_no_certificate_is_compressed_in_either_direction() {
    let gateway = TestGateway::start();
    let mut config = gateway.client_config(Some(&gateway.user()), &[], &[&rustls::version::TLS13]);
    config.cert_compressors = vec![&COUNTED];
    config.cert_decompressors = vec![&COUNTED];
    let mut caller = ClientConnection::new(Arc::new(config), ServerName::from(gateway.address.ip())).unwrap();
    let mut socket = TcpStream::connect(gateway.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    call(&mut caller, &mut socket);
    assert_eq!(COUNTED.0.load(Ordering::SeqCst), 0, "the gateway offers it to nobody");
    let line = gateway.line("request", |_| true);
    assert_eq!(line["name"], "alice");
}
