//! Listings: constant memory, order, limits, and tables that fit the terminal.

use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::home::Home;

/// A home with a certificate of each status but `reserved` and `expired`.
fn lived_in() -> Home {
    let home = Home::initialized();
    home.ok(&["create-api-user", "carol", "--validity", "30d"]);
    home.ok(&["create-node", "6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e"]);
    home.ok(&["create-api-user", "alice", "--validity", "10d"]);
    home.ok(&["create-api-user", "bob", "--validity", "60d"]);
    home.ok(&["hold", "api-user/bob", "--comment", "on leave"]);
    home.ok(&["create-control", &format!("{}.example.com", "a".repeat(60))]);
    home.ok(&["revoke", "api-user/carol"]);
    home
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("an array").iter().map(|row| row["name"].as_str().expect("text")).collect()
}

/// Peak memory (KiB) of a command that prints `length` bytes, read while it waits for its output to be taken.
fn peak_memory(home: &Home, arguments: &[&str], length: usize) -> u64 {
    let mut child = home.command(arguments).stdout(Stdio::piped()).spawn().expect("cluster-ca");
    let mut stdout = child.stdout.take().expect("a pipe");
    // More than a pipe takes is left, so that the process is still there.
    let mut most = vec![0; length.checked_sub(160 * 1024).expect("a long listing")];
    stdout.read_exact(&mut most).expect("rows");
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("the process is there");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    std::io::copy(&mut stdout, &mut std::io::sink()).expect("the rest");
    assert!(child.wait().expect("it ends").success());
    peak.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn a_listing_of_thousands_needs_no_more_memory_than_one_of_hundreds() {
    let home = Home::initialized();
    home.ok(&["create-node", "--count", "6000"]);
    for command in [&["list"][..], &["audit", "list"], &["--json", "list"], &["--json", "audit", "list"]] {
        let all = home.run(command).stdout.len();
        let few = [command, &["--limit", "2500", "--output", "wide"]].concat();
        let few = peak_memory(&home, &few, home.run(&few).stdout.len());
        let all = peak_memory(&home, command, all);
        assert!(all < few + 4 * 1024, "{command:?}: {few} KiB, then {all} KiB");
    }
}

#[test]
fn list_takes_an_order_and_a_limit() {
    let home = lived_in();
    let node = "6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e";
    let host = format!("{}.example.com", "a".repeat(60));
    let host = host.as_str();
    for (arguments, expected) in [
        (&["--sort", "oldest"][..], &["carol", node, "alice", "bob", host][..]),
        (&["--sort", "newest"], &[host, "bob", "alice", node, "carol"]),
        (&["--sort", "name"], &[node, host, "alice", "bob", "carol"]),
        (&["--sort", "expires", "--role", "api-user"], &["alice", "carol", "bob"]),
        (&["--sort", "expires", "--status", "valid", "--role", "api-user"], &["alice"]),
        (&["--sort", "newest", "--limit", "2"], &[host, "bob"]),
        (&["--limit", "1"], &["carol"]),
        (&["--limit", "0"], &[]),
        // The limit counts what is listed, not what is read.
        (&["--status", "on-hold", "--limit", "1"], &["bob"]),
        (&["--sort", "name", "--name", "*o*", "--limit", "9"], &[host, "bob", "carol"]),
    ] {
        assert_eq!(names(&home.ok(&[&["list"], arguments].concat())), expected, "{arguments:?}");
    }
    for arguments in [["--sort", "size"], ["--limit", "-1"], ["--output", "tall"]] {
        assert_eq!(home.run(&[&["list"], &arguments[..]].concat()).exit, Some(2), "{arguments:?}");
    }
}

#[test]
fn a_listing_fits_80_columns_and_wide_shows_everything() {
    let home = lived_in();
    for command in [&["list"][..], &["audit", "list"]] {
        let fitting = home.run(command).stdout;
        assert!(fitting.lines().all(|line| line.chars().count() <= 80), "{fitting}");
        let heading = fitting.lines().next().expect("a heading").to_owned();
        assert_eq!(heading, heading.to_uppercase(), "{fitting}");
        let wide = home.run(&[command, &["--output", "wide"]].concat()).stdout;
        assert_eq!(wide.lines().count(), fitting.lines().count());
        assert!(wide.contains(&format!("{}.example.com", "a".repeat(60))), "{wide}");
        assert!(!wide.contains('\u{2026}') && fitting.contains('\u{2026}'), "{wide}{fitting}");
    }
    let list = home.ok(&["list"]);
    let wide = home.run(&["list", "--output", "wide"]).stdout;
    for row in list.as_array().expect("an array") {
        for field in ["status", "name", "serial_number", "not_before", "not_after", "certificate"] {
            assert!(wide.contains(row[field].as_str().expect("text")), "{field}: {wide}");
        }
    }
    assert!(home.run(&["audit", "list", "--output", "wide"]).stdout.contains("on leave"));
    let names = home.run(&["list", "--output", "names", "--role", "api-user"]).stdout;
    assert_eq!(names, "api-user/carol\napi-user/alice\napi-user/bob\n");
    for name in names.lines() {
        home.ok(&["show", name]);
    }
    assert_eq!(home.run(&["list", "--name", "zoe"]).stdout, "No certificates.\n");
    assert_eq!(home.run(&["list", "--name", "zoe", "--output", "names"]).stdout, "");
    assert_eq!(home.ok(&["list", "--name", "zoe"]), serde_json::json!([]));
    assert_eq!(home.run(&["audit", "list", "--after", "1000"]).stdout, "No entries.\n");
}

#[test]
fn every_other_table_has_headings_fits_80_columns_and_has_a_wide_form() {
    let home = Home::initialized();
    let password = home.write("password", "Tulip-hedge-9\n");
    fs::set_permissions(&password, Permissions::from_mode(0o600)).expect("chmod");
    let (org, user) = (format!("org-{}", "o".repeat(40)), "u".repeat(50));
    home.ok(&["org", "create", &org]);
    let password = ["--password-file", password.to_str().expect("text")];
    home.ok(&[&["user", "add", &user, "--org", &org, "--role", "read-only"], &password[..]].concat());
    home.ok(&["user", "update", &user, "--org", &org, "--certificate", "api-user/alice"]);
    for (command, headings, hidden) in [
        (&["profiles", "list"][..], "PROFILE          VALIDITY  AT MOST  KEY TYPES", "DIGEST"),
        (&["profiles", "check"], "PROFILE          VALIDITY  AT MOST  KEY TYPES", "DIGEST"),
        (&["user", "list"], "ORG ", "CERTIFICATE"),
        (&["org", "list"], "ID  ORG ", ":"),
    ] {
        let fitting = home.run(command).stdout;
        assert!(fitting.starts_with(headings), "{command:?}: {fitting}");
        assert!(fitting.lines().all(|line| line.chars().count() <= 80), "{fitting}");
        let wide = home.run(&[command, &["--output", "wide"]].concat()).stdout;
        assert_eq!(wide.lines().count(), fitting.lines().count());
        assert!(wide.contains(hidden) && !fitting.contains(hidden) && !wide.contains('\u{2026}'), "{wide}");
    }
    let wide = home.run(&["user", "list", "--output", "wide"]).stdout;
    assert!([&org, &user, "api-user/alice"].iter().all(|text| wide.contains(*text)), "{wide}");
}

#[test]
fn a_status_has_a_color_only_on_a_terminal_that_wants_it() {
    let home = lived_in();
    let on_terminal = |settings: &[(&str, &str)]| {
        let program = env!("CARGO_BIN_EXE_cluster-ca");
        let line = format!("stty cols 100; {program} --home {} list", home.path("").display());
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").env_remove("NO_COLOR");
        command.env_remove("CLUSTER_CA_HOME").stdin(Stdio::null());
        command.envs(settings.iter().copied());
        String::from_utf8(command.output().expect("script").stdout).expect("text")
    };
    let colored = on_terminal(&[]);
    assert!(colored.contains("\u{1b}[32mvalid\u{1b}[0m"), "{colored:?}");
    assert!(colored.contains("\u{1b}[31mrevoked\u{1b}[0m"), "{colored:?}");
    assert!(colored.contains("\u{1b}[33mon-hold\u{1b}[0m"), "{colored:?}");
    // A terminal of 100 columns shows more of the name.
    assert!(colored.contains(&"a".repeat(30)), "{colored:?}");
    for settings in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let plain = on_terminal(&[settings]);
        assert!(plain.contains("valid") && !plain.contains('\u{1b}'), "{settings:?}: {plain:?}");
    }
    assert!(on_terminal(&[("NO_COLOR", "")]).contains("\u{1b}[32m"), "an empty NO_COLOR is not set");
    assert!(!home.run(&["list"]).stdout.contains('\u{1b}'), "a pipe has no colors");
}

#[test]
fn audit_entries_are_chosen_by_time_actor_action_and_target() {
    let home = lived_in();
    let entries = |arguments: &[&str]| {
        let list = home.ok(&[&["audit", "list"], arguments].concat());
        let list = list.as_array().expect("an array").clone();
        list.into_iter().map(|entry| entry["seq"].as_u64().expect("a number")).collect::<Vec<_>>()
    };
    let all = home.ok(&["audit", "list"]);
    let all = all.as_array().expect("an array");
    let with = |field: &str, value: &str| {
        let found =
            all.iter().filter(|entry| entry[field].as_str().is_some_and(|text| text.starts_with(value)));
        found.map(|entry| entry["seq"].as_u64().expect("a number")).collect::<Vec<_>>()
    };
    let everything: Vec<u64> = all.iter().map(|entry| entry["seq"].as_u64().expect("a number")).collect();
    assert_eq!(entries(&["--action", "certificate.issue"]), with("action", "certificate.issue"));
    assert_eq!(entries(&["--action", "crl"]), with("action", "crl."));
    assert_eq!(entries(&["--actor", "*@*"]), everything);
    assert_eq!(entries(&["--actor", "nobody"]), [0; 0]);
    assert_eq!(entries(&["--since", "2020-01-01", "--until", "2100-01-01"]), everything);
    assert_eq!(entries(&["--since", "2100-01-01"]), [0; 0]);
    assert_eq!(entries(&["--until", "2020-01-01"]), [0; 0]);
    let first = all[0]["at"].as_str().expect("a time");
    assert_eq!(entries(&["--since", first]), everything);
    assert_eq!(entries(&["--until", first]), [0; 0]);
    assert_eq!(entries(&["--limit", "3"]), everything[everything.len() - 3..]);
    assert_eq!(entries(&["--limit", "0"]), [0; 0]);
    let serial = home.ok(&["show", "api-user/bob"])["serial_number"].as_str().expect("text").to_owned();
    let of_bob = entries(&["--target", "api-user/bob"]);
    assert_eq!(of_bob.len(), 2, "issued and held");
    assert_eq!(entries(&["--target", &serial]), of_bob);
    assert_eq!(entries(&["--target", "api-user/b*"]), of_bob);
    assert_eq!(entries(&["--target", "api-user/bob", "--action", "certificate.hold"]), of_bob[1..]);
    assert_eq!(entries(&["--target", "api-user/bob", "--limit", "1"]), of_bob[1..]);
    assert_eq!(entries(&["--after", &of_bob[0].to_string(), "--target", "api-user/bob"]), of_bob[1..]);
    for (option, value) in [("--action", "certificate.frob"), ("--since", "yesterday"), ("--limit", "few")] {
        assert_eq!(home.run(&["audit", "list", option, value]).exit, Some(2), "{option} {value}");
    }
}

#[test]
fn a_row_that_cannot_be_read_ends_a_listing_with_its_error() {
    let home = lived_in();
    let sql = rusqlite::Connection::open(home.path("ca.db")).expect("the inventory");
    sql.execute("UPDATE certificate SET name = '..' WHERE name = 'bob'", []).expect("a change");
    drop(sql);
    let told = home.run(&["--json", "list"]);
    assert_eq!(told.exit, Some(3), "{told:?}");
    let json = told.json();
    assert_eq!(json["ok"], false);
    assert_eq!(json["error"]["code"], "store.corrupt");
    assert_eq!(names(&json["result"]), ["carol", "6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e", "alice"]);
    let told = home.run(&["list"]);
    assert!(told.exit == Some(3) && told.stderr.contains("store.corrupt"), "{told:?}");
    assert_eq!(home.run(&["--quiet", "list"]).exit, Some(3));
    // Nothing was printed before the error, so that it has the usual form.
    let told = home.run(&["--json", "list", "--sort", "newest", "--status", "on-hold"]);
    assert_eq!(told.json(), serde_json::json!({ "ok": false, "error": told.json()["error"] }));
}
