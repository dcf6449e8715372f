//! Homes that are not fit to sign from, and files that are in the way.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::refused_without_a_trace;
use crate::home::Home;

const ISSUE: [&str; 2] = ["create-api-user", "bob"];

#[test]
fn a_home_without_a_cluster_is_said_and_stays_empty() {
    for arguments in [
        &ISSUE[..],
        &["create-node"],
        &["create-control", "api"],
        &["list"],
        &["revoke", "api-user/bob"],
        &["audit", "verify"],
    ] {
        let home = Home::empty();
        let refusal = home.refused(arguments);
        assert_eq!((refusal.exit, refusal.code.as_str()), (3, "home.missing"), "{arguments:?}: {refusal:?}");
        assert!(refusal.hint.contains("initialize"), "{refusal:?}");
        assert!(home.contents().is_empty(), "{arguments:?} left files");
    }
    let gone = Home::empty();
    fs::remove_dir(gone.path("")).expect("removed");
    assert_eq!(gone.refused(&["list"]).code, "home.missing");
    assert_eq!(gone.refused(&["initialize", "prod", "--validity", "1d"]).code, "policy.validity");
    assert!(!gone.path("").exists(), "a refused order makes no directory");
}

#[test]
fn a_home_that_lost_its_inventory_is_not_told_to_make_a_new_cluster() {
    let home = Home::initialized();
    for name in ["ca.db", "ca.db-wal", "ca.db-shm"] {
        let _ = fs::remove_file(home.path(name));
    }
    for arguments in [&["list"][..], &["doctor"], &ISSUE] {
        let refusal = home.refused(arguments);
        assert_eq!((refusal.exit, refusal.code.as_str()), (1, "home.inventory_missing"), "{arguments:?}");
        assert!(refusal.hint.contains("restore") && !refusal.hint.contains("initialize"), "{refusal:?}");
    }
}

#[test]
fn what_was_done_in_a_home_of_any_name_is_told() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let parent = Home::empty();
    let at = |name: &[u8]| parent.path(OsStr::from_bytes(name));
    let run = |home: &std::path::Path, arguments: &[&str]| {
        let output = crate::home::cluster_ca().arg("--home").arg(home).args(arguments).output();
        crate::home::Finished::from(output.expect("cluster-ca starts"))
    };
    let foreign = at(b"h\xff x");
    for arguments in [
        &["initialize", "prod"][..],
        &["create-api-user", "bob"],
        &["revoke", "api-user/bob"],
        &["crl", "show"],
    ] {
        run(&foreign, &[&["--json"], arguments].concat()).result();
    }
    // Nor does a name move the cursor, or begin a line of its own.
    let odd = at(b"\x1b[31m\nerror: all is lost");
    let told = run(&odd, &["initialize", "prod"]);
    assert_eq!(told.exit, Some(0), "{told:?}");
    assert!(!told.stdout.contains('\u{1b}') && !told.stdout.contains("\nerror: "), "{told:?}");
    let refused = run(&odd, &["initialize", "prod"]);
    assert!(!refused.stderr.contains('\u{1b}'), "{refused:?}");
}

#[test]
fn a_home_that_has_any_file_of_a_cluster_is_not_initialized_over() {
    for file in ["cluster.crt", "cluster.key", "cluster.crl", "ca.db"] {
        let home = Home::empty();
        home.write(file, "somebody's");
        let before = home.contents();
        let refusal = home.refused(&["initialize", "prod"]);
        assert_eq!((refusal.exit, refusal.code.as_str()), (1, "home.occupied"), "{file}: {refusal:?}");
        assert!(refusal.message.contains(file), "{refusal:?}");
        assert_eq!(home.contents(), before, "{file}");
    }
    let home = Home::initialized();
    refused_without_a_trace(&home, &["initialize", "prod"], 1, "home.occupied");
}

#[test]
fn a_key_that_is_not_the_certificates_signs_nothing() {
    for file in ["cluster.key", "cluster.crt"] {
        let (home, other) = (Home::initialized(), Home::initialized());
        fs::copy(other.path(file), home.path(file)).expect("a copy");
        refused_without_a_trace(&home, &ISSUE, 1, "home.key_mismatch");
    }
}

#[test]
fn loose_permissions_are_refused() {
    let home = Home::initialized();
    for mode in [0o640, 0o604, 0o660, 0o622] {
        fs::set_permissions(home.path("cluster.key"), Permissions::from_mode(mode)).expect("chmod");
        let refusal = refused_without_a_trace(&home, &ISSUE, 1, "file.exposed");
        assert!(refusal.hint.contains("0600"), "{refusal:?}");
    }
    fs::set_permissions(home.path("cluster.key"), Permissions::from_mode(0o600)).expect("chmod");
    for mode in [0o750, 0o701, 0o777] {
        fs::set_permissions(home.path(""), Permissions::from_mode(mode)).expect("chmod");
        let refusal = home.refused(&ISSUE);
        assert_eq!((refusal.exit, refusal.code.as_str()), (1, "file.exposed"), "{refusal:?}");
    }
    fs::set_permissions(home.path(""), Permissions::from_mode(0o700)).expect("chmod");
    home.ok(&ISSUE);
}

#[test]
fn files_that_are_damaged_or_missing_are_named() {
    for (file, contents) in [
        ("cluster.key", &b""[..]),
        ("cluster.key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        ("cluster.crt", b""),
        ("cluster.crt", b"\xff\x00"),
    ] {
        let home = Home::initialized();
        home.write(file, contents);
        let before = home.state();
        let refusal = home.refused(&ISSUE);
        assert_eq!(refusal.exit, 3, "{refusal:?}");
        assert!(refusal.message.contains(file), "{refusal:?}");
        assert!(home.state() == before, "{file}");
    }
    for file in ["cluster.key", "cluster.crt"] {
        let home = Home::initialized();
        fs::remove_file(home.path(file)).expect("removed");
        let refusal = refused_without_a_trace(&home, &ISSUE, 3, "file.missing");
        assert!(refusal.message.contains(file), "{refusal:?}");
    }
    for contents in [&b"not a database, but long enough to be taken for the start of one"[..], b""] {
        let home = Home::initialized();
        home.write("ca.db", contents);
        let before = home.contents();
        let refusal = home.refused(&ISSUE);
        assert!(refusal.code.starts_with("store.") && refusal.exit == 3, "{refusal:?}");
        assert_eq!(home.contents(), before);
    }
}

#[test]
fn an_older_inventory_is_not_gone_on_with() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    home.ok(&["create-api-user", "bob"]);
    fs::copy(home.path("ca.db"), home.path("backup")).expect("a backup");
    home.ok(&["revoke", "api-user/alice"]);
    fs::rename(home.path("backup"), home.path("ca.db")).expect("put back");
    for command in [&["revoke", "api-user/bob"][..], &["create-api-user", "carol"]] {
        let refusal = refused_without_a_trace(&home, command, 1, "home.inventory_behind");
        assert!(refusal.hint.contains("ca.db"), "{refusal:?}");
    }
    // A list that nobody of ours signed says nothing about the inventory.
    let other = Home::initialized();
    fs::copy(other.path("cluster.crl"), home.path("cluster.crl")).expect("a copy");
    home.ok(&["create-api-user", "carol"]);
}

#[test]
fn a_home_that_may_not_be_entered_is_not_called_missing() {
    let home = Home::initialized();
    // Root may enter everything; nobody else may enter root's home.
    let everybodys = tempfile::tempdir().expect("a directory");
    fs::set_permissions(everybodys.path(), Permissions::from_mode(0o755)).expect("chmod");
    let program = everybodys.path().join("cluster-ca");
    fs::copy(env!("CARGO_BIN_EXE_cluster-ca"), &program).expect("a copy");
    let mut command = Command::new(program);
    if rustix::process::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    } else {
        fs::set_permissions(home.path(""), Permissions::from_mode(0o000)).expect("chmod");
    }
    let output = command.arg("--home").arg(home.path("")).arg("list").output().expect("it starts");
    fs::set_permissions(home.path(""), Permissions::from_mode(0o700)).expect("chmod");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(3) && words.contains("[file.permission]"), "{words}");
}

#[test]
fn nothing_that_exists_is_overwritten() {
    for name in ["user-bob.crt", "user-bob.key"] {
        let home = Home::initialized();
        home.ok(&["create-api-user", "alice"]);
        home.write(&format!("issued/{name}"), "somebody's");
        let refusal = refused_without_a_trace(&home, &ISSUE, 1, "file.exists");
        assert!(refusal.message.contains(name) && refusal.hint.contains("--output"), "{refusal:?}");
        fs::remove_file(home.path("issued").join(name)).expect("removed");
        symlink("/nowhere", home.path("issued").join(name)).expect("a link");
        refused_without_a_trace(&home, &ISSUE, 1, "file.exists");
    }
    let home = Home::initialized();
    home.write("issued", "not a directory");
    let before = home.state();
    let refusal = home.refused(&ISSUE);
    assert!(refusal.code.starts_with("file.") && refusal.message.contains("issued"), "{refusal:?}");
    assert!(home.state() == before);
}

#[test]
fn a_home_that_any_user_could_replace_is_not_opened() {
    let parent = Home::empty();
    let at = parent.path("open/home");
    fs::create_dir_all(&at).expect("directories");
    let run = |arguments: &[&str]| {
        let output = crate::home::cluster_ca().arg("--home").arg(&at).arg("--json").args(arguments).output();
        crate::home::Finished::from(output.expect("cluster-ca starts"))
    };
    run(&["initialize", "prod"]).result();
    fs::set_permissions(parent.path("open"), Permissions::from_mode(0o777)).expect("chmod");
    for arguments in [&ISSUE[..], &["list"]] {
        let refusal = run(arguments).refusal();
        assert_eq!((refusal.exit, refusal.code.as_str()), (1, "file.writable_by_all"), "{refusal:?}");
    }
    let found = run(&["doctor"]).json()["result"]["findings"].to_string();
    assert!(found.contains("file.writable_by_all"), "{found}");
    fs::set_permissions(parent.path("open"), Permissions::from_mode(0o755)).expect("chmod");
    run(&ISSUE).result();
}

#[test]
fn a_home_is_not_opened_through_a_link_that_any_user_could_replace() {
    let parent = Home::initialized();
    fs::create_dir(parent.path("open")).expect("a directory");
    symlink(parent.path("."), parent.path("open/home")).expect("a link");
    let run = |arguments: &[&str]| {
        let at = parent.path("open/home");
        let output = crate::home::cluster_ca().arg("--home").arg(&at).arg("--json").args(arguments).output();
        crate::home::Finished::from(output.expect("cluster-ca starts"))
    };
    run(&["list"]).result();
    fs::set_permissions(parent.path("open"), Permissions::from_mode(0o777)).expect("chmod");
    for arguments in [&ISSUE[..], &["list"], &["revoke", "api-user/bob"], &["initialize", "prod"]] {
        let refusal = run(arguments).refusal();
        assert_eq!((refusal.exit, refusal.code.as_str()), (1, "file.writable_by_all"), "{refusal:?}");
    }
    let found = run(&["doctor"]).json()["result"]["findings"].to_string();
    assert!(found.contains("file.writable_by_all"), "{found}");
}

#[test]
fn files_that_say_whom_to_reach_may_not_be_open_to_all() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    let entry = "deliveries:\n  - { identity: api-user/alice, to: 'root@host.invalid:/etc/cluster' }\n";
    home.write("hosts.yaml", entry);
    fs::set_permissions(home.path("hosts.yaml"), Permissions::from_mode(0o666)).expect("chmod");
    assert_eq!(home.refused(&["distribute", "--all"]).code, "file.writable_by_all");
    fs::remove_file(home.path("hosts.yaml")).expect("removed");
    home.write("gateways.yaml", "gateways: [host.invalid:443]\n");
    fs::set_permissions(home.path("gateways.yaml"), Permissions::from_mode(0o666)).expect("chmod");
    assert_eq!(home.refused(&["gateways"]).code, "file.writable_by_all");
}

#[test]
fn a_process_that_may_open_the_key_leaves_no_core_file() {
    use std::process::Stdio;
    let home = Home::initialized();
    let mut waiting = home.command(&["create-api-user", "bob", "--csr", "-"]);
    let mut waiting =
        waiting.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let limits = format!("/proc/{}/limits", waiting.id());
    crate::eventually::eventually("the limit is set", || {
        let limits = fs::read_to_string(&limits).expect("limits");
        let core =
            limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit").to_owned();
        (core.split_whitespace().rev().take(3).collect::<Vec<_>>() == ["bytes", "0", "0"]).then_some(())
    });
    drop(waiting.stdin.take());
    waiting.wait().expect("it ends");
}
