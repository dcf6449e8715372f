//! What a timer runs: `renew --due`, and a CRL that reaches the gateways.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::home::Home;

/// Profiles by which a certificate is due after a hundredth of its validity, with this rule for the key.
fn impatient(home: &Home, key: &str) -> String {
    let templates = home.path("templates");
    fs::create_dir_all(&templates).expect("a directory");
    for (name, text) in cluster_ca::profile::built_in() {
        let text = text.replace("after: 0.66", "after: 0.01").replace("key: rekey", &format!("key: {key}"));
        fs::write(templates.join(name), text).expect("a profile");
    }
    templates.to_str().expect("text").to_owned()
}

fn names(result: &Value) -> Vec<&str> {
    let renewed = result["renewed"].as_array().unwrap_or_else(|| panic!("{result}"));
    let mut names: Vec<&str> = renewed.iter().map(|one| one["name"].as_str().expect("a name")).collect();
    names.sort_unstable();
    names
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).expect("a file")
}

/// Creates a key and a CSR elsewhere.
fn csr(home: &Home, name: &str) -> String {
    let path = home.path(format!("{name}.csr")).display().to_string();
    let done = Command::new("openssl")
        .args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj"])
        .args([&format!("/CN={name}"), "-keyout", "/dev/null", "-out", &path])
        .output()
        .expect("openssl");
    assert!(done.status.success(), "{done:?}");
    path
}

#[test]
fn renew_due_follows_each_profile() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "short", "--validity", "1h"]);
    home.ok(&["create-api-user", "long"]);
    home.ok(&["create-api-user", "elsewhere", "--validity", "1h", "--csr", &csr(&home, "elsewhere")]);
    home.ok(&["create-api-user", "revoked", "--validity", "1h"]);
    home.ok(&["revoke", "api-user/revoked"]);
    assert_eq!(names(&home.ok(&["renew", "--due"])), [""; 0], "by the built-in profiles nothing is due");

    let key = home.path("issued/user-short.key");
    let old = read(&key);
    let keeps = impatient(&home, "same_key");
    let planned = home.ok(&["--templates", &keeps, "renew", "--due", "--dry-run"]);
    assert_eq!(names(&planned), ["elsewhere", "short"]);
    let renewed = home.ok(&["--templates", &keeps, "renew", "--due", "--role", "node-agent"]);
    assert_eq!(names(&renewed), [""; 0]);
    // A renewed certificate has the full validity again, and is not due for 21 hours.
    let renewed = home.ok(&["--templates", &keeps, "renew", "--due"]);
    assert_eq!(names(&renewed), ["elsewhere", "short"], "{renewed}");
    assert_eq!(read(&key), old, "the profile keeps the key");
    assert_eq!(names(&home.ok(&["--templates", &keeps, "renew", "--due"])), [""; 0]);
}

#[test]
fn renew_due_makes_a_new_key_only_where_it_made_the_old_one() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "plain", "--validity", "1h"]);
    home.ok(&["create-api-user", "elsewhere", "--validity", "1h", "--csr", &csr(&home, "elsewhere")]);
    home.ok(&["create-api-user", "protected", "--validity", "1h"]);
    let passphrase = home.write("passphrase", "correct horse battery staple\n");
    fs::set_permissions(&passphrase, Permissions::from_mode(0o600)).expect("chmod");
    let passphrase = passphrase.to_str().expect("text");
    let protected = home.path("issued/user-protected.key");
    home.ok(&["key", "protect", protected.to_str().expect("text"), "--passphrase-file", passphrase]);
    let plain = home.path("issued/user-plain.key");
    let before = [read(&plain), read(&protected)];
    let certificate = read(&home.path("issued/user-elsewhere.crt"));

    let renewed = home.ok(&["--templates", &impatient(&home, "rekey"), "renew", "--due"]);
    assert_eq!(names(&renewed), ["elsewhere", "plain", "protected"], "{renewed}");
    assert_eq!(renewed["not_renewed"], json!([]));
    assert_ne!(read(&plain), before[0]);
    assert_eq!(read(&protected), before[1], "a new key would lose the protection of the old one");
    assert_ne!(read(&home.path("issued/user-elsewhere.crt")), certificate);
    for name in ["plain", "elsewhere", "protected"] {
        home.ok(&["verify", &home.path(format!("issued/user-{name}.crt")).display().to_string()]);
    }
    home.ok(&["audit", "verify"]);
}

#[test]
fn due_takes_no_target() {
    let home = Home::initialized();
    for arguments in [
        &["renew", "api-user/alice", "--due"][..],
        &["renew", "--due", "--expires-within", "30d"],
        &["rekey", "--due", "--csr", "x"],
        &["renew"],
    ] {
        let refusal = home.refused(arguments);
        assert_eq!((refusal.exit, refusal.code.as_str()), (2, "usage.arguments"), "{refusal:?}");
    }
}

/// Runs the script of the shipped timer in a home.
fn run_shipped_script(home: &Home) -> std::process::Output {
    let programs = Path::new(env!("CARGO_BIN_EXE_cluster-ca")).parent().expect("a directory");
    let path = std::env::var("PATH").expect("a path");
    Command::new("sh")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/systemd/cluster-ca-renew"))
        .env("PATH", format!("{}:{path}", programs.display()))
        .env("CLUSTER_CA_HOME", home.path(""))
        .env_remove("CREDENTIALS_DIRECTORY")
        .output()
        .expect("sh")
}

#[test]
fn the_shipped_script_changes_nothing_where_nothing_is_due() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    let before = home.contents();
    let done = run_shipped_script(&home);
    assert!(done.status.success(), "{done:?}");
    assert!(home.contents() == before, "a file was changed: {done:?}");
}

#[test]
fn the_shipped_script_fails_when_one_of_its_steps_does() {
    let home = Home::initialized();
    home.write("hosts.yaml", "not a list of hosts");
    let done = run_shipped_script(&home);
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(errors.contains("input.hosts"), "{errors}");
}
