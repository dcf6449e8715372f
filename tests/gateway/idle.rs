//! Idle connections: they give back their buffers, and lose nothing by it; a gateway whose clients have left gives back
//! its memory.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use tokio::io::AsyncWriteExt;

use crate::cutoff::{CALL, call, ends, idle};
use crate::eventually::{PATIENCE, eventually};
use crate::harness::{Setup, TestGateway, client_config, read_until};
use crate::process::{start_command, terminate};
use crate::upstreams::{read_request, scripted};

/// Waits until as many idle connections have given back their buffers.
fn parked(gateway: &TestGateway, count: usize) {
    eventually(&format!("{count} connections without buffers"), || {
        (gateway.running().parked_connections() == count).then_some(())
    });
}

#[tokio::test]
async fn a_connection_without_buffers_serves_its_next_requests() {
    let gateway = TestGateway::start();
    let mut stream = idle(&gateway, &gateway.user()).await;
    for round in 1..=2 {
        parked(&gateway, 1);
        call(&mut stream).await;
        // Two at once, of which the second arrives with the first.
        parked(&gateway, 1);
        stream.write_all(&[CALL, CALL].concat()).await.unwrap();
        read_until(&mut stream, "body_too_large_to_echo").await;
        eventually("both are answered", || (gateway.lines().len() == 1 + 3 * round).then_some(()));
    }
    let lines = gateway.lines();
    assert!(
        lines.iter().all(|line| line["session"] == lines[0]["session"] && line["status"] == 200),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_connection_that_waits_for_its_first_request_has_no_buffers() {
    let gateway = TestGateway::start();
    let mut stream = gateway.connect(Some(&gateway.user()), &["http/1.1"]).await.unwrap();
    parked(&gateway, 1);
    call(&mut stream).await;
}

#[tokio::test]
async fn a_request_in_pieces_keeps_its_buffers() {
    let gateway = TestGateway::start();
    let mut half = idle(&gateway, &gateway.user()).await;
    let (start, rest) = CALL.split_at(9);
    half.write_all(start).await.unwrap();
    half.flush().await.unwrap();
    // Later than the first one would.
    let _other = idle(&gateway, &gateway.user()).await;
    parked(&gateway, 1);
    half.write_all(rest).await.unwrap();
    read_until(&mut half, "body_too_large_to_echo").await;
}

#[tokio::test]
async fn a_response_that_goes_on_keeps_its_buffers() {
    let (sender, started) = std::sync::mpsc::channel();
    let upstream = scripted(move |_, mut stream| {
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").unwrap();
        sender.send(stream).unwrap();
    });
    let gateway = Setup::in_front_of(upstream).start();
    let mut stream = gateway.connect(Some(&gateway.user()), &["http/1.1"]).await.unwrap();
    stream.write_all(CALL).await.unwrap();
    read_until(&mut stream, "hello").await;
    let mut upstream = started.recv().unwrap();
    let _other = gateway.connect(Some(&gateway.user()), &["http/1.1"]).await.unwrap();
    parked(&gateway, 1);
    upstream.write_all(b"5\r\nworld\r\n0\r\n\r\n").unwrap();
    read_until(&mut stream, "world\r\n0\r\n\r\n").await;
    parked(&gateway, 2);
}

// R1.
#[tokio::test]
async fn r1_a_connection_without_buffers_is_cut_by_a_revocation() {
    let gateway = TestGateway::start();
    let (alice, bob) = (gateway.user(), gateway.cluster.leaf("api-user", "bob"));
    let (mut cut, mut other) = (idle(&gateway, &alice).await, idle(&gateway, &bob).await);
    parked(&gateway, 2);
    gateway.replace("cluster.crl", gateway.cluster.crl(2, &[&alice]));
    assert_eq!(ends(&mut cut).await, "");
    assert_eq!(gateway.line("connection_closed", |_| true)["name"], "alice");
    call(&mut other).await;
}

#[tokio::test]
async fn a_connection_without_buffers_ends_with_its_client_and_with_the_gateway() {
    let gateway = TestGateway::start();
    let (left, mut stays) = (idle(&gateway, &gateway.user()).await, idle(&gateway, &gateway.user()).await);
    parked(&gateway, 2);
    drop(left);
    eventually("it is gone", || (gateway.running().open_connections() == 1).then_some(()));
    gateway.running().drain();
    assert_eq!(ends(&mut stays).await, "");
}

#[tokio::test]
async fn a_connection_without_buffers_ends_at_the_idle_timeout() {
    let gateway = Setup { more: "limits: { idle_timeout: 3s }", ..Setup::new() }.start();
    let mut stream = idle(&gateway, &gateway.user()).await;
    parked(&gateway, 1);
    assert_eq!(ends(&mut stream).await, "");
}

/// Resident memory of a process, in KiB.
fn resident(child: &std::process::Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn memory_of_idle_connections_is_small_and_given_back_after_they_close() {
    const CONNECTIONS: usize = 400;
    let directory = tempfile::tempdir().unwrap();
    // Tickets of clients that have left are kept for their return, and would count as theirs.
    let setup = Setup { more: "resumption: disabled", ..Setup::new() };
    setup.write(directory.path());
    let user = setup.cluster.leaf("api-user", "alice");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cluster-gateway"));
    command.args(["run", "--config", "gateway.yaml"]).current_dir(directory.path()).stdin(Stdio::null());
    let (mut child, address, _said) = start_command(command);
    let address: std::net::SocketAddr = address.parse().unwrap();
    let connect = |alpn: &str| {
        let config = Arc::new(client_config(&setup.cluster, Some(&user), &[alpn], rustls::DEFAULT_VERSIONS));
        let client = ClientConnection::new(config, ServerName::from(address.ip())).unwrap();
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = StreamOwned::new(client, socket);
        if alpn == "h2" {
            // The preface, and an empty SETTINGS frame (RFC 9113, section 3.4); the gateway answers with its own.
            stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
            stream.read_exact(&mut [0; 9]).unwrap();
        } else {
            stream.write_all(b"GET /.well-known/cluster/whoami HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"}") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                answer.push(byte[0]);
            }
        }
        stream
    };
    // What the first connections allocate for good.
    for alpn in ["h2", "http/1.1"] {
        drop((0..20).map(|_| connect(alpn)).collect::<Vec<_>>());
    }
    let base = resident(&child);
    let open = |alpn: &str| (0..CONNECTIONS).map(|_| connect(alpn)).collect::<Vec<_>>();
    let h2 = open("h2");
    let for_h2 = resident(&child).saturating_sub(base);
    drop(h2);
    // Without jemalloc's threads, next to nothing is given back while the gateway has nothing to do.
    eventually("most of the pages of the connections are given back", || {
        (resident(&child).saturating_sub(base) * 2 <= for_h2).then_some(())
    });
    let base = resident(&child);
    let _h1 = open("http/1.1");
    eventually("an idle connection of HTTP/1.1 takes less than one of HTTP/2", || {
        (resident(&child).saturating_sub(base) < for_h2).then_some(())
    });
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
