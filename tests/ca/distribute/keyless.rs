//! Certificates without a local key: delivered beside their own key, or not at all.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::process::Command;

use serde_json::json;

use super::sshd::Machine;
use super::{deliver, deliveries, with_alice};
use crate::home::Home;

/// Generate the key of `user` in `cluster` on the machine, and issue from its CSR.
fn certify_a_key_of(machine: &Machine, home: &Home, user: &str) {
    let directory = machine.path("cluster");
    if !directory.exists() {
        DirBuilder::new().mode(0o700).create(&directory).expect("a directory");
    }
    let request = home.path("request.csr");
    let made = Command::new("openssl")
        .args(["req", "-new", "-nodes", "-subj", "/CN=anything"])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout"])
        .arg(directory.join(format!("{user}.key")))
        .arg("-out")
        .arg(&request)
        .output()
        .expect("openssl is needed (scripts/test)");
    assert!(made.status.success(), "{made:?}");
    home.ok(&["create-api-user", user, "--csr", request.to_str().expect("text")]);
}

#[test]
fn a_certificate_joins_the_key_generated_there() {
    let (machine, home) = (Machine::start(), Home::initialized());
    certify_a_key_of(&machine, &home, "bob");
    let key = machine.files("cluster")["bob.key"].clone();
    let to = machine.destination("node1", "cluster");
    let send = || machine.run(&home, &["distribute", "api-user/bob", "--to", &to, "--as", "bob"]);
    send().result();
    let first = machine.files("cluster");
    assert_eq!((first.len(), &first["bob.key"]), (4, &key));
    // Again: the existing certificate is first the same one, then an older one of the key.
    send().result();
    home.ok(&["renew", "api-user/bob"]);
    send().result();
    let renewed = machine.files("cluster");
    assert_eq!((renewed.len(), &renewed["bob.key"]), (4, &key));
    assert_ne!(renewed["bob.crt"], first["bob.crt"]);
}

#[test]
fn a_certificate_is_not_put_beside_another_key() {
    let (machine, home) = (Machine::start(), with_alice());
    let to = machine.destination("node1", "cluster");
    deliver(&machine, &home, &to, &[]).result();
    certify_a_key_of(&machine, &home, "bob");
    let before = machine.files("cluster");
    let reload = format!("touch {}", machine.path("reloaded").display());
    let send = |more: &[&str]| {
        machine
            .run(&home, &[&["distribute", "api-user/bob", "--to", &to, "--reload", &reload], more].concat())
    };
    // The default file name is taken by alice's key.
    let refusal = send(&[]).refusal();
    assert_eq!((refusal.code.as_str(), refusal.exit), ("remote.other_key", 4), "{refusal:?}");
    assert!(refusal.words().contains("user.key") && refusal.words().contains("--as"), "{refusal:?}");
    assert_eq!(machine.files("cluster"), before);
    assert!(!machine.path("reloaded").exists(), "no reload without new files");
    let (outcome, details) = deliveries(&home).pop().expect("an entry");
    assert_eq!((outcome.as_str(), &details["error"]), ("failure", &json!("remote.other_key")));

    send(&["--as", "bob"]).result();
    let after = machine.files("cluster");
    assert_eq!((&after["user.key"], &after["user.crt"]), (&before["user.key"], &before["user.crt"]));
}

#[test]
fn a_key_with_an_unreadable_certificate_counts_as_another() {
    let (machine, home) = (Machine::start(), Home::initialized());
    certify_a_key_of(&machine, &home, "user");
    let to = machine.destination("node1", "cluster");
    let send = || machine.run(&home, &["distribute", "api-user/user", "--to", &to]);
    let key = fs::read(machine.path("cluster/user.key")).expect("a key");
    let own = fs::read(home.path("issued/user-user.crt")).expect("a certificate");
    let too_long = [&own[..], &vec![b'\n'; 64 << 10]].concat();
    let beside = machine.path("cluster/user.crt");
    for (text, what) in
        [(&b""[..], "nothing"), (b"copied by hand", "words"), (&key, "a key"), (&too_long, "too much")]
    {
        fs::write(&beside, text).expect("a file");
        let refusal = send().refusal();
        assert_eq!(refusal.code, "remote.other_key", "{what}: {refusal:?}");
        assert_eq!(fs::read(&beside).expect("a file"), text, "{what}");
    }
    fs::remove_file(&beside).expect("a file");
    send().result();
    assert_eq!(fs::read(&beside).expect("a file"), own);
}
