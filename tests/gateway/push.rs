//! CRLs that operators push, and the status that they ask for.

use http::Request;
use http_body_util::Full;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::{Cluster, Leaf};
use crate::harness::{Answer, Setup, TestGateway, patiently, read_until, request};

const OPERATORS: &str =
    "operators: [{ role: api-user, name: admin }, { role: control-service }]\nstate_directory: state\n";

fn with_operators() -> Setup {
    Setup { more: OPERATORS, ..Setup::new() }
}

pub(crate) fn admin(gateway: &TestGateway) -> Leaf {
    gateway.cluster.leaf("api-user", "admin")
}

pub(crate) async fn push(gateway: &TestGateway, by: &Leaf, crl: impl Into<bytes::Bytes>) -> Answer {
    let request = Request::builder().method("PUT").uri("/.well-known/cluster/crl").header("host", "gateway");
    gateway.call(by, request.body(Full::from(crl.into())).unwrap()).await
}

#[tokio::test]
async fn a_pushed_crl_cuts_before_the_push_is_answered() {
    let gateway = with_operators().start();
    let (alice, bob) = (gateway.user(), gateway.cluster.leaf("api-user", "bob"));
    let mut open = Vec::new();
    for user in [&alice, &bob] {
        let mut stream = gateway.connect(Some(user), &["http/1.1"]).await.unwrap();
        stream.write_all(b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n").await.unwrap();
        read_until(&mut stream, "body_too_large_to_echo").await;
        open.push(stream);
    }
    let answer = push(&gateway, &admin(&gateway), gateway.cluster.crl(2, &[&alice])).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let pushed = answer.json();
    assert_eq!((&pushed["connections_cut"], &pushed["generation"]), (&1.into(), &2.into()), "{pushed}");
    assert_eq!((&pushed["crl"][0]["number"], &pushed["crl"][0]["revoked"]), (&"2".into(), &1.into()));
    assert!(pushed["duration_us"].as_u64().unwrap() < 1_000_000, "{pushed}");
    let line = gateway.line("connection_cut", |_| true);
    assert_eq!((&line["name"], &line["reason"]), (&"alice".into(), &"connection.certificate_revoked".into()));
    let mut rest = Vec::new();
    patiently(open[0].read_to_end(&mut rest)).await.unwrap();
    open[1].write_all(b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n").await.unwrap();
    read_until(&mut open[1], "body_too_large_to_echo").await;
    gateway.refused(Some(&alice)).await;
}

#[tokio::test]
async fn a_crl_is_taken_as_der_and_in_one_go_for_several_issuers() {
    let gateway = with_operators().start();
    let pem = gateway.cluster.crl(2, &[]);
    let der = cluster_ca::x509::pem::blocks(pem.as_bytes()).unwrap()[0].der().to_vec();
    assert_eq!(push(&gateway, &admin(&gateway), der).await.status, 200);
    // One bad one, and none is taken.
    let both = gateway.cluster.crl(3, &[]) + &Cluster::new("other").crl(1, &[]);
    let answer = push(&gateway, &admin(&gateway), both).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (422, &"crl.unknown_issuer".into()));
    assert_eq!(gateway.status()["crl"][0]["number"], "2");
}

#[tokio::test]
async fn only_operators_push_and_ask_for_the_status() {
    let gateway = with_operators().start();
    let status = || request("GET", "/.well-known/cluster/status", "");
    let control = gateway.cluster.leaf("control-service", "127.0.0.1");
    for stranger in [gateway.user(), gateway.node()] {
        let crl = gateway.cluster.crl(2, &[]);
        for answer in [push(&gateway, &stranger, crl).await, gateway.call(&stranger, status()).await] {
            assert_eq!(
                (answer.status.as_u16(), &answer.json()["code"]),
                (403, &"policy.not_an_operator".into())
            );
        }
    }
    assert_eq!(gateway.status()["crl"][0]["number"], "1");
    for operator in [admin(&gateway), control] {
        let status = gateway.call(&operator, status()).await.json();
        assert_eq!(
            (&status["generation"], &status["crl"][0]["number"]),
            (&1.into(), &"1".into()),
            "{status}"
        );
        assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
        for field in ["time", "connections", "trust", "certificate", "reload"] {
            assert!(!status[field].is_null(), "{field}: {status}");
        }
    }

    let nobody = TestGateway::start();
    assert_eq!(nobody.call(&admin(&nobody), status()).await.status, 403, "nobody is listed, nobody may");
}

#[tokio::test]
async fn the_same_crl_changes_nothing_and_an_older_one_is_a_conflict() {
    let gateway = with_operators().start();
    let admin = admin(&gateway);
    let crl = gateway.cluster.crl(7, &[]);
    for generation in [2, 2] {
        let answer = push(&gateway, &admin, crl.clone()).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["generation"]), (200, &generation.into()));
    }
    for (number, code) in [(6, "crl.rollback"), (7, "crl.number_reused")] {
        let answer = push(&gateway, &admin, gateway.cluster.crl(number, &[&gateway.user()])).await;
        let problem = answer.json();
        assert_eq!((answer.status.as_u16(), &problem["code"]), (409, &code.into()));
        assert_eq!((&problem["current"], &problem["offered"]), (&"7".into(), &number.to_string().into()));
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
}

#[tokio::test]
async fn what_is_no_crl_of_ours_is_not_taken() {
    let gateway = with_operators().start();
    let admin = admin(&gateway);
    let expired = gateway.cluster.crl_until(2, &[], crate::cluster::now() - time::Duration::HOUR);
    for (body, status, code) in [
        (String::new(), 400, "x509.no_block"),
        ("nonsense".to_owned(), 400, "x509.no_block"),
        (gateway.cluster.bundle(), 400, "x509.unexpected_block"),
        (Cluster::new("prod").crl(2, &[]), 422, "crl.unknown_issuer"),
        (expired, 422, "revocation.crl_expired"),
    ] {
        let answer = push(&gateway, &admin, body).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (status, &code.into()));
    }
    let posted = gateway.call(&admin, request("POST", "/.well-known/cluster/crl", "")).await;
    assert_eq!((posted.status.as_u16(), posted.header("allow")), (405, "PUT"));
    assert_eq!(gateway.status()["generation"], 1);
    let failed: Value = gateway.status()["reload"]["results"]["push"]["failed"].clone();
    assert_eq!(failed, 5);
}

#[tokio::test]
async fn a_pushed_crl_outlives_a_restart_and_a_reload_of_the_older_file() {
    let gateway = with_operators().start();
    let alice = gateway.user();
    assert_eq!(push(&gateway, &admin(&gateway), gateway.cluster.crl(2, &[&alice])).await.status, 200);
    assert_eq!(gateway.reload(), Ok(()), "the file still holds CRL 1");
    gateway.refused(Some(&alice)).await;

    let gateway = gateway.restart();
    gateway.refused(Some(&alice)).await;
    assert_eq!(gateway.status()["crl"][0]["number"], "2");
    // What has been kept and cannot be read any more could be a revocation.
    let kept = std::fs::read_dir(gateway.path("state")).unwrap().next().unwrap().unwrap();
    std::fs::write(kept.path(), "").unwrap();
    assert_eq!(gateway.reload(), Err("x509.no_block"));
}

#[tokio::test]
async fn a_crl_that_cannot_be_kept_is_not_taken() {
    let gateway = with_operators().start();
    std::fs::remove_dir(gateway.path("state")).unwrap();
    let answer = push(&gateway, &admin(&gateway), gateway.cluster.crl(2, &[])).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (500, &"push.not_kept".into()));
    assert_eq!(gateway.status()["generation"], 1);
}
