//! `doctor` names everything that is wrong with a home, and mends what is safe to mend.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::home::{Finished, Home};

/// What the doctor says of a home.
fn examine(home: &Home, arguments: &[&str]) -> (Finished, Value) {
    let arguments: Vec<&str> = ["--json", "doctor"].iter().chain(arguments).copied().collect();
    let finished = home.run(&arguments);
    let result = finished.json()["result"].clone();
    (finished, result)
}

/// The codes of what is found, notes aside.
fn codes(home: &Home, arguments: &[&str]) -> Vec<String> {
    let (finished, result) = examine(home, arguments);
    let findings = result["findings"].as_array().unwrap_or_else(|| panic!("no findings: {finished:?}"));
    let mut codes: Vec<String> = findings
        .iter()
        .filter(|finding| finding["severity"] != "note")
        .map(|finding| finding["code"].as_str().expect("a code").to_owned())
        .collect();
    codes.sort();
    codes.dedup();
    assert_eq!(finished.exit, Some(i32::from(!codes.is_empty())), "{finished:?}");
    assert_eq!(result["healthy"], Value::Bool(codes.is_empty()), "{finished:?}");
    for finding in findings.iter().filter(|finding| finding["severity"] != "note") {
        assert!(finding["remedy"].is_string(), "no remedy for {finding}");
    }
    codes
}

fn chmod(home: &Home, name: &str, mode: u32) {
    fs::set_permissions(home.path(name), Permissions::from_mode(mode)).expect("a mode");
}

/// A home with a control service, a user and a revoked user.
fn lived_in() -> Home {
    let home = Home::initialized();
    home.ok(&["create-control", "api.example.com"]);
    home.ok(&["create-api-user", "alice"]);
    home.ok(&["create-api-user", "bob"]);
    home.ok(&["revoke", "api-user/bob"]);
    home
}

#[test]
fn a_home_in_order_is_healthy() {
    let home = lived_in();
    let (finished, result) = examine(&home, &[]);
    assert_eq!(result["findings"], Value::Array(Vec::new()), "{finished:?}");
    assert_eq!(result["certificates"], 2);
    assert_eq!(codes(&home, &["--fix"]), [""; 0]);
}

#[test]
fn looking_changes_nothing() {
    let home = lived_in();
    chmod(&home, "cluster.key", 0o644);
    home.write(".cluster.crl.new.tmp", "half a list");
    let before = home.contents();
    assert_eq!(codes(&home, &[]), ["doctor.leftover", "file.exposed"]);
    assert!(home.contents() == before, "doctor without --fix changed something");
}

#[test]
fn what_is_open_to_others_is_closed() {
    let home = lived_in();
    for (name, mode) in [
        ("", 0o755),
        ("cluster.key", 0o640),
        ("ca.db", 0o666),
        ("cluster.crl", 0o666),
        ("issued", 0o750),
        ("issued/user-alice.key", 0o604),
    ] {
        chmod(&home, name, mode);
    }
    let (_, result) = examine(&home, &[]);
    assert_eq!(result["findings"].as_array().expect("findings").len(), 6, "{result}");
    assert_eq!(codes(&home, &["--fix"]), [""; 0]);
    for (name, mode) in
        [("", 0o700), ("cluster.key", 0o600), ("cluster.crl", 0o644), ("issued/user-alice.key", 0o600)]
    {
        let found = fs::metadata(home.path(name)).expect("a file").permissions().mode() & 0o7777;
        assert_eq!(found, mode, "{name}");
    }
}

#[test]
fn files_that_disagree_are_named() {
    let home = lived_in();
    let issued = |name: &str| home.path("issued").join(name);
    fs::copy(issued("control-api.example.com.key"), issued("user-alice.key")).expect("a copy");
    fs::remove_file(issued("user-bob.crt")).expect("removed");
    assert_eq!(codes(&home, &["--fix"]), ["doctor.key_without_certificate", "doctor.pair_mismatch"]);
    assert!(issued("user-bob.key").exists(), "the doctor removes no keys");
}

#[test]
fn a_certificate_that_the_inventory_does_not_know_is_an_alarm() {
    let home = lived_in();
    let twin = home.duplicate();
    twin.ok(&["create-api-user", "mallory", "--output", home.path("issued").to_str().expect("text")]);
    assert_eq!(codes(&home, &[]), ["doctor.unknown_certificate"]);
}

#[test]
fn a_key_or_bundle_of_another_cluster_is_named() {
    let other = Home::initialized();
    let home = lived_in();
    fs::copy(other.path("cluster.key"), home.path("cluster.key")).expect("a copy");
    assert_eq!(codes(&home, &["--fix"]), ["home.key_mismatch"]);

    let home = lived_in();
    fs::copy(other.path("cluster.crt"), home.path("cluster.crt")).expect("a copy");
    let found = codes(&home, &[]);
    assert!(found.contains(&"doctor.bundle_lacks_root".to_owned()), "{found:?}");
    assert!(found.contains(&"chain.unknown_issuer".to_owned()), "{found:?}");
}

#[test]
fn a_list_that_is_not_the_recorded_one_is_named() {
    let home = lived_in();
    let older = fs::read(home.path("cluster.crl")).expect("a list");
    home.ok(&["revoke", "api-user/alice"]);
    home.write("cluster.crl", older);
    assert_eq!(codes(&home, &["--fix"]), ["doctor.crl_differs", "doctor.crl_incomplete"]);
    home.write("cluster.crl", "nothing");
    assert_eq!(codes(&home, &[]), ["x509.no_block"]);
    fs::remove_file(home.path("cluster.crl")).expect("removed");
    assert!(codes(&home, &[]).contains(&"file.missing".to_owned()));
}

#[test]
fn a_list_about_to_end_and_one_past_its_end_are_told() {
    let home = lived_in();
    let at = |days| (crate::now() + time::Duration::days(days)).date().to_string();
    assert_eq!(codes(&home, &["--at", &at(80)]), [""; 0]);
    // The users' certificates have expired by then.
    assert_eq!(codes(&home, &["--at", &at(140)]), ["doctor.expired"]);
    assert_eq!(codes(&home, &["--at", &at(160)]), ["doctor.crl_ends_soon", "doctor.expired"]);
    assert_eq!(codes(&home, &["--at", &at(200)]), ["doctor.expired", "revocation.crl_expired"]);
}

#[test]
fn a_clock_behind_the_last_entry_is_told() {
    let home = lived_in();
    assert!(codes(&home, &["--at", "2020-01-01"]).contains(&"doctor.clock_behind".to_owned()));
}

#[test]
fn an_inventory_that_was_changed_by_hand_is_told() {
    let home = lived_in();
    let sql = rusqlite::Connection::open(home.path("ca.db")).expect("the inventory");
    sql.execute(
        "UPDATE certificate SET revoked_at = NULL, revocation_reason = NULL WHERE revoked_at > 0",
        [],
    )
    .expect("a change");
    drop(sql);
    assert_eq!(codes(&home, &[]), ["ca.revocation_lost", "store.inconsistent"]);
    home.write("ca.db", "not a database");
    assert_eq!(codes(&home, &[]), ["store.foreign"]);
}

#[test]
fn what_a_crash_left_is_found_and_finished() {
    let home = lived_in();
    let sql = rusqlite::Connection::open(home.path("ca.db")).expect("the inventory");
    sql.execute("UPDATE certificate SET placed = 0 WHERE name = 'alice'", []).expect("a change");
    let serial: String =
        home.ok(&["show", "api-user/alice"])["serial_number"].as_str().expect("text").to_owned();
    drop(sql);
    let issued = home.path("issued");
    for end in ["crt", "key"] {
        let name = format!("user-alice.{end}");
        fs::rename(issued.join(&name), issued.join(format!(".{name}.{serial}.tmp"))).expect("renamed");
    }
    assert_eq!(codes(&home, &[]), ["doctor.unplaced"]);
    assert_eq!(codes(&home, &["--fix"]), [""; 0]);
    assert!(issued.join("user-alice.key").exists() && issued.join("user-alice.crt").exists());
}

#[test]
fn a_leftover_that_may_be_the_only_copy_of_a_key_is_never_removed() {
    let home = lived_in();
    let serial: String =
        home.ok(&["show", "api-user/alice"])["serial_number"].as_str().expect("text").to_owned();
    let kept = home.path("issued").join(format!(".user-alice.key.{serial}.tmp"));
    fs::rename(home.path("issued/user-alice.key"), &kept).expect("renamed");
    let swept = home.path("issued").join(".user-carol.key.00112233445566778899aabbccddeeff.tmp");
    fs::write(&swept, "").expect("a leftover");
    assert_eq!(codes(&home, &["--fix"]), ["doctor.leftover_of_issued"]);
    assert!(kept.exists() && !swept.exists());
}

#[test]
fn handed_over_certificates_and_other_profiles_are_notes() {
    let home = lived_in();
    fs::remove_file(home.path("issued/user-alice.crt")).expect("removed");
    fs::remove_file(home.path("issued/user-alice.key")).expect("removed");
    let (finished, result) = examine(&home, &[]);
    assert_eq!(finished.exit, Some(0), "{finished:?}");
    assert_eq!(result["findings"][0]["code"], "doctor.file_missing");
    assert_eq!(result["findings"][1]["code"], "doctor.key_missing");
}

#[test]
fn what_is_to_be_delivered_is_looked_at() {
    let home = lived_in();
    home.write("hosts.yaml", "deliveries:\n  - { identity: api-user/alice, to: \"root@a:/etc/cluster\" }\n");
    assert_eq!(codes(&home, &[]), [""; 0]);
    home.write("hosts.yaml", "deliveries:\n  - { identity: api-user/nobody, to: \"root@a:/etc/cluster\" }\n");
    let (_, result) = examine(&home, &[]);
    assert_eq!(result["findings"][0]["code"], "ca.unknown_certificate", "{result}");
    assert_eq!(result["findings"][0]["severity"], "warning", "{result}");
    home.write("hosts.yaml", "deliveries:\n  - { identity: api-user/alice }\n");
    assert_eq!(codes(&home, &[]), ["input.hosts"]);
}

#[test]
fn without_a_cluster_there_is_nothing_to_examine() {
    assert_eq!(Home::empty().refused(&["doctor"]).code, "home.missing");
}

#[test]
fn a_list_that_is_missing_or_damaged_is_made_anew_and_forecast_until_then() {
    let home = lived_in();
    let whole = fs::read_to_string(home.path("cluster.crl")).expect("a list");
    let cut = whole[..whole.len() / 2].to_owned();
    for damaged in [Some(cut.as_str()), Some(""), None] {
        match damaged {
            Some(text) => drop(home.write("cluster.crl", text)),
            None => fs::remove_file(home.path("cluster.crl")).expect("removed"),
        }
        let (finished, result) = examine(&home, &[]);
        let remedy = result["findings"][0]["remedy"].as_str().unwrap_or_default();
        assert!(remedy.contains("doctor --fix") && !remedy.contains("backup"), "{damaged:?}: {finished:?}");
        let forecast = home.run(&["--json", "forecast"]);
        assert_eq!(forecast.exit, Some(1), "{damaged:?}: {forecast:?}");
        assert!(forecast.stdout.contains("cluster.crl is unusable"), "{damaged:?}: {forecast:?}");
        assert_eq!(codes(&home, &["--fix"]), [""; 0], "{damaged:?}");
        home.ok(&["crl", "verify"]);
        assert_eq!(home.run(&["forecast"]).exit, Some(0), "{damaged:?}");
    }
}

/// During a change of roots, the home trusts another root too, whose list its own CA writes.
#[test]
fn a_list_that_another_root_signs_is_kept_and_is_not_the_doctors_to_mend() {
    let (home, other) = (lived_in(), Home::initialized());
    let text = |home: &Home, name: &str| fs::read_to_string(home.path(name)).expect("a file");
    home.write("cluster.crt", text(&home, "cluster.crt") + &text(&other, "cluster.crt"));
    for arguments in [&[][..], &["--fix"]] {
        assert_eq!(codes(&home, arguments), ["crl.missing_for_issuer"], "{arguments:?}");
        let (_, result) = examine(&home, arguments);
        let remedy = result["findings"][0]["remedy"].as_str().expect("a remedy");
        assert!(remedy.contains("append its CRL") && !remedy.contains("--fix"), "{remedy}");
        assert_eq!(result["findings"][0].get("repair"), None, "{result}");
    }
    let theirs = text(&other, "cluster.crl");
    home.write("cluster.crl", text(&home, "cluster.crl") + &theirs);
    assert_eq!(codes(&home, &[]), [""; 0]);
    home.ok(&["crl", "publish"]);
    home.ok(&["revoke", "api-user/alice"]);
    assert_eq!(codes(&home, &["--fix"]), [""; 0]);
    home.ok(&["crl", "show"]);
    home.ok(&["crl", "verify", home.path("cluster.crl").to_str().expect("text")]);
    home.ok(&["verify", home.path("issued/control-api.example.com.crt").to_str().expect("text")]);
    assert!(text(&home, "cluster.crl").ends_with(&theirs), "the other list is as it was");
}

/// What `--fix` leaves is not to be mended by `--fix`.
#[test]
fn a_remedy_after_the_fix_is_another_one() {
    let home = lived_in();
    // A directory in the place of the list is put there on purpose: it is not replaced.
    fs::remove_file(home.path("cluster.crl")).expect("a list");
    fs::create_dir(home.path("cluster.crl")).expect("a directory");
    let (_, result) = examine(&home, &["--fix"]);
    let findings = result["findings"].as_array().expect("findings");
    assert!(!findings.is_empty(), "{result}");
    for finding in findings.iter().filter(|finding| finding["severity"] != "note") {
        assert!(!finding["remedy"].as_str().expect("a remedy").contains("doctor --fix"), "{finding}");
    }
}
