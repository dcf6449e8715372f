//! Authorities of the configuration: chains that they complete, unfit ones among them, and two ways to an anchor
//! (T4, T11 and T14 of the attack checklist).

use rcgen::{BasicConstraints, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::Value;
use time::Duration;

use crate::cluster::{Cluster, Leaf, authority, crl_by, leaf_params, now};
use crate::harness::Setup;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn crl_of(issuer: &Authority, number: u64, serials: Vec<Vec<u8>>) -> String {
    crl_by(issuer, number, serials.into_iter(), now() + Duration::days(10))
}

fn serial_of(der: &[u8]) -> Vec<u8> {
    cluster_ca::x509::Certificate::from_der(der).unwrap().serial_number.as_be_bytes().to_vec()
}

/// A user of `issuer`, who sends the certificates `after` his own.
fn user_of(issuer: &Authority, name: &str, after: &[&[u8]]) -> Leaf {
    let after: Vec<_> = after.iter().map(|der| der.to_vec().into()).collect();
    Leaf::signed(&leaf_params("prod", "api-user", name), issuer, &after)
}

#[tokio::test]
async fn a_client_that_sends_its_own_certificate_alone_gets_in_below_a_configured_authority() {
    for revocation in [true, false] {
        let mut setup = Setup::new();
        let users = setup.cluster.intermediate("users");
        setup.files = vec![("users.crt", users.pem()), ("users.crl", crl_of(&users, 1, Vec::new()))];
        if revocation {
            setup.trust = "intermediates: users.crt, crl: [cluster.crl, users.crl]".to_owned();
        } else {
            setup.trust = "intermediates: users.crt".to_owned();
            setup.more = "revocation: disabled";
        }
        let gateway = setup.start();
        let alone = user_of(&users, "alice", &[]);
        for _ in 0..2 {
            let answer = gateway.get(&alone, "/v1/x").await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let sent: Value = answer.json();
            assert!(
                sent.to_string().contains("client-cert-chain"),
                "the service behind gets the whole chain: {sent}"
            );
        }
        let stranger = Cluster::new("prod").intermediate("users");
        gateway.refused(Some(&user_of(&stranger, "mallory", &[]))).await;
        assert_eq!(gateway.refusal(), "chain.bad_signature");
    }
}

#[tokio::test]
async fn an_issuer_that_may_not_sign_certificates_lets_nobody_in() {
    for revocation in [true, false] {
        let mut setup = Setup::new();
        let mut params = authority("users");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::CrlSign];
        let users =
            CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &setup.cluster.root).unwrap();
        if !revocation {
            (setup.trust, setup.more) = ("".to_owned(), "revocation: disabled");
        }
        let gateway = setup.start();
        gateway.refused(Some(&user_of(&users, "alice", &[users.der()]))).await;
        assert_eq!(gateway.refusal(), "chain.issuer_key_usage");
    }
}

#[tokio::test]
async fn an_authority_for_servers_vouches_for_no_client() {
    let mut setup = Setup::new();
    let mut params = authority("servers");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let servers = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    setup.bundle = Some(setup.cluster.bundle() + &servers.pem());
    setup.crl = setup.crl.map(|crl| crl + &crl_of(&servers, 1, Vec::new()));
    let gateway = setup.start();
    gateway.refused(Some(&user_of(&servers, "alice", &[]))).await;
    assert_eq!(gateway.refusal(), "chain.issuer_purpose");
    assert_eq!(gateway.get(&gateway.user(), "/v1/x").await.status, 200);
}

/// A setup whose bundle also has an expired root.
fn with_expired_root() -> (Setup, Authority) {
    let mut setup = Setup::new();
    let mut params = authority("old");
    params.not_after = now() - Duration::HOUR;
    let old = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    setup.bundle = Some(old.pem() + &setup.cluster.bundle());
    (setup, old)
}

#[tokio::test]
async fn t14_an_unfit_anchor_is_left_out_by_name_and_the_rest_of_the_bundle_stands() {
    let (mut setup, old) = with_expired_root();
    setup.crl = setup.crl.map(|crl| crl + &crl_of(&old, 1, Vec::new()));
    let gateway = setup.start();
    assert_eq!(gateway.get(&gateway.user(), "/v1/x").await.status, 200);
    gateway.refused(Some(&user_of(&old, "alice", &[]))).await;
    assert_eq!(gateway.refusal(), "chain.unknown_issuer");
    let excluded = gateway.status()["trust"]["excluded"].clone();
    assert_eq!(excluded[0]["code"], "trust.expired");
    assert!(excluded[0]["message"].as_str().unwrap().contains("trust anchor 1 (CN=old"), "{excluded}");
    // Without any fit one, the bundle in force stays.
    gateway.replace("cluster.crt", old.pem());
    assert_eq!(
        gateway.running().reload().map_err(|error| cluster_ca::error::Coded::code(&error)),
        Err("trust.expired")
    );
    assert_eq!(gateway.get(&gateway.user(), "/v1/x").await.status, 200);
}

#[test]
fn t14_an_unfit_anchor_refuses_the_bundle_where_the_configuration_says_so() {
    let (setup, _) = with_expired_root();
    let directory = tempfile::tempdir().unwrap();
    setup.write(directory.path());
    let check = || -> Value {
        let arguments = ["check", "--config", "gateway.yaml", "--json"];
        let output = crate::process::gateway(directory.path(), &arguments).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let said = check();
    assert_eq!(said["ok"], true, "{said}");
    let excluded = said["result"]["excluded_authorities"][0].as_str().unwrap();
    assert!(excluded.contains("CN=old") && excluded.contains("it expired at"), "{excluded}");
    let path = directory.path().join("gateway.yaml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("crl: cluster.crl", "unfit_anchors: refuse, crl: cluster.crl"))
        .unwrap();
    let said = check();
    assert_eq!((&said["ok"], &said["error"]["code"]), (&false.into(), &"trust.expired".into()), "{said}");
    assert!(said["error"]["hint"].as_str().unwrap().contains("unfit_anchors"), "{said}");
}

#[tokio::test]
async fn t11_a_client_keeps_its_second_way_when_the_first_of_two_cross_certificates_is_revoked() {
    let mut setup = Setup::new();
    let other = Cluster::new("other");
    let users = setup.cluster.intermediate("users");
    let mut params = authority("users");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let cross = params.signed_by(users.key(), &other.root).unwrap();
    setup.bundle = Some(setup.cluster.bundle() + &other.bundle());
    setup.files = vec![
        ("users.crt", users.pem() + &cross.pem()),
        ("others.crl", other.crl(1, &[]) + &crl_of(&users, 1, Vec::new())),
    ];
    setup.trust = "intermediates: users.crt, crl: [cluster.crl, others.crl]".to_owned();
    let gateway = setup.start();
    let presented = user_of(&users, "alice", &[users.der(), cross.der()]);
    let alone = user_of(&users, "bob", &[]);
    let (first, second) = (serial_of(users.der()), serial_of(cross.der()));
    for leaf in [&presented, &alone] {
        assert_eq!(gateway.get(leaf, "/v1/x").await.status, 200);
    }
    gateway.replace("cluster.crl", crl_of(&gateway.cluster.root, 2, vec![first]));
    gateway.running().reload().unwrap();
    for leaf in [&presented, &alone] {
        assert_eq!(gateway.get(leaf, "/v1/x").await.status, 200);
    }
    gateway.replace("others.crl", crl_of(&other.root, 2, vec![second]) + &crl_of(&users, 1, Vec::new()));
    gateway.running().reload().unwrap();
    gateway.refused(Some(&presented)).await;
    assert_eq!(gateway.refusal(), "revocation.revoked");
}
