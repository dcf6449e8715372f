//! Certificates whose hosts change: one identity stays one line of certificates.

use serde_json::{Value, json};

use crate::home::Home;

const API: &str = "control-service/api.example.com";

/// DNS names and addresses of the identity's newest certificate.
fn hosts(home: &Home, identity: &str) -> Vec<String> {
    let shown = home.ok(&["show", identity]);
    let names = shown["contents"]["subject_alt_names"].as_array().expect("names").clone();
    let host = |name: &Value| {
        let text = name.as_str().expect("text");
        let (kind, host) = text.split_once(':').expect("a kind");
        (kind != "URI").then(|| host.to_owned())
    };
    names.iter().filter_map(host).collect()
}

#[test]
fn renew_and_rekey_issue_for_other_hosts_and_keep_the_own_one() {
    let home = Home::initialized();
    home.ok(&["create-control", "api.example.com", "--san", "10.0.0.1"]);
    let first = ["control-service", "api.example.com"];
    assert_eq!(hosts(&home, API), [&first[..], &["10.0.0.1"]].concat());
    let renewed = home.ok(&["renew", API, "--san", "10.0.0.9", "--san", "api2.example.com"]);
    assert_eq!(
        renewed["hosts"],
        json!(["control-service", "api.example.com", "api2.example.com", "10.0.0.9"])
    );
    // Without --san, the hosts stay.
    home.ok(&["rekey", API]);
    assert_eq!(hosts(&home, API), [&first[..], &["api2.example.com", "10.0.0.9"]].concat());
    home.ok(&["rekey", API, "--san", "api.example.com", "--san", "10.0.0.9"]);
    assert_eq!(hosts(&home, API), [&first[..], &["10.0.0.9"]].concat());
    home.ok(&["renew", API, "--no-san"]);
    assert_eq!(hosts(&home, API), first);
    let lineage = home.ok(&["show", API])["lineage"].as_array().expect("a line").len();
    assert_eq!(lineage, 5, "one identity, one line of certificates");
    home.ok(&["doctor"]);
}

#[test]
fn a_node_that_begins_or_stops_to_serve_gets_the_purposes_of_it() {
    let home = Home::initialized();
    let node = home.ok(&["create-node"])["name"].as_str().expect("a name").to_owned();
    let node = format!("node-agent/{node}");
    let purposes = || home.ok(&["show", &node])["contents"]["extended_key_usage"].clone();
    assert_eq!(purposes(), json!(["client_auth"]));
    home.ok(&["renew", &node, "--san", "10.0.0.7"]);
    assert_eq!(
        (purposes(), hosts(&home, &node)),
        (json!(["server_auth", "client_auth"]), vec!["10.0.0.7".to_owned()])
    );
    home.ok(&["rekey", &node, "--no-san"]);
    assert_eq!((purposes(), hosts(&home, &node)), (json!(["client_auth"]), Vec::new()));
}

#[test]
fn hosts_that_a_certificate_may_not_have_are_refused_before_anything_is_made() {
    let home = Home::initialized();
    home.ok(&["create-control", "api.example.com"]);
    home.ok(&["create-api-user", "alice"]);
    let node = home.ok(&["create-node"])["name"].as_str().expect("a name").to_owned();
    let before = home.state();
    for (arguments, code, exit) in [
        (&["renew", "api-user/alice", "--san", "10.0.0.1"][..], "policy.host_not_allowed", 1),
        (&["renew", &format!("node-agent/{node}"), "--san", "control-service"], "policy.host_reserved", 1),
        (&["renew", API, "--san", "*.example.com"], "usage.arguments", 2),
        (&["renew", API, "--san", "a.example.com", "--no-san"], "usage.arguments", 2),
        (&["renew", "--due", "--san", "a.example.com"], "usage.arguments", 2),
        (&["rekey", "--expires-within", "30d", "--no-san"], "usage.arguments", 2),
        (&["renew", "--due", "--label", "web-1"], "usage.arguments", 2),
    ] {
        let refusal = home.refused(arguments);
        assert_eq!((refusal.code.as_str(), refusal.exit), (code, exit), "{arguments:?}: {refusal:?}");
    }
    let preview = home.run(&["rekey", API, "--san", "10.0.0.9", "--dry-run"]);
    assert!(
        preview.stdout.contains("10.0.0.9") && preview.stdout.contains("nothing was written"),
        "{preview:?}"
    );
    assert!(home.state() == before, "something was changed");
}

#[test]
fn create_for_a_valid_identity_says_which_command_replaces_it() {
    let home = Home::initialized();
    for (create, name, identity) in
        [("create-control", "api.example.com", API), ("create-api-user", "alice", "api-user/alice")]
    {
        home.ok(&[create, name]);
        let refusal = home.refused(&[create, name]);
        assert_eq!(refusal.code, "file.exists", "{refusal:?}");
        for command in [format!("cluster-ca renew {identity}"), format!("cluster-ca rekey {identity}")] {
            assert!(refusal.hint.contains(&command), "{refusal:?}");
        }
        // Beside it, a second one is issued, and the way to tell them apart is told.
        let output = home.path(format!("second-{name}"));
        let beside = home.run(&[create, name, "--output", output.to_str().expect("text")]);
        assert_eq!(beside.exit, Some(0), "{beside:?}");
        assert!(
            beside.stderr.contains(&format!("note: {identity} has two valid certificates now")),
            "{beside:?}"
        );
    }
}
