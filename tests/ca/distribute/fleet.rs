//! Concurrent deliveries listed in `hosts.yaml`.

use std::fs;

use serde_json::json;

use super::sshd::Machine;
use super::with_alice;

#[test]
fn a_failed_machine_does_not_stop_the_other_deliveries() {
    let (machine, home) = (Machine::start(), with_alice());
    for user in ["bob", "carol", "dave"] {
        home.ok(&["create-api-user", user]);
    }
    home.ok(&["revoke", "api-user/dave"]);
    let reload = |user: &str| format!("touch {}", machine.path(format!("reloaded-{user}")).display());
    let entry = |user: &str, to: String| {
        format!("  - identity: api-user/{user}\n    to: {to}\n    as: {user}\n    reload: {}\n", reload(user))
    };
    let hosts = format!(
        "deliveries:\n{}{}{}{}{}",
        entry("alice", machine.destination("node1", "cluster")),
        entry("alice", machine.destination("node1", "second")),
        entry("bob", "down:/etc/cluster".to_owned()),
        entry("carol", machine.destination("node1", "cluster")),
        entry("dave", machine.destination("node1", "cluster")),
    );
    home.write("hosts.yaml", hosts);
    let finished = machine.run(&home, &["distribute", "--all", "--forget-key", "--parallel", "3"]);
    assert_eq!(finished.exit, Some(4), "{finished:?}");
    let reports = finished.json()["result"].as_array().expect("reports").clone();
    let codes: Vec<_> =
        reports.iter().map(|report| report["error"]["code"].as_str().unwrap_or("delivered")).collect();
    assert_eq!(codes, ["delivered", "delivered", "network.unreachable", "delivered", "ca.not_valid"]);
    assert!(reports[2]["error"]["message"].as_str().expect("text").starts_with("down:/etc/cluster: "));

    let names: Vec<_> = machine.files("cluster").into_keys().collect();
    assert_eq!(names, ["alice.crt", "alice.key", "carol.crt", "carol.key", "cluster.crl", "cluster.crt"]);
    for (user, reloaded) in [("alice", true), ("bob", false), ("carol", true), ("dave", false)] {
        assert_eq!(machine.path(format!("reloaded-{user}")).exists(), reloaded, "{user}");
        // The local key stays unless it arrived everywhere.
        assert_eq!(home.path(format!("issued/user-{user}.key")).exists(), !reloaded, "{user}");
    }
    home.ok(&["audit", "verify"]);
}

#[test]
fn the_summary_names_the_failed_machines() {
    let (machine, home) = (Machine::start(), with_alice());
    let to = machine.destination("node1", "cluster");
    home.write("hosts.yaml", format!("deliveries:\n  - {{identity: api-user/alice, to: '{to}'}}\n  - {{identity: api-user/alice, to: 'down:/x/y'}}\n"));
    let path = format!("{}:{}", machine.path("bin").display(), std::env::var("PATH").expect("PATH"));
    let output =
        home.command(&["distribute", "--all"]).env("PATH", path).output().expect("cluster-ca starts");
    let finished = crate::home::Finished::from(output);
    assert_eq!(finished.exit, Some(4));
    assert!(finished.stdout.contains(&format!("delivered  api-user/alice  {to}\n")), "{}", finished.stdout);
    assert!(
        finished
            .stdout
            .contains("FAILED     api-user/alice  down:/x/y: the connection to the machine failed")
    );
    assert!(finished.stdout.ends_with("\n1 delivered, 1 failed\n"), "{}", finished.stdout);
}

#[test]
fn one_identity_is_delivered_as_listed() {
    let (machine, home) = (Machine::start(), with_alice());
    let to = machine.destination("node1", "cluster");
    home.write("hosts.yaml", format!("deliveries:\n  - {{identity: api-user/alice, to: '{to}'}}\n  - {{identity: api-user/bob, to: 'down:/x/y'}}\n"));
    let reports = machine.run(&home, &["distribute", "api-user/alice"]).result();
    assert_eq!(reports.as_array().map(Vec::len), Some(1));
    assert_eq!(reports[0]["destination"], json!(to));
    assert!(fs::exists(machine.path("cluster/user.key")).expect("a look"));
    let refusal = machine.run(&home, &["distribute", "api-user/carol"]).refusal();
    assert_eq!((refusal.code.as_str(), refusal.exit), ("usage.destination", 2));
}

#[test]
fn an_invalid_list_delivers_nothing() {
    let (machine, home) = (Machine::start(), with_alice());
    let refusal = machine.run(&home, &["distribute", "--all"]).refusal();
    assert_eq!((refusal.code.as_str(), refusal.exit), ("file.missing", 3));
    let to = machine.destination("node1", "cluster");
    home.write("hosts.yaml", format!("deliveries:\n  - identity: api-user/alice\n    to: {to}\n  - identity: api-user/bob\n    too: {to}\n"));
    let refusal = machine.run(&home, &["distribute", "--all"]).refusal();
    assert_eq!((refusal.code.as_str(), refusal.exit), ("input.hosts", 1));
    assert!(refusal.message.contains("hosts.yaml:5: "), "{refusal:?}");
    assert!(!machine.path("cluster").exists());
}
