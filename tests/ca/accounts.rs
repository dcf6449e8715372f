//! Users, organizations and settings of logins, managed on the CA's home.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use cluster_ca::age_stream::{Decryptor, Encryptor};
use cluster_ca::clock::SystemEntropy;
use cluster_ca::secret::Secret;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::crash;
use crate::home::{Home, Refusal};

const PASSWORD: &str = "Tulip-hedge-9";

/// A private file with a password.
fn file(home: &Home, name: &str, password: &str) -> String {
    let path = home.write(name, format!("{password}\n"));
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("chmod");
    path.to_str().expect("text").to_owned()
}

/// A cluster with a file that has a good password.
fn start() -> (Home, String) {
    let home = Home::initialized();
    let password = file(&home, "password", PASSWORD);
    (home, password)
}

fn add(home: &Home, user: &str, role: &str, password: &str) -> Value {
    home.ok(&["user", "add", user, "--role", role, "--password-file", password])
}

fn users(home: &Home) -> Vec<String> {
    let listed = home.ok(&["user", "list"]);
    let name = |user: &Value| format!("{}/{}", text(user, "organization"), text(user, "name"));
    listed.as_array().expect("an array").iter().map(name).collect()
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}")).to_owned()
}

fn actions(home: &Home) -> Vec<String> {
    let log = home.ok(&["audit", "list"]);
    log.as_array().expect("an array").iter().map(|entry| text(entry, "action")).collect()
}

fn tamper(home: &Home, sql: &str) {
    let connection = Connection::open(home.path("ca.db")).expect("the inventory");
    connection.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON").expect("set");
    connection.execute_batch(sql).expect("changed");
}

/// Makes the inventory one of version 1, as the former release left it.
fn downgrade(home: &Home) {
    tamper(
        home,
        "DROP TABLE ldap; DROP TABLE request; DROP TABLE session; DROP TABLE lockout; DROP TABLE user; DROP TABLE organization; DROP TABLE security; \
         DROP TABLE unknown_login; DROP INDEX certificate_by_label; ALTER TABLE certificate DROP COLUMN label; \
         PRAGMA user_version = 1",
    );
}

#[test]
fn a_user_is_created_changed_and_deleted_with_an_audit_entry_each() {
    let (home, password) = start();
    let alice = add(&home, "alice", "cluster-admin", &password);
    assert_eq!(
        (&alice["organization"], &alice["role"], &alice["source"], &alice["must_change_password"]),
        (&json!("Root"), &json!("cluster-admin"), &json!("local"), &json!(true))
    );
    add(&home, "bob", "regular", &password);
    let linked = home.ok(&[
        "user",
        "update",
        "bob",
        "--role",
        "read-only",
        "--certificate",
        "api-user/bob",
        "--require-certificate",
        "true",
    ]);
    assert_eq!(
        (&linked["role"], &linked["certificate"], &linked["certificate_required"]),
        (&json!("read-only"), &json!("api-user/bob"), &json!(true))
    );
    assert_eq!(home.ok(&["user", "show", "bob"]), linked);
    let unlinked = home.ok(&["user", "update", "bob", "--no-certificate"]);
    assert_eq!(unlinked["certificate_required"], json!(false), "nothing is required that is not there");
    let changed = file(&home, "changed", "Meadow+stone 4");
    let set = home.ok(&["user", "passwd", "bob", "--password-file", &changed, "--keep-password"]);
    assert_eq!(set["must_change_password"], json!(false));
    assert_eq!(users(&home), ["Root/alice", "Root/bob"]);
    home.ok(&["user", "delete", "bob"]);
    assert_eq!(users(&home), ["Root/alice"]);
    assert_eq!(
        actions(&home)[3..],
        ["user.create", "user.create", "user.update", "user.update", "user.password", "user.delete"]
    );
    home.ok(&["audit", "verify"]);
    home.ok(&["doctor"]);
}

#[test]
fn a_change_that_changes_nothing_leaves_no_entry() {
    let (home, password) = start();
    add(&home, "alice", "cluster-admin", &password);
    let before = actions(&home);
    home.ok(&["user", "update", "alice", "--role", "cluster-admin"]);
    home.ok(&["user", "unlock", "alice"]);
    home.ok(&["security", "lockout-config", "set", "--failed-attempts", "5"]);
    home.ok(&["security", "login-banner", "reset"]);
    assert_eq!(actions(&home), before);
}

#[test]
fn a_weak_password_is_refused_and_never_shown() {
    let (home, password) = start();
    add(&home, "alice", "cluster-admin", &password);
    let before = home.state();
    for (weak, why) in [
        ("Sh0rt!", "at least 8 characters"),
        ("tulip-hedge-9", "upper-case"),
        ("TULIP-HEDGE-9", "lower-case"),
        ("TulipHedge", "digit or a special"),
        ("Bobby-is-here-1", "user name"),
        ("P@ssw0rd2026", "common"),
    ] {
        let weak_file = file(&home, "weak", weak);
        let refusal =
            home.refused(&["user", "add", "bobby", "--role", "regular", "--password-file", &weak_file]);
        assert_eq!((refusal.exit, refusal.code.as_str()), (1, "account.weak_password"), "{weak}");
        assert!(refusal.message.contains(why), "{weak}: {refusal:?}");
        assert!(!refusal.words().contains(weak), "{refusal:?}");
    }
    let refusal = home.refused(&["user", "passwd", "alice", "--password-file", &password]);
    assert!(refusal.message.contains("present one"), "{refusal:?}");
    fs::remove_file(home.path("weak")).expect("removed");
    assert!(home.state() == before, "a refused command changed something");
}

#[test]
fn a_password_is_never_an_argument_and_needs_a_private_file() {
    let (home, password) = start();
    let refusal = home.refused(&["user", "add", "alice", "--role", "regular", PASSWORD]);
    assert_eq!(refusal.exit, 2);
    let refusal = home.refused(&["user", "add", "alice", "--role", "regular"]);
    assert_eq!((refusal.exit, refusal.code.as_str()), (2, "usage.password"));
    assert!(refusal.hint.contains("--password-file"), "{refusal:?}");
    fs::set_permissions(&password, Permissions::from_mode(0o644)).expect("chmod");
    let refusal = home.refused(&["user", "add", "alice", "--role", "regular", "--password-file", &password]);
    assert_eq!(refusal.code, "file.exposed");
}

#[test]
fn the_last_cluster_admin_can_neither_be_deleted_nor_get_another_role() {
    let (home, password) = start();
    add(&home, "alice", "cluster-admin", &password);
    add(&home, "bob", "org-admin", &password);
    for refused in [&["user", "delete", "alice"][..], &["user", "update", "alice", "--role", "regular"]] {
        let refusal = home.refused(refused);
        assert_eq!((refusal.exit, refusal.code.as_str()), (1, "account.last_cluster_admin"));
        assert!(refusal.hint.contains("--role cluster-admin"), "{refusal:?}");
    }
    add(&home, "carol", "cluster-admin", &password);
    home.ok(&["user", "update", "alice", "--role", "regular"]);
    assert_eq!(home.refused(&["user", "delete", "carol"]).code, "account.last_cluster_admin");
    home.ok(&["user", "delete", "alice"]);
    home.ok(&["user", "delete", "bob"]);
}

#[test]
fn organizations_keep_users_apart() {
    let (home, password) = start();
    let research = home.ok(&["org", "create", "research"]);
    assert_eq!(
        (&research["id"], &research["name"], &research["users"]),
        (&json!(2), &json!("research"), &json!(0))
    );
    add(&home, "alice", "cluster-admin", &password);
    home.ok(&[
        "user",
        "add",
        "alice",
        "--org",
        "RESEARCH",
        "--role",
        "org-admin",
        "--password-file",
        &password,
    ]);
    assert_eq!(users(&home), ["Root/alice", "research/alice"]);
    let refused = |arguments: &[&str], code: &str| {
        let refusal = home.refused(arguments);
        assert_eq!(refusal.code, code, "{arguments:?}: {refusal:?}");
        refusal
    };
    let again =
        ["user", "add", "alice", "--org", "research", "--role", "regular", "--password-file", &password];
    refused(&again, "account.user_exists");
    refused(
        &["user", "add", "x", "--org", "none", "--role", "regular", "--password-file", &password],
        "account.unknown_organization",
    );
    refused(
        &["user", "add", "x", "--org", "research", "--role", "cluster-admin", "--password-file", &password],
        "account.role_outside_root",
    );
    refused(
        &["user", "update", "alice", "--org", "research", "--role", "cluster-admin"],
        "account.role_outside_root",
    );
    refused(&["user", "show", "bob"], "account.unknown_user");
    refused(&["org", "create", "Research"], "account.organization_exists");
    refused(&["org", "create", "root"], "account.organization_exists");
    refused(&["org", "delete", "research"], "account.organization_not_empty");
    refused(&["org", "delete", "Root"], "account.root_organization");
    refused(&["org", "rename", "root", "x"], "account.root_organization");
    refused(&["org", "rename", "research", "ROOT"], "account.organization_exists");
    assert_eq!(home.ok(&["org", "rename", "research", "Research"])["name"], json!("Research"));
    assert_eq!(users(&home), ["Root/alice", "Research/alice"]);
    home.ok(&["user", "delete", "alice", "--org", "research"]);
    home.ok(&["org", "delete", "research"]);
    assert_eq!(home.ok(&["org", "list"]).as_array().expect("an array").len(), 1);
    home.ok(&["audit", "verify"]);
}

#[test]
fn a_certificate_is_linked_to_one_user() {
    let (home, password) = start();
    add(&home, "alice", "cluster-admin", &password);
    add(&home, "bob", "regular", &password);
    home.ok(&["user", "update", "alice", "--certificate", "api-user/alice"]);
    let refusal = home.refused(&["user", "update", "bob", "--certificate", "api-user/alice"]);
    assert_eq!(refusal.code, "account.certificate_linked");
    let refusal = home.refused(&["user", "update", "bob", "--require-certificate", "true"]);
    assert_eq!(refusal.code, "account.no_certificate");
    assert_eq!(home.refused(&["user", "update", "bob", "--certificate", "alice"]).code, "name.role");
    home.ok(&["user", "update", "alice", "--no-certificate"]);
    home.ok(&["user", "update", "bob", "--certificate", "api-user/alice"]);
}

#[test]
fn settings_stay_within_their_ranges() {
    let home = Home::initialized();
    assert_eq!(
        home.ok(&["security", "lockout-config"]),
        json!({ "failed_attempts": 5, "lockout_duration": 120 })
    );
    let refused = |arguments: &[&str]| -> Refusal {
        let refusal = home.refused(&[&["security"], arguments].concat());
        assert_eq!(refusal.exit, 2, "{arguments:?}: {refusal:?}");
        refusal
    };
    for (option, value, range) in [
        ("--failed-attempts", "1", "2 to 50"),
        ("--failed-attempts", "51", "2 to 50"),
        ("--lockout-duration", "29s", "30s to 1h"),
        ("--lockout-duration", "61m", "30s to 1h"),
    ] {
        let refusal = refused(&["lockout-config", "set", option, value]);
        assert!(refusal.message.contains(range), "{refusal:?}");
    }
    home.ok(&["security", "lockout-config", "set", "--failed-attempts", "50", "--lockout-duration", "30s"]);
    home.ok(&["security", "lockout-config", "set", "--failed-attempts", "2", "--lockout-duration", "60m"]);
    assert_eq!(
        home.ok(&["security", "lockout-config", "show"]),
        json!({ "failed_attempts": 2, "lockout_duration": 3600 })
    );
    home.ok(&["security", "lockout-config", "reset"]);
    assert_eq!(home.ok(&["security", "lockout-config"])["failed_attempts"], json!(5));

    assert!(refused(&["token-lifetimes", "set", "--access-token", "59s"]).message.contains("1m to 30d"));
    assert!(refused(&["token-lifetimes", "set", "--refresh-token", "2y"]).message.contains("1m to 1y"));
    refused(&["token-lifetimes", "set", "--access-token-max", "4m"]);
    let set = home.ok(&[
        "security",
        "token-lifetimes",
        "set",
        "--access-token-max",
        "5m",
        "--refresh-token",
        "14d",
    ]);
    assert_eq!((&set["access_token_maximum"], &set["refresh_token"]), (&json!(300), &json!(1_209_600)));
    home.ok(&["security", "token-lifetimes", "reset"]);
    home.ok(&["audit", "verify"]);
}

#[test]
fn a_banner_is_kept_while_it_is_disabled_and_cannot_change_a_terminal() {
    let home = Home::initialized();
    assert_eq!(home.ok(&["security", "login-banner"]), json!({ "text": "", "enabled": true }));
    home.ok(&["security", "login-banner", "set", "Authorized use only.\nAll logins are recorded."]);
    let disabled = home.ok(&["security", "login-banner", "disable"]);
    assert_eq!(disabled["enabled"], json!(false));
    assert!(text(&disabled, "text").contains("recorded"));
    assert_eq!(home.ok(&["security", "login-banner", "enable"])["enabled"], json!(true));
    home.ok(&["security", "login-banner", "set", &"x".repeat(4096)]);
    for refused in [&"x".repeat(4097), "\u{1b}[2J"] {
        let refusal = home.refused(&["security", "login-banner", "set", refused]);
        assert_eq!((refusal.exit, refusal.code.as_str()), (2, "input.banner"));
    }
    assert_eq!(home.ok(&["security", "login-banner", "reset"]), json!({ "text": "", "enabled": true }));
}

#[test]
fn an_inventory_of_version_1_is_migrated_by_the_first_command_and_the_entry_says_so() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    let certificates = home.ok(&["list"]);
    for first in [&["list"][..], &["create-api-user", "bob"], &["doctor"], &["user", "list"]] {
        let old = home.duplicate();
        downgrade(&old);
        let before = actions_of_version_1(&old);
        old.ok(first);
        let log = old.ok(&["audit", "list"]);
        let migrated = &log[before];
        assert_eq!(text(migrated, "action"), "inventory.migrate", "{first:?}: {log}");
        assert_eq!(migrated["details"], json!({ "from": 1, "to": 5 }));
        assert_eq!(old.ok(&["org", "list"])[0]["name"], json!("Root"));
        old.ok(&["audit", "verify"]);
        old.ok(&["doctor"]);
        let again = actions(&old);
        old.ok(&["user", "list"]);
        assert_eq!(actions(&old), again, "it is migrated once");
    }
    assert_eq!(home.ok(&["list"]), certificates);
}

/// Number of audit entries, without opening the inventory.
fn actions_of_version_1(home: &Home) -> usize {
    let connection = Connection::open(home.path("ca.db")).expect("the inventory");
    let count: u32 =
        connection.query_row("SELECT count(*) FROM audit", [], |row| row.get(0)).expect("a number");
    count.try_into().expect("a small number")
}

#[test]
fn a_backup_of_version_1_is_verified_and_restored() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    let password = file(&home, "password", PASSWORD);
    let backup = home.path("now.age").display().to_string();
    home.ok(&["backup", &backup, "--password-file", &password]);
    let database = {
        let old = home.duplicate();
        downgrade(&old);
        fs::read(old.path("ca.db")).expect("the inventory")
    };
    let old = home.path("old.age").display().to_string();
    rewrite(&backup, &old, |name, contents| if name == "ca.db" { database.clone() } else { contents });
    home.ok(&["backup", "--verify", &old, "--password-file", &password]);

    let empty = Home::empty();
    empty.ok(&["restore", &old, "--password-file", &password, "--no-newer-crl"]);
    assert_eq!(empty.ok(&["org", "list"])[0]["name"], json!("Root"));
    assert_eq!(actions(&empty).iter().rev().nth(1).map(String::as_str), Some("inventory.migrate"));
    empty.ok(&["audit", "verify"]);

    // A home that was migrated at another time differs from it in nothing but the migration.
    let migrated = home.duplicate();
    downgrade(&migrated);
    migrated.ok(&["list"]);
    migrated.ok(&["restore", &old, "--password-file", &password]);
    migrated.ok(&["audit", "verify"]);
    // A home of version 1 that has more is newer than the backup.
    let ahead = home.duplicate();
    ahead.ok(&["create-api-user", "bob"]);
    downgrade(&ahead);
    let refusal = ahead.refused(&["restore", &old, "--password-file", &password]);
    assert_eq!(refusal.code, "restore.forgets", "{refusal:?}");
    ahead.ok(&["restore", &old, "--password-file", &password, "--reconcile"]);
    assert_eq!(ahead.ok(&["list"]).as_array().expect("an array").len(), 2);
    ahead.ok(&["audit", "verify"]);
}

/// Writes a copy of a backup with other contents.
fn rewrite(backup: &str, copy: &str, change: impl Fn(&str, Vec<u8>) -> Vec<u8>) {
    let passphrase = || Secret::new(PASSWORD.as_bytes().to_vec());
    let source = fs::File::open(backup).expect("the backup");
    let mut archive = tar::Archive::new(Decryptor::new(source, &passphrase()).expect("decrypted"));
    let sink = fs::File::create(copy).expect("a file");
    let mut changed =
        tar::Builder::new(Encryptor::new(sink, &passphrase(), &SystemEntropy).expect("encrypted"));
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a name").display().to_string();
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).expect("contents");
        let contents = change(&name, contents);
        let mut header = entry.header().clone();
        header.set_size(contents.len().try_into().expect("a size"));
        header.set_cksum();
        changed.append(&header, contents.as_slice()).expect("written");
    }
    changed.into_inner().and_then(Encryptor::finish).expect("finished");
}

#[test]
fn a_restore_revokes_the_tokens_of_every_user() {
    let (home, password) = start();
    add(&home, "alice", "cluster-admin", &password);
    add(&home, "bob", "regular", &password);
    home.ok(&["user", "revoke-tokens", "bob"]);
    assert_eq!(actions(&home).last().map(String::as_str), Some("user.revoke_tokens"));
    let backup = home.path("now.age").display().to_string();
    home.ok(&["backup", &backup, "--password-file", &password]);
    let restored = Home::empty();
    restored.ok(&["restore", &backup, "--password-file", &password, "--no-newer-crl"]);
    let revoked = actions(&restored).into_iter().rev().take_while(|action| action == "user.revoke_tokens");
    assert_eq!(revoked.count(), 2, "tokens that were revoked after the backup would be valid again");
    restored.ok(&["audit", "verify"]);
}

#[test]
fn a_row_that_another_program_changed_is_refused() {
    let (home, password) = start();
    add(&home, "alice", "cluster-admin", &password);
    add(&home, "bob", "regular", &password);
    home.ok(&["org", "create", "research"]);
    for change in [
        "UPDATE user SET role = 'cluster-admin' WHERE name = 'bob'",
        "UPDATE user SET password = (SELECT password FROM user WHERE name = 'alice') WHERE name = 'bob'",
        "UPDATE user SET must_change_password = 0 WHERE name = 'bob'",
        "UPDATE user SET entry = entry - 1 WHERE name = 'bob'",
        "UPDATE user SET organization = 2 WHERE name = 'bob'",
        "DELETE FROM user WHERE name = 'bob'",
        "INSERT INTO user SELECT 3, organization, 'eve', role, source, password, password_changed_at, \
         must_change_password, certificate, certificate_required, tokens_from, created_at, entry, ldap_entry \
         FROM user WHERE name = 'alice'",
        "UPDATE user SET source = 'ldap' WHERE name = 'bob'",
        "UPDATE user SET ldap_entry = zeroblob(32) WHERE name = 'bob'",
        "UPDATE organization SET name = 'other' WHERE id = 2",
        "UPDATE organization SET name = 'other' WHERE id = 1",
        "DELETE FROM organization WHERE id = 2",
        "UPDATE security SET failed_attempts = 1000",
    ] {
        let changed = home.duplicate();
        tamper(&changed, change);
        let refusal = changed.refused(&["audit", "verify"]);
        assert_eq!(refusal.code, "store.inconsistent", "{change}: {refusal:?}");
    }
}

#[test]
fn a_user_command_killed_at_any_point_is_done_or_not_done() {
    let (home, password) = start();
    add(&home, "alice", "cluster-admin", &password);
    let add = ["user", "add", "bob", "--role", "regular", "--password-file", &password];
    let mut outcomes = BTreeSet::new();
    for point in crash::points(&home, &add) {
        let copy = home.duplicate();
        if crash::killed_at(&copy, &add, &point) {
            let found = users(&copy);
            outcomes.insert(found.len());
            copy.ok(&["audit", "verify"]);
            assert_eq!(actions(&copy).len(), actions(&home).len() + found.len() - 1, "{point}");
        }
    }
    assert_eq!(outcomes, BTreeSet::from([1, 2]));
}

#[test]
fn a_migration_killed_at_any_point_is_done_by_the_next_command() {
    let home = Home::initialized();
    downgrade(&home);
    let command = ["user", "list"];
    let points = crash::points(&home, &command);
    assert!(points.len() > 3, "only {} points", points.len());
    for point in points {
        let copy = home.duplicate();
        if crash::killed_at(&copy, &command, &point) {
            assert_eq!(copy.ok(&["org", "list"])[0]["name"], json!("Root"), "{point}");
            let migrations = actions(&copy).iter().filter(|action| *action == "inventory.migrate").count();
            assert_eq!(migrations, 1, "{point}");
            copy.ok(&["audit", "verify"]);
        }
    }
}
