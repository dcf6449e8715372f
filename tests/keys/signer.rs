//! Non-exportable root keys in an OpenBao.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::json;

use crate::bao::Bao;
use crate::home::Home;

const POLICY: &str = "path \"transit/keys/root-key\" { capabilities = [\"read\"] }
    path \"transit/sign/root-key\" { capabilities = [\"update\"] }";

fn token_file(home: &Home, token: &str) -> String {
    let path = home.write("token", token);
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path.into_os_string().into_string().unwrap()
}

/// A server with the signing key `root-key`, and an empty home with a token that may use it.
fn ready() -> (Bao, Home, String) {
    let bao = Bao::start();
    bao.post("transit/keys/root-key", json!({ "type": "ecdsa-p256" }));
    bao.post("sys/policies/acl/signer", json!({ "policy": POLICY }));
    let answer = bao.post("auth/token/create", json!({ "policies": ["signer"], "no_parent": true }));
    let home = Home::empty();
    let token = token_file(&home, answer["auth"]["client_token"].as_str().unwrap());
    (bao, home, token)
}

fn initialize(bao: &Bao, home: &Home, token: &str) {
    let ca = bao.ca();
    home.ok(&[
        "initialize",
        "prod",
        "--signer",
        "vault:root-key",
        "--signer-address",
        &bao.address,
        "--signer-ca-cert",
        &ca,
        "--token-file",
        token,
    ]);
}

#[test]
fn openssl_accepts_every_signature_without_a_key_file() {
    let (bao, home, token) = ready();
    initialize(&bao, &home, &token);
    assert!(!home.path("cluster.key").exists());
    home.ok(&["create-control", "api.example.com"]);
    home.ok(&["create-node", "--count", "5"]);
    home.ok(&["create-api-user", "alice"]);
    home.ok(&["revoke", "api-user/alice"]);
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let [root, leaf, crl] =
        ["cluster.crt", "issued/control-api.example.com.crt", "cluster.crl"].map(|name| home.path(name));
    let [root, leaf, crl] = [&root, &leaf, &crl].map(|path| path.to_str().unwrap());
    openssl(&["verify", "-CAfile", root, "-CRLfile", crl, "-crl_check", leaf]);
    home.ok(&["verify", leaf]);
    home.ok(&["audit", "verify"]);
    home.ok(&["kms", "show", "--check"]);
}

#[test]
fn a_rotation_in_the_service_does_not_change_the_root() {
    let (bao, home, token) = ready();
    initialize(&bao, &home, &token);
    bao.post("transit/keys/root-key/rotate", json!({}));
    home.ok(&["create-api-user", "alice"]);
    let certificate = home.path("issued/user-alice.crt");
    home.ok(&["verify", certificate.to_str().unwrap()]);
}

#[test]
fn a_service_that_does_not_sign_is_reported_and_nothing_is_issued() {
    let (mut bao, home, token) = ready();
    initialize(&bao, &home, &token);
    bao.post(
        "sys/policies/acl/signer",
        json!({ "policy": "path \"transit/keys/root-key\" { capabilities = [\"read\"] }" }),
    );
    let refusal = home.refused(&["create-api-user", "alice"]);
    assert_eq!((refusal.exit, refusal.code.as_str()), (4, "kms.denied"), "{refusal:?}");
    assert!(!home.path("issued/user-alice.crt").exists());
    bao.post("sys/policies/acl/signer", json!({ "policy": POLICY }));
    home.ok(&["create-api-user", "alice"]);
    bao.stop();
    assert_eq!(home.refused(&["create-api-user", "bob"]).code, "kms.unavailable");
    home.ok(&["list"]);
}

#[test]
fn a_key_that_cannot_sign_is_refused_as_root() {
    let (bao, home, token) = ready();
    bao.make_key("wraps");
    let (ca, root) = (bao.ca(), home.write("root-token", "root"));
    fs::set_permissions(&root, Permissions::from_mode(0o600)).unwrap();
    let root = root.to_str().unwrap();
    let initialize = |signer: &str, more: &[&str]| {
        let arguments = [
            "initialize",
            "prod",
            "--signer",
            signer,
            "--signer-address",
            &bao.address,
            "--signer-ca-cert",
            &ca,
        ];
        let refusal = home.refused(&[&arguments[..], more].concat());
        (refusal.exit, refusal.code)
    };
    assert_eq!(initialize("vault:wraps", &["--token-file", root]), (1, "kms.key_unfit".to_owned()));
    assert_eq!(initialize("vault:nothing", &["--token-file", root]), (4, "kms.key_missing".to_owned()));
    assert_eq!(initialize("vault:nothing", &["--token-file", &token]), (4, "kms.denied".to_owned()));
    assert_eq!(initialize("cloud:root-key", &["--token-file", &token]).0, 2);
    assert_eq!(initialize("vault:root-key", &["--token-file", &token, "--passphrase-file", &token]).0, 2);
    assert_eq!(home.refused(&["initialize", "prod", "--token-file", &token]).exit, 2);
    for name in ["ca.db", "cluster.crt", "kms.json", "cluster.key"] {
        assert!(!home.path(name).exists(), "{name}");
    }
}

#[test]
fn a_periodic_token_of_the_signer_is_renewed_after_half_of_its_lifetime() {
    let (bao, home, _) = ready();
    let request = json!({ "policies": ["signer"], "no_parent": true, "period": "8s" });
    let answer = bao.post("auth/token/create", request);
    let token = answer["auth"]["client_token"].as_str().unwrap().to_owned();
    initialize(&bao, &home, &token_file(&home, &token));
    let ttl = || bao.post("auth/token/lookup", json!({ "token": token }))["data"]["ttl"].as_i64().unwrap();
    while ttl() > 3 {
        std::thread::yield_now();
    }
    home.ok(&["create-api-user", "alice"]);
    assert!(ttl() >= 6, "renewed");
}

#[test]
fn a_new_token_of_the_signer_replaces_an_expired_one() {
    let (bao, home, token) = ready();
    initialize(&bao, &home, &token);
    let old = fs::read_to_string(&token).unwrap();
    bao.post("auth/token/revoke", json!({ "token": old.trim() }));
    let refusal = home.refused(&["create-api-user", "alice"]);
    assert_eq!(refusal.code, "kms.token_refused");
    assert!(refusal.hint.contains("kms set signer"), "{refusal:?}");

    // A login that does not sign changes nothing.
    let before = fs::read(home.path("kms.json")).unwrap();
    let refusal = home.refused(&["kms", "set", "signer", "--token-file", &token]);
    assert_eq!((refusal.exit, refusal.code.as_str()), (4, "kms.token_refused"), "{refusal:?}");
    assert_eq!(fs::read(home.path("kms.json")).unwrap(), before);

    let answer = bao.post("auth/token/create", json!({ "policies": ["signer"], "no_parent": true }));
    let new = token_file(&home, answer["auth"]["client_token"].as_str().unwrap());
    home.ok(&["kms", "set", "signer", "--token-file", &new]);
    home.ok(&["create-api-user", "alice"]);
    home.ok(&["audit", "verify"]);
    let refusal = Home::initialized().refused(&["kms", "set", "signer", "--token-file", &new]);
    assert_eq!((refusal.exit, refusal.code.as_str()), (1, "ca.no_vault_signer"), "{refusal:?}");
}

#[test]
fn a_batch_that_the_service_ends_is_told_of_in_a_few_lines() {
    let (bao, home, token) = ready();
    initialize(&bao, &home, &token);
    let few = json!({ "policies": ["signer"], "no_parent": true, "ttl": "1h", "num_uses": 40 });
    let answer = bao.post("auth/token/create", few);
    let kept = fs::read_to_string(&token).unwrap();
    let stored = fs::read_to_string(home.path("kms.json")).unwrap();
    let limited = answer["auth"]["client_token"].as_str().unwrap();
    home.write("kms.json", stored.replace(kept.trim(), limited));
    let refusal = home.refused(&["create-node", "--count", "300"]);
    assert_eq!((refusal.exit, refusal.code.as_str()), (4, "kms.token_refused"), "{refusal:?}");
    home.write("kms.json", stored);
    let next = home.run(&["create-api-user", "alice"]);
    assert!(next.exit == Some(0) && (1..=3).contains(&next.stderr.lines().count()), "{next:?}");
    assert!(next.stderr.contains(" more; see cluster-ca audit list)"), "{next:?}");
    home.ok(&["audit", "verify"]);
}
