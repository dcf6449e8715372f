//! What is counted, and where it is fetched.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use time::Duration;
use tokio::io::AsyncWriteExt;

use crate::cluster::Cluster;
use crate::eventually::{PATIENCE, eventually};
use crate::harness::{MovedClock, Setup, TestGateway, patiently, read_until};
use crate::upstreams::{read_request, scripted};

const MEASURED: &str = "metrics: 127.0.0.1:0";

fn measured() -> TestGateway {
    Setup { more: MEASURED, ..Setup::new() }.start()
}

/// Asks the metrics listener; status and body.
pub(crate) fn fetch(gateway: &TestGateway, path: &str) -> (u16, String) {
    let answer = ask(gateway, &format!("GET {path} HTTP/1.1\r\nhost: metrics\r\nconnection: close\r\n\r\n"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn ask(gateway: &TestGateway, request: &str) -> String {
    let mut stream = TcpStream::connect(gateway.running().metrics().unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Every sample, by its name with labels.
fn samples(gateway: &TestGateway) -> BTreeMap<String, String> {
    let (status, text) = fetch(gateway, "/metrics");
    assert_eq!(status, 200);
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.strip_prefix("cluster_gateway_").unwrap().to_owned(), value.to_owned()))
        .collect()
}

/// Waits until a sample has this value.
fn reaches(gateway: &TestGateway, name: &str, wanted: &str) {
    let mut last = BTreeMap::new();
    eventually(&format!("{name} {wanted}"), || {
        last = samples(gateway);
        (last.get(name).map(String::as_str) == Some(wanted)).then_some(())
    });
}

#[test]
fn silent_connections_keep_no_scrape_waiting() {
    let gateway = measured();
    let address = gateway.running().metrics().unwrap();
    let mut silent: Vec<_> = (0..300).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert_eq!(fetch(&gateway, "/metrics").0, 200);
    // The youngest one keeps its place: the oldest made room, and no header timeout had to pass.
    let mut youngest = silent.pop().unwrap();
    youngest.set_read_timeout(Some(PATIENCE)).unwrap();
    youngest.write_all(b"GET /healthz HTTP/1.1\r\nhost: metrics\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    youngest.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // The oldest one has been closed: an orderly end or a reset.
    let mut oldest = silent.swap_remove(0);
    oldest.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(matches!(oldest.read(&mut [0]), Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_look_at_the_open_port_is_counted_and_hides_nobody() {
    let gateway = measured();
    for _ in 0..3 {
        drop(TcpStream::connect(gateway.address).unwrap());
    }
    reaches(&gateway, "handshakes_total{result=\"tls.not_begun\"}", "3");
    gateway.refused(None).await;
    gateway.line("handshake_refused", |line| line["reason"] == "certificate.missing");
    let refused = gateway.lines().into_iter().filter(|line| line["event"] == "handshake_refused").count();
    assert_eq!(refused, 1, "the looks have no lines");
}

#[tokio::test]
async fn decisions_are_counted_by_role_and_rule_and_never_by_name() {
    let gateway = measured();
    let (user, node) = (gateway.user(), gateway.node());
    for _ in 0..3 {
        gateway.get(&user, "/v1/things").await;
    }
    gateway.get(&node, "/v1/things").await;
    gateway.get(&user, "/v2").await;
    reaches(&gateway, "request_duration_seconds_count", "5");
    let samples = samples(&gateway);
    let of = |role, decision, rule: &str| {
        let name = format!("decisions_total{{role=\"{role}\",decision=\"{decision}\",rule=\"{rule}\"}}");
        samples.get(&name).map_or("0", String::as_str).to_owned()
    };
    let line = gateway.line("request", |line| line["decision"] == "permit");
    let rule = line["rule"].as_str().unwrap();
    assert_eq!(of("api-user", "permit", rule), "3");
    assert_eq!(of("node-agent", "deny", rule), "1");
    assert_eq!(of("api-user", "deny", "none"), "1");
    assert_eq!(
        (&*samples["responses_total{class=\"2xx\"}"], &*samples["responses_total{class=\"4xx\"}"]),
        ("3", "2")
    );
    assert_eq!(samples["request_duration_seconds_bucket{le=\"+Inf\"}"], "5");
    let text = fetch(&gateway, "/metrics").1;
    assert!(
        !text.contains("alice") && !text.contains(&user.serial_number()) && !text.contains("things"),
        "{text}"
    );
}

#[tokio::test]
async fn handshakes_are_counted_by_their_result() {
    let gateway = measured();
    gateway.get(&gateway.user(), "/v1/x").await;
    gateway.refused(None).await;
    let stranger = Cluster::new("other").leaf("api-user", "mallory");
    gateway.refused(Some(&stranger)).await;
    reaches(&gateway, "handshakes_total{result=\"full\"}", "1");
    reaches(&gateway, "handshakes_total{result=\"certificate.missing\"}", "1");
    reaches(&gateway, "handshakes_total{result=\"chain.unknown_issuer\"}", "1");
    reaches(&gateway, "connections", "0");
}

#[tokio::test]
async fn the_delay_of_a_revocation_is_measured() {
    let gateway = measured();
    let user = gateway.user();
    let (_calls, connection) = gateway.open_h2(&user).await;
    reaches(&gateway, "handshakes_total{result=\"full\"}", "1");
    let before = samples(&gateway);
    for reason in ["certificate_expired", "certificate_revoked", "trust_changed"] {
        let sample = format!("revocation_delay_seconds_count{{reason=\"connection.{reason}\"}}");
        assert_eq!(
            before[sample.as_str()],
            "0",
            "there from the start: of what appears, no increase is seen"
        );
    }
    gateway.replace("cluster.crl", gateway.cluster.crl(2, &[&user]));
    gateway.running().request_reload();
    let _ = patiently(connection).await;
    reaches(&gateway, "revocation_delay_seconds_count{reason=\"connection.certificate_revoked\"}", "1");
    let samples = samples(&gateway);
    let within = "revocation_delay_seconds_bucket{reason=\"connection.certificate_revoked\",le=\"1\"}";
    assert_eq!(samples[within], "1");
    assert_eq!(samples["connections_closed_total{reason=\"connection.certificate_revoked\"}"], "1");
    assert!(
        samples.iter().any(|(name, value)| name.starts_with("crl_number{") && value == "2"),
        "{samples:?}"
    );
    assert!(samples.iter().any(|(name, value)| name.starts_with("crl_entries{") && value == "1"));
    eventually("a reload that succeeded", || {
        let succeeded =
            |name: &String| name.starts_with("reloads_total{") && name.ends_with("\"succeeded\"}");
        self::samples(&gateway).iter().any(|(name, value)| succeeded(name) && value == "1").then_some(())
    });
}

#[tokio::test]
async fn the_delay_is_measured_of_whatever_ends_what_is_open() {
    let (sender, held) = std::sync::mpsc::channel();
    let upstream = scripted(move |_, mut stream| {
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").unwrap();
        sender.send(stream).unwrap();
    });
    let (clock, second) = (MovedClock::default(), Cluster::new("prod"));
    let setup = Setup { more: MEASURED, clock: Arc::new(clock.clone()), ..Setup::in_front_of(upstream) };
    let bundle = Some(setup.cluster.bundle() + &second.bundle());
    let crl = Some(setup.cluster.crl(1, &[]) + &second.crl(1, &[]));
    let gateway = Setup { bundle, crl, ..setup }.start();
    let counted = |name: &str, reason: &str| {
        reaches(&gateway, &format!("revocation_delay_seconds_count{{reason=\"{reason}\"}}"), "1");
        reaches(&gateway, &format!("{name}{{reason=\"{reason}\"}}"), "1");
    };
    let mut open = Vec::new();
    for leaf in [&gateway.user(), &second.leaf("api-user", "bob"), &gateway.user()] {
        open.push(gateway.connect(Some(leaf), &["http/1.1"]).await.unwrap());
    }
    reaches(&gateway, "handshakes_total{result=\"full\"}", "3");
    open[0].write_all(b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n").await.unwrap();
    read_until(&mut open[0], "hello").await;
    gateway.replace("cluster.crt", gateway.cluster.bundle());
    counted("connections_closed_total", "connection.trust_changed");
    let config = std::fs::read_to_string(gateway.path("gateway.yaml")).unwrap();
    gateway.replace("gateway.yaml", config.replace("{ role: api-user }, ", ""));
    counted("requests_interrupted_total", "policy.role_not_allowed");
    clock.set(Duration::days(31));
    counted("connections_closed_total", "connection.certificate_expired");
    drop(held);
}

#[tokio::test]
async fn a_failed_reload_shows_until_one_succeeds() {
    let gateway = measured();
    gateway.replace("cluster.crl", "");
    assert!(gateway.running().reload().is_err());
    reaches(&gateway, "reload_failing", "1");
    reaches(&gateway, "generation", "1");
    gateway.replace("cluster.crl", gateway.cluster.crl(2, &[]));
    gateway.running().reload().unwrap();
    reaches(&gateway, "reload_failing", "0");
}

#[tokio::test]
async fn what_runs_out_is_counted_down() {
    let clock = MovedClock::default();
    let gateway = Setup { more: MEASURED, clock: Arc::new(clock.clone()), ..Setup::new() }.start();
    gateway.get(&gateway.user(), "/v1/x").await;
    let left = |name: &str| {
        let samples = samples(&gateway);
        let (_, value) = samples.iter().find(|(sample, _)| sample.starts_with(name)).unwrap();
        Duration::seconds(value.parse().unwrap())
    };
    let near = |left: Duration, wanted: Duration| (wanted - Duration::MINUTE..=wanted).contains(&left);
    assert!(near(left("crl_seconds_left{"), Duration::days(10)));
    assert!(near(left("certificate_seconds_left"), Duration::days(30)));
    assert!(near(left("client_certificate_seconds_left{role=\"api-user\"}"), Duration::days(30)));
    clock.set(Duration::days(9));
    assert!(near(left("crl_seconds_left{"), Duration::DAY));
    clock.set(Duration::days(11));
    assert!(left("crl_seconds_left{").is_negative());
}

#[tokio::test]
async fn the_faults_of_a_service_behind_are_counted_as_its_own() {
    let gateway =
        Setup { more: MEASURED, upstream: Some("127.0.0.1:1".parse().unwrap()), ..Setup::new() }.start();
    assert_eq!(gateway.get(&gateway.user(), "/v1/x").await.status, 502);
    reaches(&gateway, "upstream_errors_total{upstream=\"api\",reason=\"upstream.connect\"}", "1");
}

#[tokio::test]
async fn the_listener_answers_get_and_nothing_that_matters() {
    let gateway = measured();
    assert_eq!(fetch(&gateway, "/healthz"), (200, "serving\n".to_owned()));
    for path in ["/", "/v1/things", "/.well-known/cluster/whoami", "/.well-known/cluster/status", "/metrics/"]
    {
        assert_eq!(fetch(&gateway, path).0, 404, "{path}");
    }
    for request in ["POST /metrics", "PUT /.well-known/cluster/crl", "HEAD /metrics"] {
        let answer = ask(&gateway, &format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    }
}
