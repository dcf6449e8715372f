//! What can be asked: listings and their filters, one certificate, files, and verdicts.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::home::Home;

fn names(list: &Value) -> BTreeSet<&str> {
    list.as_array().expect("an array").iter().map(|record| record["name"].as_str().expect("text")).collect()
}

#[test]
fn a_listing_can_be_narrowed() {
    let home = Home::initialized();
    home.ok(&["create-control", "api.example.com"]);
    home.ok(&["create-api-user", "alice", "--validity", "10d"]);
    home.ok(&["create-api-user", "albert", "--validity", "60d"]);
    home.ok(&["create-api-user", "bob", "--validity", "10d"]);
    home.ok(&["revoke", "api-user/bob"]);
    for (filter, expected) in [
        (&[][..], &["api.example.com", "alice", "albert", "bob"][..]),
        (&["--role", "api-user"], &["alice", "albert", "bob"]),
        (&["--name", "al*"], &["alice", "albert"]),
        (&["--name", "?lice"], &["alice"]),
        (&["--name", "al"], &[]),
        (&["--status", "revoked"], &["bob"]),
        (&["--status", "valid", "--role", "control-service"], &["api.example.com"]),
        (&["--status", "reserved"], &[]),
        (&["--expires-within", "30d"], &["alice"]),
        (&["--expires-within", "90d", "--name", "al*"], &["alice", "albert"]),
    ] {
        let list = home.ok(&[&["list"], filter].concat());
        assert_eq!(names(&list), expected.iter().copied().collect(), "{filter:?}");
    }
}

#[test]
fn a_certificate_is_shown_by_name_and_by_serial_number() {
    let home = Home::initialized();
    let issued = home.ok(&["create-api-user", "alice"]);
    let serial_number = issued["serial_number"].as_str().expect("text");
    let by_name = home.ok(&["show", "api-user/alice"]);
    assert_eq!(by_name, home.ok(&["show", serial_number]));
    assert_eq!(by_name, home.ok(&["show", &serial_number.to_uppercase()]));
    assert_eq!((&by_name["status"], &by_name["serial_number"]), (&"valid".into(), &issued["serial_number"]));
    home.ok(&["revoke", serial_number, "--reason", "superseded"]);
    let revoked = home.ok(&["show", "api-user/alice"]);
    assert_eq!((&revoked["status"], &revoked["reason"]), (&"revoked".into(), &"superseded".into()));
}

#[test]
fn a_name_with_two_certificates_is_ambiguous() {
    let home = Home::initialized();
    let elsewhere = home.path("elsewhere");
    let [first, second] = [
        home.ok(&["create-api-user", "alice"]),
        home.ok(&["create-api-user", "alice", "--output", elsewhere.to_str().expect("text")]),
    ];
    for command in ["show", "revoke"] {
        let refusal = home.refused(&[command, "api-user/alice"]);
        assert_eq!((refusal.exit, refusal.code.as_str()), (1, "ca.ambiguous"), "{refusal:?}");
        for issued in [&first, &second] {
            assert!(refusal.message.contains(issued["serial_number"].as_str().expect("text")), "{refusal:?}");
        }
    }
    home.ok(&["revoke", first["serial_number"].as_str().expect("text")]);
    assert_eq!(home.ok(&["revoke", "api-user/alice"])["serial_number"], second["serial_number"]);
    // Of several that have ended, the name means the newest.
    assert_eq!(home.ok(&["show", "api-user/alice"])["serial_number"], second["serial_number"]);
    for command in ["renew", "rekey"] {
        let refusal = home.refused(&[command, "api-user/alice"]);
        assert_eq!((refusal.exit, refusal.code.as_str()), (1, "ca.identity_revoked"), "{refusal:?}");
        assert!(refusal.hint.contains("superseded/"), "{refusal:?}");
    }
}

#[test]
fn files_are_told_apart_in_pem_and_der() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    let path = |name: &str| home.path(name).to_str().expect("text").to_owned();
    let openssl = |arguments: &[&str]| {
        assert!(
            Command::new("openssl").args(arguments).status().expect("openssl").success(),
            "{arguments:?}"
        );
    };
    let (key, csr, der) = (path("issued/user-alice.key"), path("alice.csr"), path("alice.der"));
    openssl(&["req", "-new", "-key", &key, "-subj", "/CN=alice", "-out", &csr]);
    openssl(&["x509", "-in", &path("issued/user-alice.crt"), "-outform", "DER", "-out", &der]);
    openssl(&["crl", "-in", &path("cluster.crl"), "-outform", "DER", "-out", &path("crl.der")]);
    openssl(&["req", "-in", &csr, "-outform", "DER", "-out", &path("csr.der")]);
    fs::write(
        home.path("bundle.pem"),
        [fs::read(home.path("cluster.crt")), fs::read(home.path("issued/user-alice.crt"))]
            .map(|f| f.expect("PEM"))
            .concat(),
    )
    .expect("a bundle");
    let alike = |pem: &str, other: &str| {
        let [pem, other] = [pem, other].map(|name| home.ok(&["inspect", name])[0]["contents"].clone());
        assert_eq!(pem, other);
        pem
    };
    let certificate = alike(&path("issued/user-alice.crt"), &der);
    let crl = alike(&path("cluster.crl"), &path("crl.der"));
    let request = alike(&csr, &path("csr.der"));
    for (contents, words) in [(certificate, "user-alice"), (crl, "crl_number"), (request, "CN=alice")] {
        assert!(contents.to_string().contains(words), "{words}: {contents}");
    }
    let bundle = home.ok(&["inspect", &path("bundle.pem")]);
    assert_eq!(bundle[0]["contents"].as_array().expect("an array").len(), 2);
    let secret = home.run(&["inspect", &key]);
    let pem = fs::read_to_string(&key).expect("a key");
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    assert!(secret.exit == Some(0) && !secret.stdout.contains(&body[..24]), "{secret:?}");
}

#[test]
fn a_verdict_names_the_rule_and_the_remedy() {
    let (home, other) = (Home::initialized(), Home::initialized());
    home.ok(&["create-control", "api.example.com", "--san", "10.0.0.1"]);
    let issued = home.ok(&["create-api-user", "alice"]);
    home.ok(&["create-api-user", "gone"]);
    home.ok(&["revoke", "api-user/gone"]);
    other.ok(&["create-api-user", "alice"]);
    let file = |home: &Home, name: &str| home.path("issued").join(name).to_str().expect("text").to_owned();
    let (control, alice) = (file(&home, "control-api.example.com.crt"), file(&home, "user-alice.crt"));
    let later = |years: i32| {
        let year: i32 = issued["not_after"].as_str().expect("text")[..4].parse().expect("a year");
        format!("{}-12-31", year + years)
    };
    for good in [
        &[&*control][..],
        &[&control, "--as", "server", "--host", "api.example.com"],
        &[&control, "--as", "server", "--host", "control-service"],
        &[&control, "--as", "server", "--host", "10.0.0.1"],
        &[&control, "--as", "client"],
        &[&alice, "--as", "client"],
    ] {
        home.ok(&[&["verify"], good].concat());
    }
    for (arguments, code) in [
        (&[&*alice, "--as", "server"][..], "chain.wrong_purpose"),
        (&[&control, "--host", "evil.example.com"], "chain.wrong_name"),
        (&[&alice, "--at", &later(1)], "chain.expired"),
        (&[&alice, "--at", &later(20)], "trust.expired"),
        (&[&alice, "--at", "2001-01-01"], "trust.not_yet_valid"),
        (&[&file(&home, "user-gone.crt")], "revocation.revoked"),
        (&[&file(&other, "user-alice.crt")], "chain.unknown_issuer"),
    ] {
        let refusal = home.refused(&[&["verify"], arguments].concat());
        assert_eq!((refusal.exit, refusal.code.as_str()), (1, code), "{arguments:?}: {refusal:?}");
        assert!(!refusal.hint.is_empty(), "{arguments:?} has no remedy: {refusal:?}");
    }
}

#[test]
fn a_chain_that_was_rewritten_is_found() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    let head = home.ok(&["audit", "verify"])["head"].as_str().expect("text").to_owned();
    home.ok(&["create-api-user", "bob"]);
    home.ok(&["audit", "verify", "--head", &head]);
    let (number, hash) = head.split_once(':').expect("NUMBER:HASH");
    let forged = format!("{number}:{}", hash.chars().rev().collect::<String>());
    assert_eq!(home.refused(&["audit", "verify", "--head", &forged]).code, "audit.rewritten");
    for mistyped in ["5:00", "5", &format!("x:{hash}"), &format!("{number}:{hash}0")] {
        let refusal = home.refused(&["audit", "verify", "--head", mistyped]);
        assert_eq!((refusal.code.as_str(), refusal.exit), ("usage.head", 2), "{mistyped}: {refusal:?}");
    }

    let inventory = rusqlite::Connection::open(home.path("ca.db")).expect("the inventory");
    let changed =
        inventory.execute("UPDATE audit SET actor = 'nobody' WHERE action = 'certificate.issue'", []);
    assert!(changed.is_ok_and(|rows| rows > 0), "the attacker has the file");
    drop(inventory);
    let refusal = home.refused(&["audit", "verify"]);
    assert!(refusal.exit != 0 && !refusal.hint.is_empty(), "{refusal:?}");
}
