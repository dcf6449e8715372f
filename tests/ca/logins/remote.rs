//! Commands that work on a server, as the user who is logged in.

use serde_json::{Value, json};

use super::harness::{PASSWORD, Server, add_user, secret_file};
use crate::home::{Finished, Home};

const NODE: &str = "6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e";

/// Runs a command on a machine with tokens, and with a home only if there is one.
fn run(machine: &Home, arguments: &[&str]) -> Finished {
    let output = machine
        .command(arguments)
        .env("CLUSTER_CA_TOKEN_FILE", machine.path("tokens/auth-token.json"))
        .env_remove("CLUSTER_CA_SERVER")
        .env_remove("CLUSTER_CA_TOKEN")
        .output();
    Finished::from(output.expect("cluster-ca runs"))
}

fn ok(machine: &Home, arguments: &[&str]) -> Value {
    run(machine, &[&["--json"], arguments].concat()).result()
}

/// A machine without a home, on which `user` is logged in.
fn logged_in(server: &Server, user: &str) -> Home {
    let machine = Home::empty();
    let password = secret_file(&machine, "password", PASSWORD);
    let ca = server.home.path("cluster.crt").display().to_string();
    let url = server.url();
    ok(&machine, &["login", user, "--server", &url, "--ca", &ca, "--password-file", &password]);
    machine
}

/// The same without the paths of a home.
fn without_paths(mut value: Value) -> Value {
    match &mut value {
        Value::Array(rows) => rows.iter_mut().for_each(|row| *row = without_paths(row.take())),
        Value::Object(fields) => {
            if fields.remove("certificate").is_some() {
                fields.remove("key");
            }
            fields.values_mut().for_each(|field| *field = without_paths(field.take()));
        }
        _ => {}
    }
    value
}

/// A server with certificates of several states.
fn lived_in() -> Server {
    let server = Server::start();
    server.home.ok(&["create-api-user", "bob"]);
    server.home.ok(&["create-api-user", "carol"]);
    server.home.ok(&["create-node", NODE, "--label", "web-1"]);
    server.home.ok(&["renew", "api-user/bob", "--reason", "new colleague"]);
    server.home.ok(&["revoke", "api-user/carol", "--reason", "superseded"]);
    server
}

#[test]
fn a_machine_without_a_home_lists_and_shows_what_the_server_has() {
    let server = lived_in();
    let machine = logged_in(&server, "alice");
    for command in [
        &["list"][..],
        &["list", "--newest", "--status", "valid"],
        &["list", "--role", "node-agent", "--label", "web*"],
        &["list", "--name", "c?rol", "--reason", "superseded"],
        &["list", "--expires-within", "400d"],
        &["list", "--issued-after", "2020-01-01", "--issued-before", "2020-01-02"],
        &["show", "api-user/bob"],
        &["show", &format!("node-agent/{NODE}")],
        &["show", "web-1"],
        &["audit", "list"],
        &["audit", "list", "--action", "certificate", "--target", "api-user/*", "--limit", "2"],
        &["audit", "list", "--user", "alice", "--since", "2020-01-01"],
        &["crl", "show"],
    ] {
        let there = ok(&machine, command);
        let mut here = without_paths(server.home.ok(command));
        if let (["crl", ..], Some(fields)) = (command, here.as_object_mut()) {
            fields.retain(|field, _| !matches!(field.as_str(), "file" | "reasons"));
        }
        assert_eq!(without_paths(there.clone()), here, "{command:?}");
        assert_eq!(there, ok(&machine, &[command, &["--server", &server.url()]].concat()), "{command:?}");
    }
    for command in [&["list"][..], &["audit", "list", "--output", "wide"], &["list", "--output", "names"]] {
        assert_eq!(run(&machine, command).stdout, server.home.run(command).stdout, "{command:?}");
    }
    let text = run(&machine, &["show", "api-user/bob"]).stdout;
    assert!(text.contains("reason       new colleague") && !text.contains("/issued/"), "{text}");
    let serial =
        server.home.ok(&["show", "api-user/carol"])["serial_number"].as_str().expect("text").to_owned();
    assert_eq!(ok(&machine, &["show", &serial])["status"], "revoked");
    assert_eq!(ok(&machine, &["list", "--limit", "2"]).as_array().map(Vec::len), Some(2));
}

#[test]
fn a_forecast_of_a_server_is_that_of_its_home() {
    let server = lived_in();
    let machine = logged_in(&server, "alice");
    for within in ["400d", "1h"] {
        let command = ["--json", "forecast", "--within", within];
        let [mut there, mut here] = [run(&machine, &command), server.home.run(&command)]
            .map(|finished| (finished.exit, finished.json()["result"].clone()));
        for value in [&mut there.1, &mut here.1] {
            let fields = value.as_object_mut().expect("an object");
            assert!(fields.remove("at").is_some() && fields.remove("until").is_some());
        }
        assert_eq!(there, here, "{within}");
    }
    assert_eq!(run(&machine, &["forecast"]).stdout, server.home.run(&["forecast"]).stdout);
}

#[test]
fn a_certificate_is_suspended_released_and_revoked_on_a_server() {
    let server = lived_in();
    let machine = logged_in(&server, "alice");
    let status = || server.home.ok(&["show", "api-user/carl"])["status"].clone();
    server.home.ok(&["create-api-user", "carl"]);
    let held = ok(&machine, &["hold", "api-user/carl", "--comment", "on leave"]);
    assert_eq!(
        (&held["reason"], &held["already"], status()),
        (&json!("certificate-hold"), &json!(false), json!("on-hold"))
    );
    assert_eq!(held["crl_number"], server.home.ok(&["crl", "show"])["crl_number"]);
    assert_eq!(ok(&machine, &["hold", "api-user/carl"])["already"], true);
    assert_eq!(
        (ok(&machine, &["release", "api-user/carl"])["already"].clone(), status()),
        (json!(false), json!("valid"))
    );
    let shown =
        run(&machine, &["revoke", "api-user/carl", "--reason", "keyCompromise", "--comment", "stolen"]);
    assert!(shown.stdout.starts_with("Revoked api-user/carl (key-compromise)\n"), "{shown:?}");
    assert!(shown.stdout.contains("  CRL          (number ") && !shown.stdout.contains("Next"), "{shown:?}");
    assert_eq!(status(), "revoked");
    let log = server.home.ok(&["audit", "list", "--user", "alice", "--action", "certificate.revoke"]);
    assert_eq!((log[0]["reason"].as_str(), log.as_array().map(Vec::len)), (Some("stolen"), Some(1)));
    let here = server.home.ok(&["revoke", "api-user/carl", "--reason", "key-compromise"]);
    let there = ok(&machine, &["revoke", "api-user/carl", "--reason", "key-compromise"]);
    for field in ["serial_number", "role", "name", "reason", "revoked_at", "already"] {
        assert_eq!(there[field], here[field], "{field}");
    }
    for (command, code, exit) in [
        (&["release", "api-user/carl"][..], "ca.not_on_hold", 1),
        (&["revoke", "api-user/nobody"], "ca.unknown_certificate", 1),
        (&["revoke", "api-user/carl", "--wait"], "usage.on_server", 2),
        (&["revoke", "--role", "api-user"], "usage.on_server", 2),
        (&["hold", "api-user/carl", "--all-generations"], "usage.on_server", 2),
        (&["revoke", "carl"], "usage.target", 2),
    ] {
        let refusal = run(&machine, &[&["--json"], command].concat()).refusal();
        assert_eq!((refusal.code.as_str(), refusal.exit), (code, exit), "{command:?}: {refusal:?}");
        assert!(
            !matches!(code, "usage.on_server" | "api.other_server") || !refusal.hint.is_empty(),
            "{command:?}: {refusal:?}"
        );
    }
    add_user(&server.home, "rob", "Root", "regular");
    let other = logged_in(&server, "rob");
    let refusal = run(&other, &["--json", "revoke", "api-user/bob"]).refusal();
    assert_eq!(refusal.exit, 1, "{refusal:?}");
    assert_eq!(server.home.ok(&["show", "api-user/bob"])["status"], "valid");
    server.home.ok(&["audit", "verify"]);
}

#[test]
fn a_certificate_is_renewed_on_a_server_and_its_files_stay_there() {
    let server = lived_in();
    let machine = logged_in(&server, "alice");
    let node = format!("node-agent/{NODE}");
    let old = server.home.ok(&["show", &node])["serial_number"].clone();
    let renewed =
        ok(&machine, &["renew", &node, "--validity", "30d", "--label", "web-7", "--reason", "moved"]);
    assert_eq!((&renewed["supersedes"], &renewed["label"]), (&old, &json!("web-7")), "{renewed}");
    let here = server.home.ok(&["show", &node]);
    for field in ["serial_number", "role", "name", "label", "spiffe_id", "not_before", "not_after"] {
        assert_eq!(renewed[field], here[field], "{field}");
    }
    assert_eq!(here["why"], "moved");
    server.home.ok(&["verify", here["certificate"].as_str().expect("a path")]);
    let text = run(&machine, &["renew", &node]).stdout;
    assert!(
        text.starts_with(&format!("Renewed {node}\n")) && text.contains("  label        web-7\n"),
        "{text}"
    );
    for (command, code, exit) in [
        (&["renew", "--due"][..], "usage.on_server", 2),
        (&["renew", &node, "--output", "new"], "usage.on_server", 2),
        (&["renew", "api-user/carol"], "ca.identity_revoked", 1),
        (&["renew", "api-user/bob", "--label", "web-1"], "ca.label_without_machine", 1),
        (&["renew", "api-user/bob", "--validity", "50y"], "policy.validity", 1),
        (&["rekey", "api-user/bob"], "home.missing", 3),
    ] {
        let refusal = run(&machine, &[&["--json"], command].concat()).refusal();
        assert_eq!((refusal.code.as_str(), refusal.exit), (code, exit), "{command:?}: {refusal:?}");
    }
    assert!(!machine.path("new").exists());
}

#[test]
fn a_listing_of_a_server_has_all_its_pages() {
    let server = Server::start();
    server.home.ok(&["create-node", "--count", "1100"]);
    let machine = logged_in(&server, "alice");
    let all = ok(&machine, &["list"]);
    assert_eq!(all.as_array().map(Vec::len), server.home.ok(&["list"]).as_array().map(Vec::len));
    let log = ok(&machine, &["audit", "list"]);
    assert_eq!(log, server.home.ok(&["audit", "list"]));
    assert!(log.as_array().is_some_and(|log| log.len() > 1100), "{}", log.as_array().map_or(0, Vec::len));
}

#[test]
fn a_server_is_never_taken_for_a_home_nor_another_server() {
    let server = lived_in();
    let machine = logged_in(&server, "alice");
    for (command, code, exit) in [
        (&["show", "api-user/nobody"][..], "ca.unknown_certificate", 1),
        (&["show", "nobody"], "usage.target", 2),
        (&["list", "--sort", "name"], "usage.on_server", 2),
        (&["list", "--server", "https://127.0.0.1:1"], "api.other_server", 1),
        (&["list", "--server", "http://127.0.0.1"], "input.server_url", 2),
        (&["doctor"], "home.missing", 3),
    ] {
        let refusal = run(&machine, &[&["--json"], command].concat()).refusal();
        assert_eq!((refusal.code.as_str(), refusal.exit), (code, exit), "{command:?}: {refusal:?}");
        assert!(
            !matches!(code, "usage.on_server" | "api.other_server") || !refusal.hint.is_empty(),
            "{command:?}: {refusal:?}"
        );
    }
    // A home goes before a login, and a server that is given before a home.
    let own = Home::initialized();
    let tokens = machine.path("tokens/auth-token.json");
    let on_own = |arguments: &[&str]| {
        let output = own
            .command(&[&["--json"], arguments].concat())
            .env("CLUSTER_CA_TOKEN_FILE", &tokens)
            .env_remove("CLUSTER_CA_SERVER")
            .env_remove("CLUSTER_CA_TOKEN")
            .output();
        Finished::from(output.expect("cluster-ca runs")).result().as_array().map(Vec::len)
    };
    assert_eq!((on_own(&["list"]), on_own(&["list", "--server", &server.url()])), (Some(0), Some(5)));
    // Without either, the home is what is missing.
    ok(&machine, &["logout"]);
    let refusal = run(&machine, &["--json", "list"]).refusal();
    assert_eq!((refusal.code.as_str(), refusal.exit), ("home.missing", 3), "{refusal:?}");
    let refusal = run(&machine, &["--json", "list", "--server", &server.url()]).refusal();
    assert_eq!((refusal.code.as_str(), refusal.exit), ("api.not_logged_in", 1), "{refusal:?}");
}

#[test]
fn a_user_reads_on_a_server_what_its_role_may_read() {
    let server = lived_in();
    add_user(&server.home, "rob", "Root", "regular");
    let machine = logged_in(&server, "rob");
    let reads = run(&machine, &["--json", "list"]);
    let by_api = server.call("GET", "/certificates", Some(&server.token("Root", "rob")), None);
    match by_api.status {
        200 => drop(reads.result()),
        _ => assert_eq!(json!(reads.refusal().code), by_api.body["code"]),
    }
}
