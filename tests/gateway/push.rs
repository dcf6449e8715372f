//! CRLs that operators push, and the status that they ask for.

use cluster_ca::error::Coded;
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
    assert_eq!((&pushed["connections_closed"], &pushed["generation"]), (&1.into(), &2.into()), "{pushed}");
    assert_eq!((&pushed["crl"][0]["number"], &pushed["crl"][0]["revoked"]), (&"2".into(), &1.into()));
    assert!(pushed["duration_us"].is_u64() && pushed["connections_ending"] == 0, "{pushed}");
    let line = gateway.line("connection_closed", |_| true);
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
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &"push.too_many_crls".into()));
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
    let kept = kept(&gateway, "crl");
    std::fs::write(&kept, "").unwrap();
    assert_eq!(gateway.reload(), Err("x509.no_block"));
    // Nor does removing it bring back whom it shut out.
    std::fs::remove_file(&kept).unwrap();
    assert_eq!(refused_start(gateway), "crl.rollback");
}

/// The one file of this kind in the state directory.
fn kept(gateway: &TestGateway, extension: &str) -> std::path::PathBuf {
    let files = std::fs::read_dir(gateway.path("state")).unwrap().map(|entry| entry.unwrap().path());
    let mut files = files.filter(|path| path.extension().is_some_and(|found| found == extension));
    files.next().expect("a file of this kind")
}

/// The code of why it does not start again.
fn refused_start(gateway: TestGateway) -> &'static str {
    gateway.try_restart().err().expect("it does not start").0.code()
}

#[tokio::test]
async fn an_older_crl_file_is_not_taken_after_a_restart_either() {
    let start = || Setup { more: "state_directory: state", ..Setup::new() }.start();
    let gateway = start();
    let alice = gateway.user();
    gateway.replace("cluster.crl", gateway.cluster.crl(13, &[&alice]));
    gateway.wait_for_crl(13);
    let gateway = gateway.restart();
    gateway.refused(Some(&alice)).await;
    gateway.replace("cluster.crl", gateway.cluster.crl(6, &[]));
    let check = ["check", "--config", "gateway.yaml"];
    let checked = crate::process::gateway(gateway.directory(), &check).output().unwrap();
    let said = String::from_utf8(checked.stderr).unwrap();
    assert!(said.contains("hint: a newer CRL"), "{said}");
    assert_eq!(refused_start(gateway), "crl.rollback");

    // Nor is another one of the same number, nor the record passed over that cannot be read, or that any user can write.
    for (harm, code) in [
        (None, "crl.number_reused"),
        (Some("damaged"), "crl.record_damaged"),
        (Some("writable"), "file.writable_by_all"),
    ] {
        let gateway = start();
        gateway.replace("cluster.crl", gateway.cluster.crl(13, &[&gateway.user()]));
        gateway.wait_for_crl(13);
        let record = kept(&gateway, "newest");
        let is_noted = || std::fs::read_to_string(&record).unwrap().starts_with("13 ").then_some(());
        crate::eventually::eventually("it is noted", is_noted);
        match harm {
            Some("damaged") => std::fs::write(record, "13").unwrap(),
            Some(_) => {
                let anyone = std::os::unix::fs::PermissionsExt::from_mode(0o646);
                std::fs::set_permissions(record, anyone).unwrap();
            }
            None => gateway.replace("cluster.crl", gateway.cluster.crl(13, &[])),
        }
        assert_eq!(refused_start(gateway), code);
    }
}

#[tokio::test]
async fn a_flood_of_pushes_delays_no_revocation() {
    let gateway = with_operators().start();
    let (mallory, honest) = (admin(&gateway), gateway.cluster.leaf("control-service", "127.0.0.1"));
    // What is in force already, again and again, is refused before any of it is verified.
    let flood = gateway.cluster.crl(1, &[]).repeat(4_000);
    let answer = push(&gateway, &mallory, flood.clone()).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &"push.too_many_crls".into()));

    // One that does not come to its end keeps out those of the same certificate, and nobody else's.
    let mut slow = gateway.connect(Some(&mallory), &["http/1.1"]).await.unwrap();
    let head = format!(
        "PUT /.well-known/cluster/crl HTTP/1.1\r\nhost: g\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        flood.len()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut slow, "100 Continue").await;
    slow.write_all(&flood.as_bytes()[..1_000]).await.unwrap();
    let busy = push(&gateway, &mallory, gateway.cluster.crl(1, &[])).await;
    assert_eq!((busy.status.as_u16(), busy.header("retry-after")), (429, "1"));
    assert_eq!(busy.json()["code"], "push.busy");
    let (alice, bob) = (gateway.user(), gateway.cluster.leaf("api-user", "bob"));
    assert_eq!(push(&gateway, &honest, gateway.cluster.crl(2, &[&alice])).await.status, 200);
    gateway.refused(Some(&alice)).await;
    gateway.replace("cluster.crl", gateway.cluster.crl(3, &[&alice, &bob, &mallory]));
    gateway.wait_for_crl(3);
    gateway.refused(Some(&bob)).await;

    // Whoever goes away, or is cut, makes room.
    let mut rest = Vec::new();
    let _ = patiently(slow.read_to_end(&mut rest)).await;
    let renewed = gateway.cluster.leaf("api-user", "admin");
    let answer = push(&gateway, &renewed, gateway.cluster.crl(4, &[&alice, &bob, &mallory])).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_push_says_nothing_of_whether_the_files_can_be_loaded() {
    let more = "operators: [{ role: api-user, name: admin }]\nstate_directory: state\nmetrics: 127.0.0.1:0";
    let gateway = Setup { more, ..Setup::new() }.start();
    let failing = |wanted: &str| {
        let line = format!("\ncluster_gateway_reload_failing {wanted}\n");
        crate::metrics::fetch(&gateway, "/metrics").1.contains(&line)
    };
    assert_eq!(push(&gateway, &admin(&gateway), "nonsense").await.status, 400);
    let status = gateway.status();
    assert_eq!(status["reload"]["last_error"], Value::Null, "a refused push is no failed reload");
    assert_eq!(status["reload"]["results"]["push"]["failed"], 1);
    assert!(failing("0"));

    let config = std::fs::read_to_string(gateway.path("gateway.yaml")).unwrap();
    gateway.replace("gateway.yaml", "broken: [");
    assert_eq!(gateway.reload(), Err("gateway.configuration"));
    assert_eq!(push(&gateway, &admin(&gateway), gateway.cluster.crl(2, &[])).await.status, 200);
    assert!(failing("1"), "the file is still broken");
    assert_eq!(gateway.status()["reload"]["last_error"]["code"], "gateway.configuration");
    assert_eq!(push(&gateway, &admin(&gateway), "nonsense").await.status, 400);
    assert_eq!(gateway.status()["reload"]["last_error"]["code"], "gateway.configuration");
    gateway.replace("gateway.yaml", config);
    assert_eq!(gateway.reload(), Ok(()));
    assert!(failing("0"));
}

#[test]
fn a_state_directory_open_to_others_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    with_operators().write(directory.path());
    for (mode, good) in [(0o700, true), (0o755, true), (0o775, false), (0o757, false), (0o1777, false)] {
        let state = directory.path().join("state");
        std::fs::set_permissions(&state, std::fs::Permissions::from_mode(mode)).unwrap();
        let loaded = cluster_ca::gateway::config::Config::load(&directory.path().join("gateway.yaml"));
        let problems: Vec<_> = loaded.err().iter().flatten().map(ToString::to_string).collect();
        assert_eq!(problems.is_empty(), good, "{mode:o}: {problems:?}");
        if let [problem] = problems.as_slice() {
            let mode = format!("mode {mode:04o}");
            assert!(problem.contains("state_directory: ") && problem.contains(&mode), "{problem}");
        } else {
            assert!(good, "{problems:?}");
        }
    }
    let check = ["check", "--config", "gateway.yaml"];
    let checked = crate::process::gateway(directory.path(), &check).output().unwrap();
    assert_eq!(checked.status.code(), Some(1));
}

#[tokio::test]
async fn a_crl_that_cannot_be_kept_is_not_taken() {
    let gateway = with_operators().start();
    std::fs::remove_dir_all(gateway.path("state")).unwrap();
    let answer = push(&gateway, &admin(&gateway), gateway.cluster.crl(2, &[])).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (500, &"push.not_kept".into()));
    assert_eq!(gateway.status()["generation"], 1);
}

#[tokio::test]
async fn t12_a_file_that_goes_back_is_refused_though_a_newer_crl_was_pushed() {
    let setup = with_operators();
    let revoked = setup.cluster.leaf("api-user", "mallory");
    let crl = setup.cluster.crl(5, &[]);
    let gateway = Setup { crl: Some(crl.clone()), ..setup }.start();
    assert_eq!(push(&gateway, &admin(&gateway), gateway.cluster.crl(8, &[&revoked])).await.status, 200);
    let in_force = || gateway.status()["crl"][0]["number"].clone();
    // Nothing is wrong with a file that nobody has replaced yet, or only by what came before the push.
    assert_eq!(gateway.reload(), Ok(()));
    let sixth = gateway.cluster.crl(6, &[]);
    gateway.replace("cluster.crl", &sixth);
    assert_eq!(gateway.reload(), Ok(()));
    for (contents, code) in [
        (crl.clone(), "crl.rollback"),
        (gateway.cluster.crl(4, &[]), "crl.rollback"),
        (gateway.cluster.crl(6, &[&gateway.node()]), "crl.number_reused"),
        (Cluster::new("prod").crl(9, &[]), "crl.unknown_issuer"),
    ] {
        gateway.replace("cluster.crl", contents);
        assert_eq!(gateway.reload(), Err(code));
        assert_eq!(in_force(), "8");
        gateway.refused(Some(&revoked)).await;
    }
    // The newest of those in the file is the one that counts.
    gateway.replace("cluster.crl", crl + &sixth);
    assert_eq!(gateway.reload(), Ok(()));
    gateway.replace("cluster.crl", gateway.cluster.crl(9, &[&revoked]));
    gateway.wait_for_crl(9);
}

#[tokio::test]
async fn gateways_that_share_a_state_directory_take_nothing_older_than_either_had() {
    let gateway = with_operators().start();
    admin(&gateway).write(gateway.directory(), "admin");
    let (mut other, address, _said) =
        crate::process::start(gateway.directory(), &["run", "--config", "gateway.yaml"]);
    let push_to_other = |number: u64| {
        std::fs::write(gateway.path("pushed.crl"), gateway.cluster.crl(number, &[])).unwrap();
        let output = std::process::Command::new("curl")
            .args(["--silent", "--max-time", "20", "--write-out", " %{http_code}", "--cacert", "cluster.crt"])
            .args(["--cert", "admin.crt", "--key", "admin.key", "--upload-file", "pushed.crl"])
            .arg(format!("https://{address}/.well-known/cluster/crl"))
            .current_dir(gateway.directory())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(push(&gateway, &admin(&gateway), gateway.cluster.crl(9, &[])).await.status, 200);
    let said = push_to_other(6);
    assert!(said.contains("crl.rollback") && said.ends_with(" 409"), "{said}");
    let said = push_to_other(10);
    assert!(said.ends_with(" 200"), "{said}");
    crate::process::terminate(&other);
    other.wait().unwrap();
    assert_eq!(gateway.restart().status()["crl"][0]["number"], "10");
}
