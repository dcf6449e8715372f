//! The files that appear: where they are said to be, open to nobody they are not for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::home::{Finished, Home};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o7777
}

#[test]
fn keys_are_private_and_certificates_public_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        let home = Home::empty();
        for command in ["initialize prod", "create-api-user alice", "revoke api-user/alice"] {
            let binary = env!("CARGO_BIN_EXE_cluster-ca");
            let script = format!("umask {umask}; exec {binary} --home {} {command}", home.path("").display());
            let output = Command::new("sh").args(["-c", &script]).output().expect("sh starts");
            assert_eq!(Finished::from(output).exit, Some(0), "umask {umask}: {command}");
        }
        for (name, expected) in [
            ("cluster.key", 0o600),
            ("cluster.crt", 0o644),
            ("cluster.crl", 0o644),
            ("ca.db", 0o600),
            ("issued", 0o700),
            ("issued/user-alice.key", 0o600),
            ("issued/user-alice.crt", 0o644),
            ("", 0o700),
        ] {
            assert_eq!(mode(&home.path(name)), expected, "umask {umask}: {name}");
        }
    }
}

#[test]
fn a_home_holds_what_is_agreed_and_nothing_else() {
    let home = Home::initialized();
    home.ok(&["create-control", "API.example.com"]);
    home.ok(&["create-control", "10.0.0.1"]);
    home.ok(&["create-node", "--uuid", "6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e"]);
    home.ok(&["create-api-user", "alice"]);
    let found: Vec<PathBuf> = home.contents().into_keys().collect();
    let agreed = [
        "ca.db",
        "cluster.crl",
        "cluster.crt",
        "cluster.key",
        "issued",
        "issued/control-10.0.0.1.crt",
        "issued/control-10.0.0.1.key",
        "issued/control-api.example.com.crt",
        "issued/control-api.example.com.key",
        "issued/node-6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e.crt",
        "issued/node-6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e.key",
        "issued/user-alice.crt",
        "issued/user-alice.key",
    ];
    assert_eq!(found, agreed.map(PathBuf::from));
}

#[test]
fn output_goes_where_it_is_asked_to() {
    let home = Home::initialized();
    let elsewhere = home.path("a/new/place");
    let issued = home.ok(&["create-api-user", "alice", "--output", elsewhere.to_str().expect("text")]);
    for (field, name) in [("certificate", "user-alice.crt"), ("key", "user-alice.key")] {
        assert_eq!(issued[field], elsewhere.join(name).to_str().expect("text"));
        assert!(elsewhere.join(name).is_file());
    }
    assert!(!home.path("issued").exists());
}

#[test]
fn keys_are_pkcs8_of_the_type_asked_for() {
    let home = Home::initialized();
    for (key_type, words) in [
        ("ecdsa-p256", "NIST CURVE: P-256"),
        ("ecdsa-p384", "NIST CURVE: P-384"),
        ("ed25519", "ED25519"),
        ("rsa-2048", "2048 bit"),
    ] {
        let issued = home.ok(&["create-node", "--key-type", key_type]);
        let key = issued["key"].as_str().expect("text");
        let pem = fs::read_to_string(key).expect("a key");
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{key_type}");
        let output =
            Command::new("openssl").args(["pkey", "-noout", "-text", "-in", key]).output().expect("openssl");
        let text = Finished::from(output).stdout;
        assert!(text.contains(words), "{key_type}: {text}");
    }
}
