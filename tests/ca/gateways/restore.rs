//! `restore --gateway`: query the CRLs in force before a backup is restored.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::{fleet, list, push};
use crate::home::{Finished, Home};
use crate::live::Live;

struct Vault(tempfile::TempDir);

impl Vault {
    fn new() -> Self {
        let vault = Self(tempfile::tempdir().expect("a directory"));
        fs::write(vault.path("password"), "seven random words would be better").expect("a file");
        fs::set_permissions(vault.path("password"), fs::Permissions::from_mode(0o600)).expect("a mode");
        vault
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, home: &Home, arguments: &[&str]) -> Finished {
        let password = self.path("password");
        let more = ["--password-file", password.to_str().expect("text")];
        home.run(&[&["--json"], arguments, &more].concat())
    }

    fn back_up(&self, home: &Home, more: &[&str]) -> String {
        let file = self.path("backup.age").to_str().expect("text").to_owned();
        self.run(home, &[&["backup", &file], more].concat()).result();
        file
    }
}

/// CRL file that a gateway stores after a push.
fn kept_list(gateway: &Live) -> PathBuf {
    let state = gateway.directory().join("state");
    let mut files = fs::read_dir(state).expect("a directory").map(|entry| entry.expect("an entry").path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "crl")).expect("a list")
}

#[test]
fn a_backup_older_than_a_gateway_needs_the_crl_of_the_gateway() {
    let (home, gateways) = fleet(1);
    let (vault, gateway) = (Vault::new(), &gateways[0]);
    let file = vault.back_up(&home, &["--with-issued"]);
    push(&home, &["revoke", "api-user/alice", "--wait"]);

    let elsewhere = Home::empty();
    let restore = |more: &[&str]| {
        let asking = ["restore", &file, "--gateway", &gateway.address, "--operator", "api-user/admin"];
        vault.run(&elsewhere, &[&asking, more].concat())
    };
    let refusal = restore(&[]).refusal();
    assert_eq!((refusal.code.as_str(), refusal.exit), ("restore.unrevokes", 1), "{refusal:?}");
    assert!(refusal.message.contains(&format!("CRL 2 exists at gateway {}", gateway.address)), "{refusal:?}");
    // The backup names the operator too.
    let refusal = vault.run(&elsewhere, &["restore", &file, "--gateway", &gateway.address]).refusal();
    assert_eq!(refusal.code, "restore.unrevokes", "{refusal:?}");
    let refusal = restore(&["--reconcile"]).refusal();
    assert_eq!((refusal.code.as_str(), refusal.exit), ("restore.crl_missing", 1), "{refusal:?}");
    assert!(refusal.hint.contains("state_directory"), "{refusal:?}");
    assert!(!elsewhere.path("ca.db").exists(), "nothing was put back");

    let crl = kept_list(gateway);
    let restored = restore(&["--reconcile", "--crl", crl.to_str().expect("text")]).result();
    assert_eq!(restored["revocations"], 1, "{restored}");
    assert_eq!(elsewhere.ok(&["show", "api-user/alice"])["status"], "revoked");
    // Its next CRL is newer than the one in force.
    let (finished, pushed) = push(&elsewhere, &["crl", "push"]);
    assert_eq!((finished.exit, &pushed["enforced"]), (Some(0), &1.into()), "{finished:?}");
    assert_eq!(elsewhere.ok(&["gateways"])["gateways"][0]["crl"]["revoked"], 1);
}

#[test]
fn a_current_backup_is_restored_and_an_unreachable_gateway_reported() {
    let (home, gateways) = fleet(1);
    let vault = Vault::new();
    let file = vault.back_up(&home, &[]);
    let operator =
        |end: &str| home.path(format!("issued/user-admin.{end}")).to_str().expect("text").to_owned();
    let restore = |into: &Home| {
        let (certificate, key) = (operator("crt"), operator("key"));
        let files = ["--operator-cert", &certificate, "--operator-key", &key];
        let asking = ["restore", &file, "--gateway", &gateways[0].address, "--gateway", "127.0.0.1:1"];
        vault.run(into, &[&asking[..], &files].concat())
    };
    let restored = restore(&Home::empty());
    assert_eq!(restored.result()["revocations"], 0);
    assert!(restored.stderr.contains("the gateway 127.0.0.1:1 was not queried"), "{restored:?}");
}

#[test]
fn operator_and_gateway_have_to_be_known() {
    let (home, gateways) = fleet(1);
    let vault = Vault::new();
    let file = vault.back_up(&home, &[]);
    let restore =
        |into: &Home, more: &[&str]| vault.run(into, &[&["restore", &file], more].concat()).refusal();
    let address = gateways[0].address.as_str();
    let empty = Home::empty();
    let refusal = restore(&empty, &["--gateway", address, "--operator", "api-user/admin"]);
    assert_eq!(
        (refusal.code.as_str(), refusal.exit),
        ("usage.operator", 2),
        "not in the backup: {refusal:?}"
    );
    let refusal = restore(&empty, &["--operator", "api-user/nobody"]);
    assert_eq!((refusal.code.as_str(), refusal.exit), ("usage.operator", 2), "nobody: {refusal:?}");
    let unlisted = Home::initialized();
    let nowhere = vault.path("unlisted.age");
    let nowhere = nowhere.to_str().expect("text");
    vault.run(&unlisted, &["backup", nowhere]).result();
    let refusal = vault.run(&empty, &["restore", nowhere, "--operator", "api-user/admin"]).refusal();
    assert_eq!((refusal.code.as_str(), refusal.exit), ("usage.gateways", 2), "nowhere: {refusal:?}");
    // A gateway of another cluster is not trusted.
    let (_other, strangers) = fleet(1);
    let refusal = restore(&home, &["--gateway", &strangers[0].address]);
    assert_eq!((refusal.code.as_str(), refusal.exit), ("chain.unknown_issuer", 1), "{refusal:?}");
    assert!(!empty.path("ca.db").exists(), "nothing was put back");
}

#[test]
fn gateways_listed_in_the_backup_are_queried_by_default() {
    let (home, gateways) = fleet(1);
    let vault = Vault::new();
    let file = vault.back_up(&home, &["--with-issued"]);
    let restore = |into: &Home, more: &[&str]| vault.run(into, &[&["restore", &file], more].concat());
    // The gateway reports nothing newer.
    restore(&Home::empty(), &[]).result();
    push(&home, &["revoke", "api-user/bob", "--wait"]);
    let empty = Home::empty();
    for more in [&[][..], &["--no-newer-crl"]] {
        let refusal = restore(&empty, more).refusal();
        assert_eq!((refusal.code.as_str(), refusal.exit), ("restore.unrevokes", 1), "{refusal:?}");
        assert!(refusal.message.contains(&gateways[0].address), "{refusal:?}");
    }
    // If it cannot be queried, the newest CRL is unknown.
    drop(gateways);
    let unasked = restore(&empty, &[]);
    assert_eq!(unasked.refusal().code, "restore.newest_crl_unknown", "{unasked:?}");
    assert!(unasked.stderr.contains("was not queried"), "{unasked:?}");
    // So it is without an operator.
    fs::remove_file(&file).expect("removed");
    vault.back_up(&home, &[]);
    let unasked = restore(&empty, &[]);
    assert_eq!(unasked.refusal().code, "restore.newest_crl_unknown", "{unasked:?}");
    assert!(unasked.stderr.contains("gateways.yaml were not queried"), "{unasked:?}");
    assert!(empty.contents().is_empty(), "nothing was put back");
}

/// The home is newer than the backup, and a gateway newer than the home.
#[test]
fn a_crl_newer_than_the_home_is_imported() {
    let (home, gateways) = fleet(1);
    let vault = Vault::new();
    let old = home.duplicate();
    let file = vault.back_up(&old, &[]);
    push(&home, &["revoke", "api-user/alice", "--wait"]);
    home.ok(&["crl", "publish"]);
    push(&home, &["crl", "push"]);
    // The outdated copy continues on its own.
    old.ok(&["revoke", "api-user/bob"]);
    let gateway = &gateways[0];
    list(&old, &[&gateway.address]);
    let restore = |more: &[&str]| {
        vault.run(&old, &[&["restore", &file, "--reconcile", "--gateway", &gateway.address], more].concat())
    };
    assert_eq!(restore(&[]).refusal().code, "restore.crl_missing");
    let crl = kept_list(gateway);
    restore(&["--crl", crl.to_str().expect("text")]).result();
    for user in ["api-user/alice", "api-user/bob"] {
        assert_eq!(old.ok(&["show", user])["status"], "revoked", "{user}");
    }
    let (finished, pushed) = push(&old, &["crl", "push"]);
    assert_eq!(finished.exit, Some(0), "{finished:?}");
    assert!(
        pushed["crl_number"].as_str().and_then(|number| number.parse().ok()) > Some(3_u64),
        "newer than all that was ever enforced: {pushed}"
    );
}
