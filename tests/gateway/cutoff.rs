//! Open connections, when they may no longer be: cut, all of them, and no others.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::{Cluster, Leaf};
use crate::eventually::eventually;
use crate::frames;
use crate::harness::{Calls, MovedClock, Setup, TestGateway, Tls, patiently, read_until, request_h2};
use crate::upstreams::{read_request, scripted, until_full};

pub(crate) const CALL: &[u8] = b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n";

/// A connection that has made one call and waits.
pub(crate) async fn idle(gateway: &TestGateway, leaf: &Leaf) -> Tls {
    let mut stream = gateway.connect(Some(leaf), &["http/1.1"]).await.unwrap();
    call(&mut stream).await;
    stream
}

/// Makes one call on it.
pub(crate) async fn call(stream: &mut Tls) {
    stream.write_all(CALL).await.unwrap();
    read_until(stream, "body_too_large_to_echo").await;
}

/// Puts a CRL in force that revokes these.
fn revoke(gateway: &TestGateway, number: u64, leaves: &[&Leaf]) {
    gateway.replace("cluster.crl", gateway.cluster.crl(number, leaves));
    gateway.wait_for_crl(number);
}

/// What still comes before the connection ends.
pub(crate) async fn ends(stream: &mut Tls) -> String {
    let mut rest = Vec::new();
    let _ = patiently(stream.read_to_end(&mut rest)).await;
    String::from_utf8_lossy(&rest).into_owned()
}

#[tokio::test]
async fn r1_r8_an_idle_connection_is_cut_and_no_other_is_touched() {
    let gateway = Setup { more: "limits: { connections: 400 }\n", ..Setup::new() }.start();
    let (alice, bob) = (gateway.user(), gateway.cluster.leaf("api-user", "bob"));
    let mut others = Vec::new();
    for _ in 0..100 {
        others.push(idle(&gateway, &bob).await);
    }
    let mut cut = idle(&gateway, &alice).await;
    let (mut calls, connection) = gateway.open_h2(&alice).await;
    assert_eq!(patiently(calls.send_request(request_h2("GET", "/v1/x", ""))).await.unwrap().status(), 200);
    gateway.replace("cluster.crl", gateway.cluster.crl(2, &[&alice]));
    assert_eq!(ends(&mut cut).await, "", "no answer, and no error: the connection is closed");
    let _ = patiently(connection).await.unwrap();
    for other in &mut others {
        call(other).await;
    }
    eventually("both lines", || {
        let lines = gateway.lines();
        let cut = lines.iter().filter(|line| line["event"] == "connection_closed").collect::<Vec<_>>();
        assert!(cut.iter().all(|line| line["name"] == "alice" && line["delay_us"].is_u64()), "{cut:?}");
        (cut.len() == 2).then_some(())
    });
}

/// A service whose every response has begun and never ends by itself; what each is fed with.
fn endless() -> (std::net::SocketAddr, Receiver<std::net::TcpStream>) {
    let (sender, started) = channel();
    let address = scripted(move |_, mut stream| {
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").unwrap();
        sender.send(stream).unwrap();
    });
    (address, started)
}

#[tokio::test]
async fn r2_a_streaming_response_is_cut_in_the_middle() {
    let (upstream, started) = endless();
    let gateway = Setup::in_front_of(upstream).start();
    let (alice, bob) = (gateway.user(), gateway.cluster.leaf("api-user", "bob"));
    let mut streams = Vec::new();
    let mut held = Vec::new();
    for user in [&alice, &bob] {
        let mut stream = gateway.connect(Some(user), &["http/1.1"]).await.unwrap();
        stream.write_all(CALL).await.unwrap();
        read_until(&mut stream, "hello").await;
        held.push(started.recv().unwrap());
        streams.push(stream);
    }
    revoke(&gateway, 2, &[&alice]);
    let rest = ends(&mut streams[0]).await;
    assert!(!rest.contains("0\r\n\r\n"), "it does not look complete: {rest:?}");
    let line = gateway.line("request", |line| line["name"] == "alice");
    assert_eq!(line["reason"], "connection.certificate_revoked", "{line}");
    held[1].write_all(b"5\r\nworld\r\n0\r\n\r\n").unwrap();
    read_until(&mut streams[1], "world\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn r3_every_stream_of_an_http2_connection_is_reset() {
    let (upstream, started) = endless();
    let gateway = Setup::in_front_of(upstream).start();
    let alice = gateway.user();
    let (calls, connection) = gateway.open_h2(&alice).await;
    let begin = |calls: &Calls| tokio::spawn(calls.clone().send_request(request_h2("GET", "/v1/x", "")));
    let running: Vec<_> = (0..100).map(|_| begin(&calls)).collect();
    let mut bodies = Vec::new();
    for call in running {
        bodies.push(patiently(call).await.unwrap().unwrap().into_body());
    }
    let held: Vec<_> = (0..100).map(|_| started.recv().unwrap()).collect();
    revoke(&gateway, 2, &[&alice]);
    for body in bodies {
        let end = patiently(http_body_util::BodyExt::collect(body)).await;
        assert!(end.is_err(), "a body that was cut does not look complete");
    }
    let _ = patiently(connection).await.unwrap();
    let reset = || {
        let lines = gateway.lines();
        lines.iter().filter(|line| line["reason"] == "connection.certificate_revoked").count()
    };
    // A line for every request, and one for the connection.
    eventually("each has its line", || (reset() == 101).then_some(()));
    drop(held);
}

#[tokio::test]
async fn r3_goaway_comes_first_and_then_the_resets() {
    let (upstream, started) = endless();
    let gateway = Setup::in_front_of(upstream).start();
    let alice = gateway.user();
    let mut stream = gateway.connect(Some(&alice), &["h2"]).await.unwrap();
    let fields = [(":method", "GET"), (":scheme", "https"), (":authority", "g"), (":path", "/v1/x")];
    frames::begin(&mut stream, &[1, 3, 5], &fields).await;
    let mut answered = BTreeSet::new();
    while answered.len() < 3 {
        let (kind, number) = frames::next(&mut stream).await.expect("a response on each stream");
        answered.extend((kind == frames::HEADERS).then_some(number));
    }
    let held: Vec<_> = (0..3).map(|_| started.recv().unwrap()).collect();
    revoke(&gateway, 2, &[&alice]);
    let mut told = Vec::new();
    while let Some((kind, number)) = frames::next(&mut stream).await {
        told.extend([frames::GOAWAY, frames::RST_STREAM].contains(&kind).then_some((kind, number)));
    }
    assert_eq!(told.first(), Some(&(frames::GOAWAY, 0)), "{told:?}");
    let reset: BTreeSet<_> =
        told.iter().filter(|(kind, _)| *kind == frames::RST_STREAM).map(|(_, number)| *number).collect();
    assert_eq!(reset, answered, "{told:?}");
    drop(held);
}

#[tokio::test]
async fn a_request_that_waits_for_its_answer_is_told_why_it_gets_none() {
    let (sender, held) = channel();
    let upstream = scripted(move |_, stream| sender.send(stream).unwrap());
    let gateway = Setup::in_front_of(upstream).start();
    let alice = gateway.user();
    let mut stream = gateway.connect(Some(&alice), &["http/1.1"]).await.unwrap();
    stream.write_all(CALL).await.unwrap();
    let upstream_side = held.recv().unwrap();
    revoke(&gateway, 2, &[&alice]);
    let answer = ends(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.contains("\"code\":\"connection.certificate_revoked\""), "{answer}");
    drop(upstream_side);
}

/// A gateway whose upstream echoes on WebSockets, and two open ones of alice and bob.
async fn tunnels(setup: Setup) -> (TestGateway, Leaf, [Tls; 2]) {
    let gateway = setup.start();
    let alice = gateway.user();
    let mut open = Vec::new();
    for user in [&alice, &gateway.cluster.leaf("api-user", "bob")] {
        open.push(crate::upgrade::open(&gateway, user, "/v1/ws").await);
    }
    (gateway, alice, open.try_into().unwrap())
}

fn with_websockets() -> Setup {
    let routes = "\n  - { path: /v1/ws, methods: [GET], allow: [{ role: api-user }], upstream: api, upgrade: websocket }\n";
    Setup { routes, ..Setup::in_front_of(crate::upgrade::echoing()) }
}

#[tokio::test]
async fn r4_an_upgraded_connection_is_cut() {
    let (gateway, alice, [mut cut, mut other]) = tunnels(with_websockets()).await;
    revoke(&gateway, 2, &[&alice]);
    assert_eq!(ends(&mut cut).await, "");
    crate::upgrade::ping(&mut other).await;
    let line = gateway.line("request", |line| line["name"] == "alice");
    assert_eq!((&line["status"], &line["reason"]), (&101.into(), &"connection.certificate_revoked".into()));
    gateway.line("connection_closed", |line| line["name"] == "alice");
}

#[tokio::test]
async fn an_upgraded_connection_ends_with_its_certificate() {
    let clock = MovedClock::default();
    let setup = Setup { clock: Arc::new(clock.clone()), ..with_websockets() };
    let (gateway, _, [mut first, mut second]) = tunnels(setup).await;
    clock.set(Duration::days(31));
    for stream in [&mut first, &mut second] {
        assert_eq!(ends(stream).await, "");
    }
    gateway.line("connection_closed", |line| line["reason"] == "connection.certificate_expired");
}

#[tokio::test]
async fn r7_a_rule_that_is_removed_ends_what_it_permitted() {
    let routes = "
  - { path: /v1/ws, methods: [GET], allow: [{ role: api-user, name: alice }, { role: api-user, name: bob }], upstream: api, upgrade: websocket }
";
    let (gateway, alice, [mut cut, mut other]) = tunnels(Setup { routes, ..with_websockets() }).await;
    let mut waiting = gateway.connect(Some(&alice), &["http/1.1"]).await.unwrap();
    let config = std::fs::read_to_string(gateway.path("gateway.yaml")).unwrap();
    gateway.replace("gateway.yaml", config.replace("{ role: api-user, name: alice }, ", ""));
    assert_eq!(ends(&mut cut).await, "", "the tunnel is cut");
    waiting.write_all(b"GET /v1/ws HTTP/1.1\r\nhost: g\r\n\r\n").await.unwrap();
    assert!(read_until(&mut waiting, "\r\n\r\n").await.starts_with("HTTP/1.1 403 "));
    crate::upgrade::ping(&mut other).await;
    let line = gateway.line("request", |line| line["status"] == 101 && line["name"] == "alice");
    assert_eq!(line["reason"], "policy.name_mismatch", "{line}");
    gateway.replace("gateway.yaml", config.replace(", upgrade: websocket", ""));
    assert_eq!(ends(&mut other).await, "", "the call is allowed, a WebSocket is not any more");
}

#[tokio::test]
async fn r7_a_streaming_response_ends_with_its_permission() {
    let (upstream, started) = endless();
    let gateway = Setup::in_front_of(upstream).start();
    let mut stream = gateway.connect(Some(&gateway.user()), &["http/1.1"]).await.unwrap();
    stream.write_all(CALL).await.unwrap();
    read_until(&mut stream, "hello").await;
    let held = started.recv().unwrap();
    let config = std::fs::read_to_string(gateway.path("gateway.yaml")).unwrap();
    gateway.replace("gateway.yaml", config.replace("{ role: api-user }, ", ""));
    assert!(!ends(&mut stream).await.contains("0\r\n\r\n"));
    assert_eq!(gateway.line("request", |_| true)["reason"], "policy.role_not_allowed");
    drop(held);
}

#[tokio::test]
async fn r5_a_trust_anchor_that_is_removed_ends_its_callers_and_no_others() {
    let (mut setup, second) = (Setup::new(), Cluster::new("prod"));
    setup.bundle = Some(setup.cluster.bundle() + &second.bundle());
    setup.crl = Some(setup.cluster.crl(1, &[]) + &second.crl(1, &[]));
    let gateway = setup.start();
    let mut kept = idle(&gateway, &gateway.user()).await;
    let mut cut = Vec::new();
    for name in ["bob", "carol"] {
        cut.push(idle(&gateway, &second.leaf("api-user", name)).await);
    }
    gateway.replace("cluster.crt", gateway.cluster.bundle());
    for stream in &mut cut {
        assert_eq!(ends(stream).await, "");
    }
    gateway.line("connection_closed", |line| line["reason"] == "connection.trust_changed");
    call(&mut kept).await;
}

#[tokio::test]
async fn r6_nobody_slips_in_between_check_and_registration() {
    let gateway = Arc::new(Setup::new().start());
    let alice = gateway.user();
    let callers = (0..4).map(|_| {
        let (gateway, alice) = (Arc::clone(&gateway), alice.clone());
        tokio::spawn(async move {
            let mut open = Vec::new();
            // Until the first is turned away; whoever got in before that has to be cut.
            loop {
                let Ok(mut stream) = gateway.connect(Some(&alice), &["http/1.1"]).await else { break };
                let mut first = [0; 12];
                if stream.write_all(CALL).await.is_err()
                    || patiently(stream.read_exact(&mut first)).await.is_err()
                    || &first != b"HTTP/1.1 200"
                {
                    break;
                }
                open.push(stream);
            }
            open
        })
    });
    let callers: Vec<_> = callers.collect();
    while gateway.running().open_connections() <= 8 {
        tokio::task::yield_now().await;
    }
    gateway.replace("cluster.crl", gateway.cluster.crl(2, &[&alice]));
    for caller in callers {
        for mut stream in patiently(caller).await.unwrap() {
            ends(&mut stream).await;
        }
    }
    eventually("nobody is left", || (gateway.running().open_connections() == 0).then_some(()));
}

#[tokio::test]
async fn r10_a_cut_overrules_a_drain() {
    let (upstream, started) = endless();
    let mut gateway = Setup::in_front_of(upstream).start();
    let alice = gateway.user();
    let mut stream = gateway.connect(Some(&alice), &["http/1.1"]).await.unwrap();
    stream.write_all(CALL).await.unwrap();
    read_until(&mut stream, "hello").await;
    let held = started.recv().unwrap();
    gateway.running().drain();
    gateway.replace("cluster.crl", gateway.cluster.crl(2, &[&alice]));
    ends(&mut stream).await;
    assert_eq!(gateway.line("connection_closed", |_| true)["reason"], "connection.certificate_revoked");
    gateway.join();
    drop(held);
}

/// A connection of `leaf` whose own side takes little by itself: the rest stays on the gateway's.
async fn taking_little(gateway: &TestGateway, leaf: &Leaf, alpn: &str) -> Tls {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let stream = socket.connect(gateway.address).await.unwrap();
    let tls = gateway.client_config(Some(leaf), &[alpn], rustls::DEFAULT_VERSIONS);
    gateway.connect_over(stream, tls, gateway.address.ip().into()).await.unwrap()
}

#[tokio::test]
async fn a_cut_is_not_held_up_by_a_caller_who_reads_nothing() {
    let (upstream, fed, _) = until_full();
    let gateway = Setup::in_front_of(upstream).start();
    let alice = gateway.user();
    let mut stream = gateway.connect(Some(&alice), &["http/1.1"]).await.unwrap();
    stream.write_all(CALL).await.unwrap();
    tokio::task::spawn_blocking(move || fed.recv().unwrap()).await.unwrap();
    revoke(&gateway, 2, &[&alice]);
    eventually("it is gone", || (gateway.running().open_connections() == 0).then_some(()));
}

#[tokio::test]
async fn r2_r7_what_was_sent_and_not_taken_is_taken_back() {
    let (upstream, filled, _) = until_full();
    let gateway = Setup::in_front_of(upstream).start();
    let config = std::fs::read_to_string(gateway.path("gateway.yaml")).unwrap();
    let alice = gateway.user();
    let ways: [(&str, &dyn Fn()); 2] = [
        ("connection.certificate_revoked", &|| revoke(&gateway, 2, &[&alice])),
        ("policy.role_not_allowed", &|| {
            gateway.replace("gateway.yaml", config.replace("{ role: api-user }, ", ""));
        }),
    ];
    for ((reason, end), leaf) in ways.iter().zip([&alice, &gateway.cluster.leaf("api-user", "bob")]) {
        let mut stream = taking_little(&gateway, leaf, "http/1.1").await;
        stream.write_all(CALL).await.unwrap();
        filled.recv().unwrap();
        end();
        gateway.line("request", |line| line["reason"] == *reason);
        eventually("it is gone", || (gateway.running().open_connections() == 0).then_some(()));
        let rest = ends(&mut stream).await;
        assert!(rest.len() < 256 << 10, "{reason}: {} bytes came afterwards", rest.len());
    }
}

#[tokio::test]
async fn r7_little_is_on_its_way_to_a_caller_that_takes_nothing_when_a_stream_ends() {
    let (upstream, filled, _) = until_full();
    let gateway = Setup::in_front_of(upstream).start();
    let stream = taking_little(&gateway, &gateway.user(), "h2").await;
    let (mut calls, mut connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(64 << 20)
        .initial_connection_window_size(64 << 20)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let request = Request::builder().uri("https://gateway/v1/x").body(Full::<Bytes>::default()).unwrap();
    let response = tokio::select! {
        response = calls.send_request(request) => response.unwrap(),
        _ = &mut connection => panic!("it ended"),
    };
    // Nobody reads from the connection from here on.
    filled.recv().unwrap();
    let config = std::fs::read_to_string(gateway.path("gateway.yaml")).unwrap();
    gateway.replace("gateway.yaml", config.replace("{ role: api-user }, ", ""));
    gateway.line("request", |line| line["reason"] == "policy.role_not_allowed");
    let mut body = response.into_body();
    let mut came = 0;
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            came += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    tokio::select! {
        () = patiently(read) => {}
        _ = &mut connection => {}
    }
    assert!(came < 512 << 10, "{came} bytes came afterwards");
}
