//! Certification requests that prove nothing, ask for too much, or are no requests.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::refused_without_a_trace;
use crate::home::Home;

/// A request made by OpenSSL with a key of `key` (`-newkey` and its options).
fn request(home: &Home, key: &[&str], options: &[&str]) -> PathBuf {
    let file = home.path("request.csr");
    let output = Command::new("openssl")
        .args(["req", "-new", "-nodes", "-subj", "/CN=anything"])
        .args(key)
        .args(options)
        .arg("-keyout")
        .arg(home.path("request.key"))
        .arg("-out")
        .arg(&file)
        .output()
        .expect("openssl is needed (scripts/test)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    file
}

const P256: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

fn refused(home: &Home, file: &std::path::Path, code: &str) -> crate::home::Refusal {
    refused_without_a_trace(home, &["create-api-user", "bob", "--csr", file.to_str().expect("text")], 1, code)
}

#[test]
fn a_request_with_a_bad_signature_is_refused() {
    let home = Home::initialized();
    let file = request(&home, &P256, &["-outform", "DER"]);
    let mut der = fs::read(&file).expect("a request");
    *der.last_mut().expect("bytes") ^= 1;
    fs::write(&file, der).expect("a request");
    refused(&home, &file, "csr.bad_signature");
}

#[test]
fn a_request_with_a_weak_or_strange_key_is_refused() {
    let home = Home::initialized();
    let explicit =
        ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"];
    for (key, words) in [
        (&["-newkey", "rsa:1024"][..], "rsa-1024"),
        (&["-newkey", "rsa:2047"], "rsa-20"),
        (&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp224r1"], "the curve P-224"),
        (&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"], "the curve secp256k1"),
        (&["-newkey", "ed448"], "Ed448"),
        (&explicit, "an elliptic curve with explicit parameters instead of a name"),
    ] {
        let file = request(&home, key, &[]);
        let before = home.state();
        let refusal = home.refused(&["create-api-user", "bob", "--csr", file.to_str().expect("text")]);
        assert_eq!(refusal.exit, 1, "{key:?}: {refusal:?}");
        assert!(refusal.message.contains(words), "{key:?}: {refusal:?}");
        assert!(home.state() == before, "{key:?}");
    }
}

#[test]
fn a_request_to_be_an_authority_is_refused() {
    let home = Home::initialized();
    let file = request(&home, &P256, &["-addext", "basicConstraints=critical,CA:TRUE"]);
    refused(&home, &file, "policy.request_asks_ca");
}

#[test]
fn a_request_for_a_name_outside_the_profile_is_refused() {
    let home = Home::initialized();
    for name in [
        "DNS:control-service",
        "DNS:evil.example.com",
        "IP:10.0.0.1",
        "URI:spiffe://prod/control-service/evil",
        "URI:spiffe://prod/api-user/alice",
        "email:alice@example.com",
    ] {
        let file = request(&home, &P256, &["-addext", &format!("subjectAltName={name}")]);
        let refusal = refused(&home, &file, "policy.request_asks_san");
        let value = name.split_once(':').map_or(name, |(_, value)| value);
        assert!(refusal.words().contains(value), "{name}: {refusal:?}");
    }
}

#[test]
fn what_is_no_request_is_refused() {
    let home = Home::initialized();
    request(&home, &P256, &[]);
    for (contents, exit) in [
        (fs::read(home.path("cluster.crt")).expect("a certificate"), 1),
        (fs::read(home.path("request.key")).expect("a key"), 1),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n".to_vec(), 3),
        (b"hello".to_vec(), 3),
        (Vec::new(), 3),
    ] {
        let file = home.write("bad.csr", contents);
        let before = home.state();
        let refusal = home.refused(&["create-api-user", "bob", "--csr", file.to_str().expect("text")]);
        assert_eq!(refusal.exit, exit, "{refusal:?}");
        assert!(home.state() == before);
    }
    refused_without_a_trace(&home, &["create-api-user", "bob", "--csr", "/nowhere"], 3, "file.missing");
}

#[test]
fn a_good_request_is_certified_without_its_key_and_without_what_it_must_not_have() {
    let home = Home::initialized();
    let file = request(&home, &P256, &["-addext", "extendedKeyUsage=serverAuth"]);
    let finished = home.run(&["--json", "create-api-user", "bob", "--csr", file.to_str().expect("text")]);
    let issued = finished.result();
    assert!(issued["key"].is_null() && !home.path("issued/user-bob.key").exists(), "{issued}");
    assert!(!issued["not_granted"].as_array().expect("what was asked in vain").is_empty(), "{issued}");
    assert!(finished.stderr.contains("server_auth"), "{finished:?} does not say what is not granted");

    let piped = home
        .command(&["--json", "create-api-user", "carol", "--csr", "-"])
        .stdin(Stdio::from(fs::File::open(&file).expect("the request")))
        .output()
        .expect("cluster-ca starts");
    let issued = crate::home::Finished::from(piped).result();
    assert_eq!(issued["name"], "carol");
}

#[test]
fn a_request_or_list_of_names_larger_than_any_honest_one_is_not_read() {
    let home = Home::initialized();
    let file = home.path("huge");
    for (option, megabytes) in [("--csr", 5), ("--from", 65)] {
        fs::File::create(&file).and_then(|huge| huge.set_len(megabytes << 20)).expect("a sparse file");
        let path = file.to_str().expect("text");
        let arguments = match option {
            "--csr" => vec!["create-api-user", "bob", option, path],
            _ => vec!["create-api-user", option, path],
        };
        refused_without_a_trace(&home, &arguments, 3, "file.too_large");
    }
}
