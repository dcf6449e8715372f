//! What is revoked, by which CRL, and how long a CRL counts.

use cluster_ca::error::Coded;
use std::sync::Arc;

use rcgen::CrlDistributionPoint;
use time::Duration;

use crate::cluster::{Cluster, Leaf, now};
use crate::harness::{MovedClock, Setup, TestGateway};

/// A gateway with CRL 5 in force, and the certificate that it revokes.
fn with_crl_5() -> (TestGateway, Leaf) {
    let mut setup = Setup::new();
    let revoked = setup.cluster.leaf("api-user", "mallory");
    setup.crl = Some(setup.cluster.crl(5, &[&revoked]));
    (setup.start(), revoked)
}

#[tokio::test]
async fn t12_a_crl_that_is_not_to_be_believed_leaves_the_last_good_one_in_force() {
    let (gateway, revoked) = with_crl_5();
    let cluster = &gateway.cluster;
    let good = cluster.crl(6, &[]);
    let stranger = Cluster::new("other").crl(6, &[]);
    let impostor = Cluster::new("prod").crl(6, &[]);
    let tampered = tamper(&good);
    for (what, contents, code) in [
        ("empty", "", "x509.no_block"),
        ("no CRL in it", "nothing here\n", "x509.no_block"),
        ("something else", &cluster.bundle(), "x509.unexpected_block"),
        ("truncated", &good[..good.len() / 2], "x509.pem"),
        ("wrong issuer", &stranger, "crl.unknown_issuer"),
        ("an issuer of the same name", &impostor, "crl.unknown_issuer"),
        ("bad signature", &tampered, "crl.bad_signature"),
        ("expired", &cluster.crl_until(6, &[], now() - Duration::HOUR), "revocation.crl_expired"),
        ("older", &cluster.crl(4, &[]), "crl.rollback"),
        ("another of the same number", &cluster.crl(5, &[]), "crl.number_reused"),
    ] {
        gateway.replace("cluster.crl", contents);
        assert_eq!(gateway.reload(), Err(code), "{what}");
        assert_eq!(gateway.status()["crl"][0]["number"], "5", "{what}");
    }
    std::fs::remove_file(gateway.path("cluster.crl")).unwrap();
    assert_eq!(gateway.reload(), Err("gateway.configuration"), "missing");

    gateway.refused(Some(&revoked)).await;
    assert_eq!(gateway.refusal(), "revocation.revoked");
    gateway.replace("cluster.crl", &good);
    assert_eq!(gateway.reload(), Ok(()));
    assert_eq!(gateway.status()["reload"]["last_error"], serde_json::Value::Null);
}

/// The same CRL with one bit of its signature turned.
fn tamper(crl: &str) -> String {
    let blocks = cluster_ca::x509::pem::blocks(crl.as_bytes()).unwrap();
    let mut der = blocks[0].der().to_vec();
    *der.last_mut().unwrap() ^= 1;
    cluster_ca::x509::pem::pem("X509 CRL", &der)
}

#[tokio::test]
async fn t12_the_newest_of_an_issuer_counts_wherever_it_stands() {
    for order in [[0, 1], [1, 0]] {
        let mut setup = Setup::new();
        let revoked = setup.cluster.leaf("api-user", "mallory");
        let crls = [setup.cluster.crl(1, &[]), setup.cluster.crl(2, &[&revoked])];
        setup.crl = Some(order.map(|index| crls[index].as_str()).concat());
        let gateway = setup.start();
        gateway.refused(Some(&revoked)).await;
        assert_eq!(gateway.refusal(), "revocation.revoked");
    }
}

#[tokio::test]
async fn r9_whom_a_newer_crl_revokes_no_more_is_let_in() {
    let (gateway, revoked) = with_crl_5();
    gateway.refused(Some(&revoked)).await;
    gateway.replace("cluster.crl", gateway.cluster.crl(6, &[]));
    gateway.reload().unwrap();
    assert_eq!(gateway.get(&revoked, "/v1/x").await.status, 200);
}

#[tokio::test]
async fn t13_a_certificate_with_two_distribution_points_is_revoked_all_the_same() {
    let mut setup = Setup::new();
    let point = |name: &str| CrlDistributionPoint { uris: vec![format!("http://{name}.example/crl")] };
    let revoked = setup.cluster.leaf_with("api-user", "mallory", |params| {
        params.crl_distribution_points = vec![point("first"), point("second")];
    });
    setup.crl = Some(setup.cluster.crl(2, &[&revoked]));
    let gateway = setup.start();
    gateway.refused(Some(&revoked)).await;
    assert_eq!(gateway.refusal(), "revocation.revoked");
}

#[tokio::test]
async fn t11_a_certificate_issued_again_with_the_same_key_is_another_one() {
    let (gateway, revoked) = with_crl_5();
    let again = gateway.cluster.leaf("api-user", "mallory");
    gateway.refused(Some(&revoked)).await;
    assert_eq!(gateway.get(&again, "/v1/x").await.status, 200);
}

#[tokio::test]
async fn every_issuer_has_a_crl_of_its_own_in_a_file_of_its_own() {
    let (mut setup, second) = (Setup::new(), Cluster::new("prod"));
    setup.bundle = Some(setup.cluster.bundle() + &second.bundle());
    setup.trust = "crl: [cluster.crl, second.crl]".to_owned();
    let (good, revoked) = (second.leaf("api-user", "bob"), second.leaf("api-user", "mallory"));
    setup.files = vec![("second.crl", second.crl(1, &[&revoked]))];
    let gateway = setup.start();
    assert_eq!(gateway.get(&gateway.user(), "/v1/x").await.status, 200);
    assert_eq!(gateway.get(&good, "/v1/x").await.status, 200);
    gateway.refused(Some(&revoked)).await;
    assert_eq!(gateway.status()["crl"].as_array().unwrap().len(), 2);

    // The one rolls back, the other one goes forward: neither is taken.
    gateway.replace("cluster.crl", gateway.cluster.crl(2, &[]));
    gateway.replace("second.crl", second.crl(0, &[]));
    assert_eq!(gateway.reload(), Err("crl.rollback"));
    gateway.replace("second.crl", second.crl(2, &[&revoked]));
    assert_eq!(gateway.reload(), Ok(()));
}

#[tokio::test]
async fn a_crl_past_its_end_counts_as_long_as_the_configuration_says() {
    let clock = MovedClock::default();
    let mut setup = Setup { clock: Arc::new(clock.clone()), ..Setup::new() };
    setup.trust.push_str(", crl_staleness: { grace: 2d }");
    setup.crl = Some(setup.cluster.crl_until(1, &[], now() + Duration::hours(2)));
    let gateway = setup.start();
    let user = gateway.user();
    clock.set(Duration::DAY);
    assert_eq!(gateway.get(&user, "/v1/x").await.status, 200);
    assert!(gateway.status()["crl"][0]["left"].as_i64().unwrap() < 0);
    assert_eq!(gateway.reload(), Ok(()), "what is relied on can be loaded");
    clock.set(Duration::DAY * 3);
    gateway.refused(Some(&user)).await;
    assert_eq!(gateway.refusal(), "revocation.crl_expired");
    assert_eq!(gateway.reload(), Ok(()), "it keeps its issuer's callers out, and nothing else");
    gateway.refused(Some(&user)).await;
    gateway.replace("cluster.crl", gateway.cluster.crl_until(2, &[], now() + Duration::hours(2)));
    assert_eq!(gateway.reload(), Err("revocation.crl_expired"), "another one past its end is not taken");
}

#[tokio::test]
async fn a_crl_that_revokes_the_gateway_itself_is_enforced_and_never_started_with() {
    let mut setup = Setup::new();
    let (own, mallory) = (setup.own.clone(), setup.cluster.leaf("api-user", "mallory"));
    let gateway = setup.start();
    gateway.replace("cluster.crl", gateway.cluster.crl(2, &[&own, &mallory]));
    assert_eq!(gateway.reload(), Ok(()));
    gateway.refused(Some(&mallory)).await;
    drop(gateway);

    setup = Setup::new();
    setup.crl = Some(setup.cluster.crl(2, &[&setup.own]));
    let refused = setup.try_start().map(|_| ()).unwrap_err();
    assert_eq!(refused.0.code(), "server_certificate.revoked");
}
