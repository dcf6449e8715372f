//! First bytes that are odd, and what becomes of them (T24 of the attack checklist).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use tokio::io::AsyncReadExt;

use crate::eventually::{PATIENCE, eventually};
use crate::harness::{Setup, TestGateway, patiently};

fn connect(gateway: &TestGateway) -> TcpStream {
    let socket = TcpStream::connect(gateway.address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Makes a handshake whose first record comes in pieces of `length` bytes, each a record of its own.
fn in_records_of(length: usize) -> Option<String> {
    let gateway = TestGateway::start();
    let config = Arc::new(gateway.client_config(Some(&gateway.user()), &[], rustls::DEFAULT_VERSIONS));
    let mut connection = ClientConnection::new(config, ServerName::from(gateway.address.ip())).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    let (head, hello) = hello.split_at(5);
    assert_eq!(usize::from(u16::from_be_bytes([head[3], head[4]])), hello.len(), "one record");
    let records = hello
        .chunks(length)
        .flat_map(|piece| [&head[..3], &u16::try_from(piece.len()).unwrap().to_be_bytes(), piece].concat());
    let mut socket = connect(&gateway);
    socket.write_all(&records.collect::<Vec<_>>()).unwrap();
    let mut stream = rustls::Stream::new(&mut connection, &mut socket);
    stream.write_all(b"GET /v1/x HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let seen = answer.lines().next().map(str::to_owned);
    let line = gateway.line("request", |_| true);
    assert_eq!(line["name"], "alice", "judged like any other: {line}");
    seen
}

#[test]
fn a_client_hello_in_small_records_is_understood() {
    for length in [1, 7, 500] {
        assert_eq!(in_records_of(length).as_deref(), Some("HTTP/1.1 200 OK"), "{length}");
    }
}

#[test]
fn what_is_no_client_hello_is_refused() {
    for bytes in [
        // SSLv2: a CLIENT-HELLO that offers TLS 1.2.
        b"\x80\x2e\x01\x03\x03\x00\x15\x00\x00\x00\x10\x01\x00\x80".as_slice(),
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x17\x03\x03\x00\x01\x00",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x16\x03\x01\xff\xff\x01",
        b"SSH-2.0-x\r\n",
    ] {
        let gateway = TestGateway::start();
        let mut socket = connect(&gateway);
        socket.write_all(bytes).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer[0] == 0x15, "an alert or nothing: {answer:?}");
        let reason = gateway.refusal();
        assert!(reason.starts_with("tls."), "{bytes:?}: {reason}");
        assert!(gateway.lines().iter().all(|line| line["event"] == "handshake_refused"));
    }
}

/// A ClientHello whose padding makes it as long as `length` says, in records of 16 KiB.
fn long_hello(length: usize) -> Vec<u8> {
    let body = [&[1, 0, 0, 0][..], &vec![0; length]].concat();
    let mut body = body;
    let announced = u32::try_from(length).unwrap().to_be_bytes();
    body[1..4].copy_from_slice(&announced[1..]);
    let records = body.chunks(16 << 10).flat_map(|piece| {
        [&[0x16, 3, 1][..], &u16::try_from(piece.len()).unwrap().to_be_bytes(), piece].concat()
    });
    records.collect()
}

/// Everything that the gateway sends, to the orderly end of the connection.
fn answer_to(gateway: &TestGateway, bytes: &[u8]) -> Vec<u8> {
    let mut socket = connect(gateway);
    socket.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("no reset");
    answer
}

#[test]
fn a_client_hello_that_is_too_long_is_answered_with_an_alert() {
    for length in [66_000, 100_000, 600_000] {
        let gateway = TestGateway::start();
        assert_eq!(answer_to(&gateway, &long_hello(length)), [0x15, 3, 3, 0, 2, 2, 50], "{length}");
        assert_eq!(gateway.refusal(), "tls.malformed", "{length}");
    }
}

// T25.
#[tokio::test]
async fn an_unknown_server_name_is_answered_with_its_alert_and_logged_by_name() {
    let gateway = TestGateway::start();
    let refused =
        gateway.connect_named(Some(&gateway.user()), &["http/1.1"], "api.internal").await.unwrap_err();
    let error = refused.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()).unwrap();
    assert_eq!(*error, rustls::Error::AlertReceived(rustls::AlertDescription::UnrecognisedName));
    let line = gateway.line("handshake_refused", |_| true);
    assert_eq!(
        (&line["reason"], &line["server_name"]),
        (&"tls.unknown_server_name".into(), &"api.internal".into())
    );
    assert!(line["detail"].as_str().unwrap().contains("`api.internal`"), "{line}");
}

#[tokio::test]
async fn a_caller_over_its_limit_of_connections_sees_an_orderly_end() {
    let gateway = Setup { more: "limits: { connections_per_identity: 1 }", ..Setup::new() }.start();
    let user = gateway.user();
    let (_calls, connection) = gateway.open_h2(&user).await;
    eventually("it is registered", || (gateway.status()["connections"] == 1).then_some(()));
    let mut second = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
    let mut answer = Vec::new();
    patiently(second.read_to_end(&mut answer)).await.expect("close_notify, and no reset");
    assert_eq!((answer.len(), gateway.refusal().as_str()), (0, "connection.identity_limit"));
    connection.abort();
}
