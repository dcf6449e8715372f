//! The same shape everywhere: what a command prints, where, in which form, and its exit code.

mod exit;
mod files;
mod gateway;
mod hints;
mod look;
mod texts;
mod usage;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::home::{Finished, Home, cluster_ca};

/// Commands in an order in which each can succeed in a fresh home with [`PASSWORDS`].
const COMMANDS: &[&[&str]] = &[
    &["initialize", "prod"],
    &["create-control", "api.example.com", "--san", "10.0.0.1"],
    &["create-node"],
    &["create-node", "--count", "2"],
    &["create-api-user", "alice"],
    &["create-api-user", "bob", "--dry-run"],
    &["list"],
    &["show", "api-user/alice"],
    &["renew", "--expires-within", "1d"],
    &["rekey", "api-user/alice"],
    &["inspect", "cluster.crt", "cluster.crl", "issued/user-alice.crt", "issued/user-alice.key"],
    &["verify", "issued/user-alice.crt"],
    &["hosts", "add", "api-user/alice", "--to", "root@node1:/etc/cluster"],
    &["hosts", "list"],
    &["hosts", "remove", "api-user/alice"],
    &["distribute", "api-user/alice", "--to", "root@node1:/etc/cluster", "--dry-run"],
    &["bundle", "api-user/alice"],
    &["key", "show"],
    &["key", "protect", "issued/user-alice.key", "--passphrase-file", "password"],
    &[
        "key",
        "change-passphrase",
        "issued/user-alice.key",
        "--passphrase-file",
        "password",
        "--new-passphrase-file",
        "new-password",
    ],
    &["key", "unprotect", "issued/user-alice.key", "--passphrase-file", "new-password"],
    &["hold", "control-service/api.example.com"],
    &["release", "control-service/api.example.com"],
    &["revoke", "api-user/alice", "--all-generations"],
    &["crl", "show"],
    &["crl", "publish"],
    &["crl", "verify"],
    &["kms", "show"],
    &["ca-cert", "set", "cluster.crt"],
    &["ca-cert", "status"],
    &["ca-cert", "download", "service-ca.crt"],
    &["ca-cert", "unset"],
    &["security", "ca-cert", "set", "cluster.crt"],
    &["security", "ca-cert", "status"],
    &["security", "ca-cert", "download", "service-ca-2.crt"],
    &["security", "ca-cert", "unset"],
    &["org", "create", "acme"],
    &["org", "list"],
    &["org", "rename", "acme", "acme-labs"],
    &["user", "add", "carol", "--org", "acme-labs", "--role", "regular", "--password-file", "password"],
    &["user", "list"],
    &["user", "show", "carol", "--org", "acme-labs"],
    &["user", "update", "carol", "--org", "acme-labs", "--role", "read-only"],
    &["user", "passwd", "carol", "--org", "acme-labs", "--password-file", "new-password"],
    &["user", "unlock", "carol", "--org", "acme-labs"],
    &["user", "revoke-tokens", "carol", "--org", "acme-labs"],
    &["user", "delete", "carol", "--org", "acme-labs"],
    &["org", "delete", "acme-labs"],
    &["security", "lockout-config", "set", "--failed-attempts", "5"],
    &["security", "lockout-config", "show"],
    &["security", "lockout-config", "reset"],
    &["security", "login-banner", "set", "Authorized users only"],
    &["security", "login-banner", "show"],
    &["security", "login-banner", "disable"],
    &["security", "login-banner", "enable"],
    &["security", "login-banner", "reset"],
    &["security", "token-lifetimes", "set", "--access-token", "10m"],
    &["security", "token-lifetimes", "show"],
    &["security", "token-lifetimes", "reset"],
    &["security", "tls", "status"],
    &["backup", "prod.backup", "--password-file", "password"],
    &["restore", "prod.backup", "--home", "restored", "--password-file", "password", "--crl", "cluster.crl"],
    &["doctor"],
    &["forecast"],
    &["profiles", "list"],
    &["profiles", "show", "api-user"],
    &["profiles", "check"],
    &["audit", "list"],
    &["audit", "verify"],
    &["guide"],
    &["completions", "bash"],
    &["man"],
    &["man", "create-node"],
];

/// Files with passwords, for the commands after `initialize`.
const PASSWORDS: [(&str, &str); 2] = [
    ("password", "Correct horse 1 battery staple!\n"),
    ("new-password", "Staple battery 2 horse correct!\n"),
];

/// Commands that need another program: a gateway, a KMS, a directory or the server. Their tests stand beside that program.
const NOT_ALONE: &[&[&str]] = &[
    &["crl", "push"],
    &["explain-failure"],
    &["gateways", "push-tokens"],
    &["gateways", "status"],
    &["kms", "export"],
    &["kms", "rewrap"],
    &["kms", "set", "kmip"],
    &["kms", "set", "signer"],
    &["kms", "set", "vault"],
    &["kms", "unset"],
    &["ldap", "disable"],
    &["ldap", "enable"],
    &["ldap", "reset"],
    &["ldap", "setup"],
    &["ldap", "setup-ad"],
    &["ldap", "show"],
    &["ldap", "test"],
    &["ldap", "update"],
    &["login"],
    &["logout"],
    &["passwd"],
    &["security", "tls", "download"],
    &["security", "tls", "set"],
    &["security", "tls", "unset"],
    &["serve"],
    &["whoami"],
];

/// Runs [`COMMANDS`] in a fresh home, each with `options` before it, and hands over each result.
fn each_command(options: &[&str], mut judge: impl FnMut(&[&str], Finished)) {
    let home = Home::empty();
    for &command in COMMANDS {
        judge(command, run_inside(&home, &[options, command].concat()));
        if command[0] == "initialize" {
            for (file, password) in PASSWORDS {
                home.write(file, password);
                close(&home.path(file));
            }
        }
    }
}

#[test]
fn every_command_of_the_tree_is_tried_alone_or_with_its_program() {
    let tree = texts::command_tree(texts::said);
    let begins = |words: &[&str], path: &[String]| words.iter().take(path.len()).eq(path.iter());
    for path in &tree {
        let times = [COMMANDS, NOT_ALONE].map(|list| list.iter().any(|words| begins(words, path)));
        assert_eq!(
            times.iter().filter(|is_listed| **is_listed).count(),
            1,
            "{path:?} is in one of the two lists"
        );
    }
    for words in NOT_ALONE {
        assert!(tree.iter().any(|path| words.iter().eq(path.iter())), "there is no command {words:?}");
    }
}

/// Runs a command in the home as its user does, the current directory being the home.
fn run_inside(home: &Home, arguments: &[&str]) -> Finished {
    let output = cluster_ca().current_dir(home.path("")).args(arguments).output().expect("cluster-ca starts");
    Finished::from(output)
}

/// A secret in a file is its owner's alone.
fn close(secret: &Path) {
    fs::set_permissions(secret, Permissions::from_mode(0o600)).expect("chmod");
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn every_command_has_one_json_envelope() {
    each_command(&["--json"], |command, finished| {
        let envelope = finished.json();
        assert_eq!(keys(&envelope), BTreeSet::from(["ok", "result"]), "{command:?}: {finished:?}");
        assert_eq!((finished.exit, finished.stdout.lines().count()), (Some(0), 1), "{command:?}");
        assert!(!finished.stdout.contains("PRIVATE KEY"), "{command:?} shows a key");
    });
    let home = Home::initialized();
    for command in [&["show", "api-user/nobody"][..], &["frobnicate"], &["create-api-user", "Eve"], &[]] {
        let finished = run_inside(&home, &[&["--json"], command].concat());
        let envelope = finished.json();
        assert_eq!(keys(&envelope), BTreeSet::from(["error", "ok"]), "{command:?}: {finished:?}");
        assert_eq!(
            keys(&envelope["error"]),
            BTreeSet::from(["causes", "code", "hint", "message"]),
            "{command:?}"
        );
        assert!(finished.stderr.is_empty() && finished.exit != Some(0), "{finished:?}");
    }
}

#[test]
fn a_usage_error_names_what_is_missing() {
    let refusal = Home::empty().refused(&["initialize"]);
    assert_eq!((refusal.exit, refusal.code.as_str()), (2, "usage.arguments"));
    assert!(refusal.message.contains("<NAME>"), "{refusal:?}");
}

#[test]
fn quiet_prints_errors_only() {
    each_command(&["--quiet"], |command, finished| {
        // Text that was asked for is the result itself.
        if !matches!(command[0], "completions" | "guide" | "man") {
            assert_eq!(
                (finished.exit, finished.stdout.as_str(), finished.stderr.as_str()),
                (Some(0), "", ""),
                "{command:?}"
            );
        }
    });
    let home = Home::initialized();
    let finished = run_inside(&home, &["--quiet", "show", "api-user/nobody"]);
    assert_eq!((finished.exit, finished.stdout.as_str()), (Some(1), ""));
    assert!(finished.stderr.starts_with("error: "), "{finished:?}");
}

#[test]
fn results_go_to_stdout_and_errors_to_stderr_with_fact_and_advice() {
    each_command(&[], |command, finished| {
        assert!(
            finished.exit == Some(0) && !finished.stdout.is_empty() && finished.stderr.is_empty(),
            "{command:?}: {finished:?}"
        );
        assert!(!finished.stdout.contains('\u{1b}'), "{command:?} colours what is no terminal");
    });
    let home = Home::initialized();
    let finished = run_inside(&home, &["show", "api-user/nobody"]);
    assert_eq!(
        (finished.stdout.as_str(), finished.stderr.as_str()),
        (
            "",
            "error: there is no certificate api-user/nobody [ca.unknown_certificate]\n\
             hint: see what there is: cluster-ca list\n"
        )
    );
}

#[test]
fn an_issued_certificate_has_the_agreed_fields() {
    let home = Home::initialized();
    let issued = home.ok(&["create-api-user", "alice"]);
    let agreed =
        ["certificate", "key", "name", "not_after", "not_before", "role", "serial_number", "spiffe_id"]
            .map(|f| &issued[f]);
    assert!(agreed.iter().all(|value| value.is_string()), "{issued}");
    assert_eq!(issued["certificate"], home.path("issued/user-alice.crt").to_str().expect("text"));
    assert_eq!(issued["key"], home.path("issued/user-alice.key").to_str().expect("text"));
    assert_eq!((&issued["role"], &issued["name"]), (&"api-user".into(), &"alice".into()));
    assert_eq!(issued["spiffe_id"], "spiffe://prod/api-user/alice");
    let serial_number = issued["serial_number"].as_str().expect("text");
    assert!(
        serial_number.len() == 32 && serial_number.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    );
    assert!(issued["not_after"].as_str().expect("text").ends_with('Z'), "{issued}");

    let listed = &home.ok(&["list"])[0];
    for field in keys(&issued) {
        if field != "hosts" {
            assert_eq!(listed[field], issued[field], "{field}");
        }
    }
    assert_eq!(listed["status"], "valid");
    assert!(home.ok(&["create-node", "--count", "1"]).is_array(), "many are an array, one among them too");
}

#[test]
fn the_names_that_flocker_used_still_work() {
    let home = Home::initialized();
    for (alias, command, argument) in [
        ("create-control-certificate", "control-service", Some("api.example.com")),
        ("create-node-certificate", "node-agent", None),
        ("create-api-certificate", "api-user", Some("alice")),
    ] {
        let arguments: Vec<&str> = [alias].into_iter().chain(argument).collect();
        assert_eq!(home.ok(&arguments)["role"], command);
    }
}

#[test]
fn the_home_is_the_current_directory_or_the_environments_or_the_options() {
    let [here, there, elsewhere] = [Home::empty(), Home::empty(), Home::empty()];
    let initialize = |environment: bool, option: bool| {
        let mut command = cluster_ca();
        command.current_dir(here.path(""));
        if environment {
            command.env("CLUSTER_CA_HOME", there.path(""));
        }
        if option {
            command.arg("--home").arg(elsewhere.path(""));
        }
        let output = command.args(["initialize", "prod"]).output().expect("cluster-ca starts");
        assert_eq!(Finished::from(output).exit, Some(0));
    };
    for (environment, option, home) in
        [(true, true, &elsewhere), (true, false, &there), (false, false, &here)]
    {
        initialize(environment, option);
        assert!(home.path("ca.db").exists(), "environment {environment}, option {option}");
    }
}

#[test]
fn a_dry_run_shows_the_certificate_and_writes_nothing() {
    let home = Home::initialized();
    let before = home.state();
    for (command, wanted) in [
        (&["create-control", "api.example.com", "--san", "10.0.0.1"][..], "10.0.0.1"),
        (&["create-node", "--san", "n1.example.com", "--validity", "30d"], "n1.example.com"),
        (&["create-node", "--count", "3"], "client_auth"),
        (&["create-api-user", "alice", "--key-type", "rsa-4096"], "rsa-4096"),
    ] {
        let arguments = [command, &["--dry-run"]].concat();
        let shown = home.ok(&arguments);
        assert!(shown.to_string().contains(wanted), "{command:?}: {shown}");
        let text = home.run(&arguments);
        assert!(text.exit == Some(0) && text.stdout.contains("nothing was written"), "{text:?}");
    }
    assert_eq!(
        home.refused(&["create-api-user", "alice", "--dry-run", "--validity", "50y"]).code,
        "policy.validity"
    );
    assert!(home.state() == before, "a dry run changed the home");
}

#[test]
fn why_it_was_done_is_in_the_audit_log() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice", "--reason", "ticket 4711"]);
    home.ok(&["revoke", "api-user/alice", "--reason", "key-compromise", "--comment", "laptop lost"]);
    let log = home.ok(&["audit", "list"]);
    let entries = log.as_array().expect("an array");
    for (action, reason) in [("certificate.issue", "ticket 4711"), ("certificate.revoke", "laptop lost")] {
        let entry = entries.iter().find(|entry| entry["action"] == action).expect("an entry");
        assert_eq!(entry["reason"], reason);
        assert!(entry["actor"].as_str().is_some_and(|actor| actor.contains('@')), "{entry}");
    }
}

#[test]
fn a_reader_that_stops_reading_is_no_error() {
    let home = Home::initialized();
    home.ok(&["create-node", "--count", "500"]);
    let mut child =
        home.command(&["list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("cluster-ca");
    drop(child.stdout.take());
    let finished = Finished::from(child.wait_with_output().expect("cluster-ca ends"));
    assert_eq!((finished.exit, finished.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_file_of_names_makes_one_certificate_each() {
    let home = Home::initialized();
    let file = home.write("users", "alice\n# the second shift\n\n  bob  \n");
    let issued = home.ok(&["create-api-user", "--from", file.to_str().expect("text")]);
    let names: Vec<&str> = issued
        .as_array()
        .expect("an array")
        .iter()
        .map(|user| user["name"].as_str().expect("text"))
        .collect();
    assert_eq!(names, ["alice", "bob"]);
    let mut command = home.command(&["--json", "create-api-user", "--from", "-"]);
    let output = command
        .stdin(fs::File::open(home.write("more", "carol\n")).expect("names"))
        .output()
        .expect("cluster-ca");
    assert_eq!(Finished::from(output).result()[0]["name"], "carol");
}
