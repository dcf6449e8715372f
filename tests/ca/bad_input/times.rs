//! Durations and times at the edge of what can be written: refused or understood, never a crash.

use crate::home::Home;

/// The longest duration and the last time that are read at all, and some beyond.
const DURATIONS: [&str; 4] = ["8000y", "9999y", "10000y", "99999999999999y"];
const TIMES: [&str; 5] = [
    "9999-12-31",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-12:00",
    "0000-01-01",
    "0000-01-01T00:00:00+12:00",
];

#[test]
fn no_duration_or_time_ends_a_command_in_a_crash() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    let certificate = home.path("issued/user-alice.crt");
    let certificate = certificate.to_str().expect("text");
    let other = Home::empty();
    let other_path = other.path("");
    let other_path = other_path.to_str().expect("text");
    let before = home.contents();
    let run = |arguments: &[&str]| {
        let finished = home.run(&[&["--json"], arguments].concat());
        assert!(matches!(finished.exit, Some(0..=4)), "{arguments:?}: {finished:?}");
        assert!(!finished.stderr.contains("panicked"), "{arguments:?}: {finished:?}");
        finished.json();
        finished
    };
    for duration in DURATIONS {
        for arguments in [
            &["forecast", "--within", duration][..],
            &["list", "--expires-within", duration],
            &["renew", "--dry-run", "--expires-within", duration],
            &["gateways", "--gateway", "127.0.0.1:1", "--operator", "api-user/alice", "--timeout", duration],
        ] {
            run(arguments);
        }
        for arguments in [
            &["crl", "publish", "--next-update", duration][..],
            &["create-api-user", "bob", "--validity", duration],
            &["renew", "api-user/alice", "--validity", duration],
            &["--home", other_path, "initialize", "other", "--validity", duration],
        ] {
            assert_ne!(run(arguments).exit, Some(0), "{arguments:?}");
        }
    }
    for time in TIMES {
        for arguments in [
            &["forecast", "--at", time][..],
            &["forecast", "--at", time, "--within", "9999y"],
            &["doctor", "--at", time],
            &["crl", "verify", "--at", time],
            &["verify", certificate, "--at", time],
            &["explain-failure", "127.0.0.1:1", "--at", time],
            &["list", "--issued-after", time],
            &["list", "--issued-before", time],
            &["revoke", "--issued-before", time, "--dry-run"],
            &["revoke", "--issued-after", time, "--dry-run"],
        ] {
            run(arguments);
        }
    }
    let refused = home.refused(&["forecast", "--at", "9999-12-31T23:59:59-12:00"]);
    assert_eq!(refused.exit, 2, "{refused:?}");
    // Refused before anything was set aside.
    assert!(home.contents().keys().eq(before.keys()), "something was left behind");
    assert_eq!(home.ok(&["crl", "show"])["crl_number"], "1");
    assert_eq!(home.ok(&["list", "--status", "reserved"]), serde_json::json!([]));
    assert!(other.contents().is_empty());
}
