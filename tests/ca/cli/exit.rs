//! The exit codes are those of the README's table, and `ok` is exactly exit code 0.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::run_inside;
use crate::home::{Finished, Home, cluster_ca};

/// A cluster with alice and a node.
fn lived_in() -> Home {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    home
}

#[test]
fn a_damaged_file_ends_with_3_and_is_named() {
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    for (file, commands) in [
        ("cluster.key", &[&["create-api-user", "bob"][..], &["key", "protect"]][..]),
        (
            "cluster.crt",
            &[&["create-api-user", "bob"], &["verify", "issued/user-alice.crt"], &["crl", "show"]],
        ),
        ("cluster.crl", &[&["verify", "issued/user-alice.crt"], &["crl", "show"], &["crl", "verify"]]),
        ("ca.db", &[&["list"], &["create-api-user", "bob"]]),
        ("issued/user-alice.crt", &[&["verify", "issued/user-alice.crt"], &["bundle", "api-user/alice"]]),
        ("issued/user-alice.key", &[&["bundle", "api-user/alice"]]),
    ] {
        let home = lived_in();
        let whole = fs::read(home.path(file)).expect("a file");
        for damaged in [cut(whole), b"hello".to_vec()] {
            home.write(file, damaged);
            for command in commands {
                let passphrase = home.write("passphrase", "correct horse battery staple\n");
                super::close(&passphrase);
                let more = ["--json", "--passphrase-file", "passphrase"];
                let refusal = run_inside(&home, &[&more[..], command].concat()).refusal();
                assert_eq!(refusal.exit, 3, "{file}, {command:?}: {refusal:?}");
                let is_named = refusal.words().contains(file);
                assert!(is_named || file == "ca.db", "{file} is not named by {command:?}: {refusal:?}");
            }
        }
    }
}

#[test]
fn what_is_missing_ends_with_3_what_means_nothing_with_2_and_what_is_refused_with_1() {
    let home = lived_in();
    let nowhere = home.path("nowhere");
    let output =
        cluster_ca().args(["--json", "list", "--home"]).arg(nowhere).output().expect("cluster-ca starts");
    let refusal = Finished::from(output).refusal();
    assert_eq!((refusal.exit, refusal.code.as_str()), (3, "home.missing"), "{refusal:?}");
    home.write("twice", "alice2\nbob\n\nalice2\n");
    home.write("bad", "Eve\n");
    for (arguments, exit, code) in [
        (&["show", "nobody"][..], 2, "usage.target"),
        (&["show", "issued/user-bob.crt"], 2, "usage.target"),
        (&["bundle", "issued/user-bob.crt"], 2, "usage.target"),
        (&["show", "api-user/"], 2, "name.empty"),
        (&["show", "api-user/nobody"], 1, "ca.unknown_certificate"),
        (&["create-api-user", "--from", "twice"], 2, "input.names"),
        (&["create-api-user", "--from", "bad"], 2, "input.names"),
        (&["backup", "a.age"], 2, "usage.password"),
        (&["key", "protect"], 2, "key.passphrase_needed"),
        (&["kms", "set", "vault", "https://127.0.0.1:1", "key"], 2, "kms.credential_missing"),
        (&["inspect", "nothing"], 3, "file.missing"),
        (&["inspect", "twice"], 3, "x509.no_block"),
    ] {
        let refusal = run_inside(&home, &[&["--json"], arguments].concat()).refusal();
        assert_eq!((refusal.exit, refusal.code.as_str()), (exit, code), "{arguments:?}: {refusal:?}");
    }
    let twice = run_inside(&home, &["--json", "create-api-user", "--from", "twice"]).refusal();
    assert!(twice.message.contains("twice:4: alice2 is on line 1 already"), "{twice:?}");
}

/// `ok` is exit code 0, and there is a result or an error and never both.
fn envelope(finished: &Finished) -> Value {
    let envelope = finished.json();
    assert_eq!(envelope["ok"], finished.exit == Some(0), "{finished:?}");
    assert!(envelope["result"].is_null() || envelope["error"].is_null(), "{finished:?}");
    envelope
}

#[test]
fn ok_is_exactly_exit_code_0_though_a_result_is_told() {
    let home = lived_in();
    home.ok(&["hold", "api-user/alice"]);
    home.write(
        "hosts.yaml",
        "deliveries:\n\
         - { identity: api-user/nobody, to: \"root@127.0.0.1:/etc/cluster\" }\n\
         - { identity: api-user/alice, to: \"root@127.0.0.1:/etc/other\" }\n",
    );
    fs::remove_file(home.path("issued/user-alice.crt")).expect("removed");
    for (command, exit) in [
        (&["forecast", "--within", "20y"][..], 1),
        (&["doctor"], 1),
        (&["distribute", "--all"], 1),
        (&["distribute", "--all", "--dry-run"], 1),
        (&["explain-failure", "127.0.0.1:1"], 4),
        (&["verify", "cluster.crt"], 1),
        (&["list"], 0),
    ] {
        let finished = run_inside(&home, &[&["--json"], command].concat());
        envelope(&finished);
        assert_eq!(finished.exit, Some(exit), "{command:?}: {finished:?}");
        if exit == 0 {
            continue;
        }
        // `--quiet` is "nothing but errors", and whatever is not 0 is one.
        let quiet = run_inside(&home, &[&["--quiet"], command].concat());
        assert_eq!((quiet.exit, quiet.stdout.as_str()), (Some(exit), ""), "{command:?}: {quiet:?}");
        assert!(!quiet.stderr.is_empty(), "{command:?} fails and says nothing");
    }
    let quiet = run_inside(&home, &["--quiet", "distribute", "--all"]);
    assert_eq!(quiet.stderr.lines().filter(|line| line.starts_with("FAILED")).count(), 2, "{quiet:?}");
}

#[test]
fn a_dry_run_of_all_deliveries_shows_the_bad_and_the_good() {
    let home = lived_in();
    home.write(
        "hosts.yaml",
        "deliveries:\n\
         - { identity: api-user/nobody, to: \"root@127.0.0.1:/etc/cluster\" }\n\
         - { identity: api-user/alice, to: \"root@127.0.0.1:/etc/other\" }\n",
    );
    let finished = home.run(&["--json", "distribute", "--all", "--dry-run"]);
    let plans = envelope(&finished)["result"].clone();
    assert_eq!(plans[0]["error"]["code"], "ca.unknown_certificate", "{plans}");
    assert_eq!(plans[1]["files"].as_array().map(Vec::len), Some(4), "{plans}");
    let told = home.run(&["distribute", "--all", "--dry-run"]);
    for words in ["CANNOT deliver api-user/nobody to", "Would deliver api-user/alice to"] {
        assert!(told.stdout.contains(words), "{told:?}");
    }
}

/// Every value under `name`, however deep.
fn under<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| under(value, name, found)),
        Value::Object(fields) => {
            for (field, value) in fields {
                if field == name {
                    found.push(value);
                }
                under(value, name, found);
            }
        }
        _ => {}
    }
}

#[test]
fn a_list_has_one_type_of_number_and_one_form_of_path_whoever_tells_of_it() {
    let home = Home::empty();
    let mut tellers = 0;
    for command in [
        &["initialize", "prod"][..],
        &["create-api-user", "alice"],
        &["crl", "publish"],
        &["crl", "show"],
        &["crl", "verify"],
        &["crl", "verify", "cluster.crl"],
        &["hold", "api-user/alice"],
        &["release", "api-user/alice"],
        &["revoke", "api-user/alice"],
        &["inspect", "cluster.crl"],
        &["backup", "a.age", "--password-file", "password"],
        &["backup", "a.age", "--verify", "--password-file", "password"],
    ] {
        super::close(&home.write("password", "correct horse battery staple\n"));
        let told = run_inside(&home, &[&["--json"], command].concat()).result();
        let mut numbers = Vec::new();
        under(&told, "crl_number", &mut numbers);
        tellers += usize::from(!numbers.is_empty());
        assert!(numbers.iter().all(|number| number.is_string()), "{command:?}: {told}");
        for name in ["crl", "certificate", "key", "database"] {
            let mut paths = Vec::new();
            under(&told, name, &mut paths);
            let is_path = |path: &&&Value| {
                path.as_str().is_some_and(|path| path.contains("cluster") || path.contains('/'))
            };
            for path in paths.iter().filter(is_path) {
                assert!(path.as_str().is_some_and(|path| path.starts_with('/')), "{command:?}: {told}");
            }
        }
    }
    assert_eq!(tellers, 10, "one of them has no number any more");
}

#[test]
fn the_words_for_how_a_certificate_stands_are_the_same_everywhere() {
    let home = lived_in();
    home.ok(&["renew", "api-user/alice"]);
    home.ok(&["create-api-user", "bob"]);
    home.ok(&["hold", "api-user/bob"]);
    home.ok(&["create-api-user", "carol"]);
    home.ok(&["revoke", "api-user/carol"]);
    home.ok(&["create-node"]);
    let all = home.ok(&["list"]);
    let all = all.as_array().expect("an array");
    let table = home.run(&["list"]).stdout;
    for (word, count) in
        [("reserved", 0), ("valid", 2), ("renewed", 1), ("expired", 0), ("on-hold", 1), ("revoked", 1)]
    {
        let rows = home.ok(&["list", "--status", word]);
        let rows = rows.as_array().expect("an array");
        assert_eq!(rows.len(), count, "{word}: {rows:?}");
        assert!(rows.iter().all(|row| row["status"] == word), "{word}: {rows:?}");
        assert_eq!(all.iter().filter(|row| row["status"] == word).count(), count, "{word}: {all:?}");
        assert_eq!(table.lines().filter(|line| line.split_whitespace().next() == Some(word)).count(), count);
        for row in rows {
            let serial_number = row["serial_number"].as_str().expect("text");
            assert_eq!(home.ok(&["show", serial_number])["status"], word);
        }
    }
}

#[test]
fn a_full_or_closed_stderr_changes_no_exit_code() {
    let home = lived_in();
    home.write("gateway.yaml", "unknown: 1\n");
    let ca = env!("CARGO_BIN_EXE_cluster-ca");
    let gateway = env!("CARGO_BIN_EXE_cluster-gateway");
    for (program, arguments, exit) in [
        (ca, &["--verbose", "create-api-user", "bob"][..], 0),
        (ca, &["show", "api-user/nobody"], 1),
        (ca, &["frobnicate"], 2),
        (gateway, &["check", "--config", "gateway.yaml"], 1),
        (gateway, &["frobnicate"], 2),
        (gateway, &["run", "--config", "nope"], 3),
    ] {
        for redirection in ["2>/dev/full", "2>&-"] {
            let script = format!("exec \"$0\" \"$@\" {redirection}");
            let mut command = Command::new("sh");
            command.args(["-c", &script, program]).args(arguments).current_dir(home.path(""));
            let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().expect("sh starts");
            let again = exit == 0 && redirection == "2>&-";
            let expected = if again { 1 } else { exit };
            assert_eq!(status.code(), Some(expected), "{program} {arguments:?} {redirection}");
        }
    }
}

#[test]
fn a_message_that_cannot_be_written_takes_no_result_with_it() {
    let home = lived_in();
    home.write("names", "u1\nu2\n");
    let full = || Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full"));
    let closed = || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        Stdio::from(writer)
    };
    for (arguments, exit) in [
        (&["--verbose", "--json", "renew", "api-user/alice"][..], 0),
        (&["--json", "create-api-user", "--from", "names"], 0),
        (&["--json", "show", "api-user/nobody"], 1),
        (&["show", "api-user/nobody"], 1),
        (&["show"], 2),
        (&["--no-such-option"], 2),
    ] {
        for stderr in [full(), closed()] {
            let home = home.duplicate();
            let mut command = home.command(arguments);
            let output = command.current_dir(home.path("")).stderr(stderr).output().expect("it starts");
            assert_eq!(output.status.code(), Some(exit), "{arguments:?}");
            let told = String::from_utf8(output.stdout).expect("text");
            let is_json = arguments.contains(&"--json");
            assert!(!is_json || told.contains(&format!("\"ok\":{}", exit == 0)), "{arguments:?}: {told}");
        }
    }
}

#[test]
fn a_report_that_stdout_does_not_take_is_on_stderr() {
    let home = lived_in();
    for arguments in [
        &["create-api-user", "bob"][..],
        &["--json", "create-api-user", "carol"],
        &["list"],
        &["--json", "list"],
        &["--json", "show", "api-user/nobody"],
    ] {
        let full = Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full"));
        let output = home.command(arguments).stdout(full).output().expect("it starts");
        let told = String::from_utf8(output.stderr).expect("text");
        if arguments.contains(&"show") {
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
            assert!(told.contains("error: ") && told.contains("[ca.unknown_certificate]"), "{told}");
            continue;
        }
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {told}");
        assert!(told.contains("error: cannot write to stdout") && told.contains("hint: "), "{told}");
        if arguments.contains(&"create-api-user") {
            let name = arguments.last().expect("a name");
            assert!(told.contains(&format!("issued/user-{name}.crt")), "{told}");
            assert!(told.contains("the command was carried out; do not repeat it"), "{told}");
            home.ok(&["show", &format!("api-user/{name}")]);
        }
    }
}

#[test]
fn initialize_reports_the_directory_that_it_closes_and_leaves_none_behind() {
    let open =
        |home: &Home| fs::set_permissions(home.path(""), Permissions::from_mode(0o755)).expect("a mode");
    let mode = |home: &Home| fs::metadata(home.path("")).expect("a directory").permissions().mode() & 0o777;
    let home = Home::empty();
    open(&home);
    let told = home.run(&["initialize", "prod"]);
    assert!(told.stderr.contains("was 0755 and is 0700 now"), "{told:?}");
    assert_eq!(mode(&home), 0o700);

    let signer = "pkcs11:token=prod;object=root?module-path=/nonexistent/module.so";
    let (outer, closed) = (Home::empty(), Home::empty());
    open(&closed);
    let new = Home::at(outer.path("new"));
    fs::remove_dir(new.path("")).expect("removed");
    for home in [&new, &closed] {
        let pin = outer.write("pin", "1234\n");
        fs::set_permissions(&pin, Permissions::from_mode(0o600)).expect("a mode");
        let pin = pin.to_str().expect("text");
        let refused = home.run(&["initialize", "prod", "--signer", signer, "--pin-file", pin]);
        assert_ne!(refused.exit, Some(0), "{refused:?}");
    }
    assert!(!new.path("").exists(), "the directory stays behind");
    assert_eq!(mode(&closed), 0o755, "the mode is as it was");
}

#[test]
fn a_dash_never_becomes_a_file_of_that_name() {
    let home = lived_in();
    let passphrase = home.write("password", "correct horse battery staple\n");
    super::close(&passphrase);
    for arguments in [
        &["bundle", "api-user/alice", "--output", "-"][..],
        &["backup", "-", "--password-file", "password"],
        &["crl", "publish", "--der", "-"],
        &["crl", "show", "--der", "-"],
        &["create-api-user", "bob", "--output", "-"],
        &["renew", "api-user/alice", "--output", "-"],
        &["kms", "export", "issued/user-alice.key", "-"],
    ] {
        let refusal = run_inside(&home, &[&["--json"], arguments].concat()).refusal();
        assert_eq!(
            (refusal.exit, refusal.code.as_str()),
            (2, "usage.arguments"),
            "{arguments:?}: {refusal:?}"
        );
        assert!(refusal.message.contains("standard output"), "{refusal:?}");
        assert!(!home.path("-").exists(), "{arguments:?}");
    }
}
