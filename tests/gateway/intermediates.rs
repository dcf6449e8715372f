//! Authorities below the root, each with a CRL of its own (T11, T12, T17, R1, R5, R9 of the attack
//! checklist).

use cluster_ca::error::Coded;
use std::sync::Arc;

use http::Request;
use http_body_util::Full;
use rcgen::{BasicConstraints, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::Value;
use time::Duration;

use crate::cluster::{Leaf, authority, crl_by, leaf_params, now};
use crate::cutoff::{call, idle};
use crate::harness::{Answer, MovedClock, Setup, TestGateway, Tls};

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A gateway that knows an authority `users` below its root, and its CRL 5.
fn with_users() -> (Setup, Authority) {
    let mut setup = Setup::new();
    let users = setup.cluster.intermediate("users");
    setup.files = vec![("users.crt", users.pem()), ("users.crl", crl_of(&users, 5, &[]))];
    setup.trust = "intermediates: users.crt, crl: [cluster.crl, users.crl]".to_owned();
    (setup, users)
}

fn crl_of(users: &Authority, number: u64, revoked: &[&Leaf]) -> String {
    let serials = revoked.iter().map(|leaf| leaf.serial.clone());
    crl_by(users, number, serials, now() + Duration::days(10))
}

/// A leaf of `users`, who sends the certificate of `users` after his own.
fn user_of(users: &Authority, name: &str) -> Leaf {
    Leaf::signed(&leaf_params("prod", "api-user", name), users, &[users.der().clone()])
}

fn certificate(authority: &Authority) -> cluster_ca::x509::Certificate {
    cluster_ca::x509::Certificate::from_der(authority.der()).unwrap()
}

fn key_of(authority: &Authority) -> String {
    certificate(authority).subject_key_identifier.unwrap().to_string()
}

/// A CRL of the root that revokes an authority.
fn revoking(gateway: &TestGateway, number: u64, authority: &Authority) -> String {
    let serial = certificate(authority).serial_number.as_be_bytes().to_vec();
    gateway.cluster.crl_of(number, std::iter::once(serial), now() + Duration::days(10))
}

/// The number of the CRL in force of this authority.
fn number_of(gateway: &TestGateway, authority: &Authority) -> Option<String> {
    let status = gateway.status();
    let of = status["crl"].as_array().unwrap().iter().find(|crl| crl["issuer"] == key_of(authority));
    of.map(|crl| crl["number"].as_str().unwrap().to_owned())
}

/// Waits for the end of a connection on which nothing more is answered.
async fn ends(stream: &mut Tls) {
    assert_eq!(crate::cutoff::ends(stream).await, "");
}

async fn push(gateway: &TestGateway, crl: String) -> Answer {
    let admin = gateway.cluster.leaf("api-user", "admin");
    let request = Request::builder().method("PUT").uri("/.well-known/cluster/crl").header("host", "gateway");
    gateway.call(&admin, request.body(Full::from(crl)).unwrap()).await
}

const OPERATORS: &str = "operators: [{ role: api-user, name: admin }]\nstate_directory: state\n";

#[tokio::test]
async fn t11_each_authority_revokes_its_own_callers() {
    let (mut setup, users) = with_users();
    let (alice, mallory) = (user_of(&users, "alice"), user_of(&users, "mallory"));
    setup.files[1].1 = crl_of(&users, 5, &[&mallory]);
    let gateway = setup.start();
    assert_eq!(gateway.get(&alice, "/v1/x").await.status, 200);
    assert_eq!(gateway.get(&gateway.user(), "/v1/x").await.status, 200);
    gateway.refused(Some(&mallory)).await;
    assert_eq!(gateway.refusal(), "revocation.revoked");
    assert_eq!(number_of(&gateway, &users).as_deref(), Some("5"));
    assert_eq!(number_of(&gateway, &gateway.cluster.root).as_deref(), Some("1"));
    let below = &gateway.status()["trust"]["intermediates"];
    assert_eq!(
        (&below[0]["key_identifier"], &below[0]["subject"], &below[0]["revoked"]),
        (&key_of(&users).into(), &"CN=users".into(), &false.into())
    );
    // The root cannot revoke in its place, nor it in the root's.
    gateway.replace("users.crl", crl_of(&users, 6, &[&gateway.user(), &mallory]));
    gateway.replace("cluster.crl", gateway.cluster.crl(2, &[&alice]));
    gateway.reload().unwrap();
    assert_eq!(gateway.get(&alice, "/v1/x").await.status, 200);
}

#[tokio::test]
async fn what_another_connection_presented_lets_nobody_in_and_keeps_nobody_out() {
    let (mut setup, users) = with_users();
    // A configured authority would complete the chain.
    (setup.trust, setup.more) = (String::new(), "revocation: disabled");
    let gateway = setup.start();
    let whole = user_of(&users, "alice");
    let mut leaf_alone = whole.clone();
    leaf_alone.chain.truncate(1);
    let refusals = || gateway.lines().iter().filter(|line| line["event"] == "handshake_refused").count();
    for round in 1..=2 {
        gateway.refused(Some(&leaf_alone)).await;
        crate::eventually::eventually("it is told", || (refusals() == round).then_some(()));
        assert_eq!(gateway.get(&whole, "/v1/x").await.status, 200);
    }
    assert_eq!(gateway.refusal(), "chain.unknown_issuer");
}

#[tokio::test]
async fn r1_a_crl_of_an_authority_cuts_its_callers_and_no_others() {
    let (setup, users) = with_users();
    let gateway = Setup { more: OPERATORS, ..setup }.start();
    let (alice, bob, carol) = (user_of(&users, "alice"), user_of(&users, "bob"), user_of(&users, "carol"));
    let mut by_file = idle(&gateway, &alice).await;
    let mut by_push = idle(&gateway, &bob).await;
    let mut others = [idle(&gateway, &carol).await, idle(&gateway, &gateway.user()).await];
    gateway.replace("users.crl", crl_of(&users, 6, &[&alice]));
    ends(&mut by_file).await;
    let answer = push(&gateway, crl_of(&users, 7, &[&alice, &bob])).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["connections_closed"]),
        (200, &1.into()),
        "{answer:?}"
    );
    ends(&mut by_push).await;
    for other in &mut others {
        call(other).await;
    }
    for name in ["alice", "bob"] {
        let line = gateway.line("connection_closed", |line| line["name"] == name);
        assert_eq!(line["reason"], "connection.certificate_revoked");
    }

    // What was pushed outlives a restart, beside the older file.
    let gateway = gateway.restart();
    assert_eq!(number_of(&gateway, &users).as_deref(), Some("7"));
    gateway.refused(Some(&bob)).await;
}

#[tokio::test]
async fn r5_a_revoked_authority_takes_its_callers_along_and_no_others() {
    let (setup, users) = with_users();
    let gateway = setup.start();
    let alice = user_of(&users, "alice");
    let mut cut = idle(&gateway, &alice).await;
    let mut kept = idle(&gateway, &gateway.user()).await;
    gateway.replace("cluster.crl", revoking(&gateway, 2, &users));
    ends(&mut cut).await;
    assert_eq!(gateway.line("connection_closed", |_| true)["reason"], "connection.certificate_revoked");
    call(&mut kept).await;
    gateway.refused(Some(&alice)).await;
    assert_eq!(gateway.refusal(), "revocation.revoked");
    assert_eq!(gateway.status()["trust"]["intermediates"][0]["revoked"], true);
}

#[tokio::test]
async fn t11_what_a_revoked_authority_says_counts_for_nothing() {
    let (setup, users) = with_users();
    let gateway = Setup { more: OPERATORS, ..setup }.start();
    let alice = user_of(&users, "alice");
    gateway.replace("cluster.crl", revoking(&gateway, 2, &users));
    gateway.reload().unwrap();
    assert_eq!(number_of(&gateway, &users), None);
    // Neither its older CRL nor one that has expired stands in the way of the root's.
    for (number, theirs) in [
        (3, crl_of(&users, 1, &[])),
        (4, crl_by(&users, 6, std::iter::empty(), now() - Duration::HOUR)),
        (5, crl_of(&users, 7, &[]) + &crl_of(&users, 7, &[&alice])),
    ] {
        gateway.replace("users.crl", theirs);
        gateway.replace("cluster.crl", revoking(&gateway, number, &users));
        assert_eq!(gateway.reload(), Ok(()), "{number}");
    }
    let answer = push(&gateway, crl_of(&users, 8, &[])).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (422, &"crl.issuer_revoked".into()));
    // Together with the root's, it is passed over.
    let answer = push(&gateway, revoking(&gateway, 6, &users) + &crl_of(&users, 900, &[])).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        (number_of(&gateway, &gateway.cluster.root).as_deref(), number_of(&gateway, &users)),
        (Some("6"), None)
    );

    // Released, its last CRL that counted is in force, and nothing older than that is taken.
    let released = gateway.cluster.crl(7, &[]);
    gateway.replace("cluster.crl", &released);
    gateway.replace("users.crl", crl_of(&users, 4, &[]));
    // The files that were replaced before may be loaded just now, by their change.
    let refused = gateway.running().reload().map_err(|error| error.code());
    assert_eq!(refused, Err("crl.rollback"));
    assert_eq!(push(&gateway, released).await.status, 200);
    assert_eq!(number_of(&gateway, &users).as_deref(), Some("5"));
    assert_eq!(gateway.get(&alice, "/v1/x").await.status, 200);
}

#[tokio::test]
async fn t12_an_authority_without_a_crl_or_unfit_is_a_reason_not_to_start() {
    type Change = fn(&mut Setup, &Authority);
    let cases: &[(&str, Change)] = &[
        ("crl.missing_for_issuer", |setup, _| {
            setup.trust = "intermediates: users.crt, crl: cluster.crl".to_owned();
        }),
        ("revocation.crl_expired", |setup, users| {
            setup.files[1].1 = crl_by(users, 5, std::iter::empty(), now() - Duration::HOUR);
        }),
        ("trust.no_issuer", |setup, _| {
            setup.files[0].1 = crate::cluster::Cluster::new("prod").intermediate("users").pem();
        }),
        ("trust.self_signed", |setup, _| setup.files[0].1 = setup.cluster.bundle()),
        ("trust.key_usage", |setup, _| {
            let mut params = authority("users");
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            let key = KeyPair::generate().unwrap();
            let users = CertifiedIssuer::signed_by(params, key, &setup.cluster.root).unwrap();
            setup.files[0].1 = users.pem();
        }),
        ("trust.expired", |setup, _| {
            let mut params = authority("users");
            params.not_after = now() - Duration::SECOND;
            let key = KeyPair::generate().unwrap();
            let users = CertifiedIssuer::signed_by(params, key, &setup.cluster.root).unwrap();
            setup.files[0].1 = users.pem();
        }),
        ("x509.no_block", |setup, _| setup.files[0].1 = "nothing\n".to_owned()),
    ];
    for (code, change) in cases {
        let (mut setup, users) = with_users();
        change(&mut setup, &users);
        let (error, words) = *setup.try_start().map(|_| ()).unwrap_err();
        assert_eq!(error.code(), *code, "{words}");
    }
}

#[tokio::test]
async fn t12_a_crl_of_an_authority_that_is_not_to_be_believed_is_not_taken() {
    let (setup, users) = with_users();
    let gateway = Setup { more: OPERATORS, ..setup }.start();
    let impostor = gateway.cluster.intermediate("users");
    for (crl, status, code) in [
        (crl_of(&users, 4, &[]), 409, "crl.rollback"),
        (crl_of(&users, 5, &[&user_of(&users, "alice")]), 409, "crl.number_reused"),
        (crl_of(&impostor, 9, &[]), 422, "crl.unknown_issuer"),
        (crl_by(&users, 9, std::iter::empty(), now() - Duration::HOUR), 422, "revocation.crl_expired"),
    ] {
        let answer = push(&gateway, crl.clone()).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (status, &code.into()));
        gateway.replace("users.crl", crl);
        assert_eq!(gateway.reload(), Err(code));
        assert_eq!(number_of(&gateway, &users).as_deref(), Some("5"));
    }
    // One bad one, and none is taken.
    let both = gateway.cluster.crl(2, &[]) + &crl_of(&users, 4, &[]);
    assert_eq!(push(&gateway, both).await.json()["code"], "crl.rollback");
    assert_eq!(number_of(&gateway, &gateway.cluster.root).as_deref(), Some("1"));
}

#[tokio::test]
async fn a_caller_below_an_authority_that_is_not_known_is_told_what_is_missing() {
    let (setup, _) = with_users();
    let stranger = setup.cluster.intermediate("others");
    let gateway = setup.start();
    gateway.refused(Some(&user_of(&stranger, "alice"))).await;
    let line = gateway.line("handshake_refused", |_| true);
    assert_eq!(line["reason"], "revocation.no_crl");
    let detail = line["detail"].as_str().unwrap();
    assert!(detail.contains(&key_of(&stranger)) && detail.contains("trust.intermediates"), "{detail}");
}

/// An authority that borrows the key identifier of another one, whose CRL says nothing about its callers.
#[tokio::test]
async fn an_authority_cannot_pass_for_another_one_that_has_a_crl() {
    let (mut setup, users) = with_users();
    setup.trust = format!("issuers: {{ \"{}\": [api-user] }}, {}", key_of(&users), setup.trust);
    let mut params = authority("users");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let id = certificate(&users).subject_key_identifier.unwrap().0;
    params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(id);
    let posing =
        CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &setup.cluster.root).unwrap();
    let gateway = setup.start();
    gateway.refused(Some(&user_of(&posing, "alice"))).await;
    assert_eq!(gateway.refusal(), "chain.issuer_key_identifier");
    assert_eq!(gateway.get(&user_of(&users, "alice"), "/v1/x").await.status, 200, "the issuer's own");
}

#[tokio::test]
async fn t5_a_role_is_bound_to_an_authority_with_a_crl_as_to_any() {
    let (mut setup, users) = with_users();
    let root = key_of(&setup.cluster.root);
    setup.trust = format!(
        "issuers: {{ \"{root}\": [control-service, api-user], \"{}\": [api-user] }}, {}",
        key_of(&users),
        setup.trust
    );
    let gateway = setup.start();
    assert_eq!(gateway.get(&user_of(&users, "alice"), "/v1/x").await.status, 200);
    let params = leaf_params("prod", "control-service", "a.example");
    gateway.refused(Some(&Leaf::signed(&params, &users, &[users.der().clone()]))).await;
    assert_eq!(gateway.refusal(), "identity.issuer_role");
}

#[tokio::test]
async fn a_crl_past_its_end_concerns_its_own_issuer_alone() {
    let clock = MovedClock::default();
    let (mut setup, users) = with_users();
    setup.files[1].1 = crl_by(&users, 5, std::iter::empty(), now() + Duration::HOUR);
    let more = "operators: [{ role: api-user, name: admin }]\nstate_directory: state\nmetrics: 127.0.0.1:0\n";
    let gateway = Setup { clock: Arc::new(clock.clone()), more, ..setup }.start();
    let (alice, bob) = (user_of(&users, "alice"), gateway.cluster.leaf("api-user", "bob"));
    let mut open = idle(&gateway, &alice).await;
    let mut revoked = [idle(&gateway, &bob).await, idle(&gateway, &gateway.user()).await];
    clock.set(Duration::hours(2));
    gateway.refused(Some(&alice)).await;
    assert_eq!(gateway.refusal(), "revocation.crl_expired");
    call(&mut open).await;
    let metrics = crate::metrics::fetch(&gateway, "/metrics").1;
    let left = |key: &str| -> i64 {
        let name = format!("cluster_gateway_crl_seconds_left{{issuer=\"{key}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    };
    assert!(left(&key_of(&users)) < 0 && left(&key_of(&gateway.cluster.root)) > 0, "{metrics}");

    // What another issuer revokes does not wait for it, however it comes.
    gateway.replace("cluster.crl", gateway.cluster.crl(2, &[&bob]));
    assert_eq!(gateway.reload(), Ok(()));
    ends(&mut revoked[0]).await;
    let answer = push(&gateway, gateway.cluster.crl(3, &[&bob, &gateway.user()])).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(push(&gateway, crl_of(&users, 6, &[])).await.status, 200);
    assert_eq!(gateway.get(&alice, "/v1/x").await.status, 200);
    call(&mut open).await;
}

#[tokio::test]
async fn an_authority_that_is_known_no_more_takes_its_callers_along() {
    let (setup, users) = with_users();
    let gateway = setup.start();
    let alice = user_of(&users, "alice");
    let mut cut = idle(&gateway, &alice).await;
    let config = std::fs::read_to_string(gateway.path("gateway.yaml")).unwrap();
    let config =
        config.replace("intermediates: users.crt, crl: [cluster.crl, users.crl]", "crl: cluster.crl");
    gateway.replace("gateway.yaml", config);
    ends(&mut cut).await;
    assert_eq!(gateway.line("connection_closed", |_| true)["reason"], "connection.trust_changed");
    gateway.refused(Some(&alice)).await;
    assert_eq!(gateway.refusal(), "revocation.no_crl");
}

#[tokio::test]
async fn an_authority_below_an_authority_has_a_crl_of_its_own_too() {
    let mut setup = Setup::new();
    let mut params = authority("root");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(2));
    setup.cluster.root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    setup.own = setup.cluster.leaf("control-service", "127.0.0.1");
    setup.crl = Some(setup.cluster.crl(1, &[]));
    let upper =
        CertifiedIssuer::signed_by(authority("upper"), KeyPair::generate().unwrap(), &setup.cluster.root)
            .unwrap();
    let mut params = authority("lower");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let lower = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &upper).unwrap();
    let serial = certificate(&lower).serial_number.as_be_bytes().to_vec();
    setup.files = vec![
        ("below.crt", lower.pem() + &upper.pem()),
        ("below.crl", crl_of(&upper, 1, &[]) + &crl_of(&lower, 1, &[])),
    ];
    setup.trust = "intermediates: below.crt, crl: [cluster.crl, below.crl]".to_owned();
    let gateway = setup.start();
    let params = leaf_params("prod", "api-user", "alice");
    let alice = Leaf::signed(&params, &lower, &[lower.der().clone(), upper.der().clone()]);
    let mut cut = idle(&gateway, &alice).await;
    let revoking = crl_by(&upper, 2, std::iter::once(serial), now() + Duration::days(10));
    gateway.replace("below.crl", revoking);
    ends(&mut cut).await;
    gateway.refused(Some(&alice)).await;
    assert_eq!(gateway.refusal(), "revocation.revoked");
}

#[test]
fn an_explanation_and_a_check_know_the_authorities_below_the_root() {
    let (setup, users) = with_users();
    let directory = tempfile::tempdir().unwrap();
    setup.write(directory.path());
    let alice = user_of(&users, "alice");
    let chain = alice.certificate_pem.clone() + &users.pem();
    std::fs::write(directory.path().join("alice.crt"), chain).unwrap();
    let run = |arguments: &[&str]| -> Value {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_cluster-gateway"))
            .args(arguments)
            .args(["--config", "gateway.yaml", "--json"])
            .current_dir(directory.path())
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let explain = ["explain", "--cert", "alice.crt", "--request", "GET /v1/x"];
    let said = run(&explain);
    assert_eq!((&said["ok"], &said["result"]["decision"]), (&true.into(), &"permit".into()), "{said}");
    std::fs::write(directory.path().join("users.crl"), crl_of(&users, 6, &[&alice])).unwrap();
    assert_eq!(run(&explain)["result"]["code"], "revocation.revoked");
    std::fs::write(directory.path().join("users.crt"), setup.cluster.bundle()).unwrap();
    let said = run(&["check"]);
    assert_eq!((&said["ok"], &said["error"]["code"]), (&false.into(), &"trust.self_signed".into()), "{said}");
    assert!(said["error"]["hint"].as_str().unwrap().contains("trust.intermediates"), "{said}");
}

#[tokio::test]
async fn t12_a_crl_of_an_authority_that_is_not_known_counts_for_nothing() {
    let (mut setup, users) = with_users();
    setup.trust = "crl: [cluster.crl, users.crl]".to_owned();
    let gateway = setup.start();
    assert_eq!(number_of(&gateway, &users), None);
    assert_eq!(gateway.get(&gateway.user(), "/v1/x").await.status, 200);
    gateway.refused(Some(&user_of(&users, "alice"))).await;
    assert_eq!(gateway.refusal(), "revocation.no_crl");
}

#[tokio::test]
async fn t12_a_refused_reload_puts_no_older_crl_of_a_released_authority_in_force() {
    let (mut setup, users) = with_users();
    setup.more = OPERATORS;
    let eve = user_of(&users, "eve");
    setup.files[1].1 = crl_of(&users, 20, &[&eve]);
    let gateway = setup.start();
    gateway.replace("cluster.crl", revoking(&gateway, 2, &users));
    gateway.reload().unwrap();
    for file_of_users in [crl_of(&users, 20, &[&eve]), crl_of(&users, 19, &[])] {
        // The record of the authority outlives the restart, in which its own CRL has no effect.
        gateway.replace("users.crl", file_of_users);
    }
    let gateway = gateway.restart();
    assert_eq!(number_of(&gateway, &users), None);
    gateway.replace("users.crl", crl_of(&users, 18, &[]));
    gateway.replace("cluster.crl", gateway.cluster.crl(3, &[]));
    let refused = gateway.running().reload().map_err(|error| error.code());
    assert_eq!(refused, Err("crl.rollback"));
    assert_eq!(number_of(&gateway, &gateway.cluster.root).as_deref(), Some("3"));
    assert_eq!(number_of(&gateway, &users), None);
    gateway.refused(Some(&eve)).await;
    assert_eq!(gateway.refusal(), "revocation.no_crl");
    // What the record has is taken as soon as a file has it again.
    gateway.replace("users.crl", crl_of(&users, 21, &[&eve]));
    gateway.running().reload().unwrap();
    assert_eq!(number_of(&gateway, &users).as_deref(), Some("21"));
}

#[tokio::test]
async fn r9_a_push_that_releases_an_authority_lets_its_callers_in_without_a_reload() {
    let (mut setup, users) = with_users();
    let serial = certificate(&users).serial_number.as_be_bytes().to_vec();
    let revoking = setup.cluster.crl_of(2, std::iter::once(serial), now() + Duration::days(10));
    setup.crl = Some(revoking);
    let gateway = Setup { more: OPERATORS, ..setup }.start();
    let alice = user_of(&users, "alice");
    gateway.refused(Some(&alice)).await;
    assert_eq!((gateway.refusal().as_str(), number_of(&gateway, &users)), ("revocation.revoked", None));
    assert_eq!(push(&gateway, gateway.cluster.crl(3, &[])).await.status, 200);
    assert_eq!(number_of(&gateway, &users).as_deref(), Some("5"));
    assert_eq!(gateway.get(&alice, "/v1/x").await.status, 200);
}
