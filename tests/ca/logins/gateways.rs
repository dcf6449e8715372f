//! Tokens at gateways: real servers and real gateways, which share nothing but files and pushes.

use std::fs;
use std::process::Command;
use std::time::Instant;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::{Value, json};

use super::harness::{PASSWORD, Server, add_user, home_with_admin, secret_file};
use crate::home::Home;
use crate::live::Live;

/// A server on a home that has a gateway's certificate and an operator.
fn server() -> Server {
    let home = home_with_admin();
    home.ok(&["create-control", "127.0.0.1"]);
    home.ok(&["create-api-user", "admin"]);
    add_user(&home, "bob", "Root", "regular");
    Server::on(home, &[])
}

/// Status of the gateway for a request with a token; 502 if it is forwarded, since no service is behind.
fn asked(home: &Home, gateway: &Live, token: &str) -> u16 {
    let output = Command::new("curl")
        .args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", "60"])
        .arg("--cacert")
        .arg(home.path("cluster.crt"))
        .args(["--header", &format!("authorization: Bearer {token}")])
        .arg(format!("https://{}/v1/x", gateway.address))
        .output()
        .expect("curl");
    String::from_utf8(output.stdout).expect("text").parse().expect("a status")
}

/// The statement in the home, unverified.
fn statement(home: &Home) -> Value {
    let text = fs::read_to_string(home.path("cluster.tokens")).expect("a statement");
    let payload = text.split('.').nth(1).expect("a payload");
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON")
}

fn number(home: &Home) -> u64 {
    statement(home)["number"].as_u64().expect("a number")
}

fn list(home: &Home, gateways: &[&Live]) {
    let entries: String =
        gateways.iter().map(|gateway| format!("  - address: {}\n", gateway.address)).collect();
    home.write("gateways.yaml", format!("operator: api-user/admin\ngateways:\n{entries}"));
}

#[test]
fn a_login_reaches_the_service_behind_a_gateway_until_its_tokens_are_revoked() {
    let server = server();
    let home = &server.home;
    let (users, certificates) = (Live::for_users(home), Live::on_a_machine(home));
    list(home, &[&users, &certificates]);
    let (alice, bob) = (server.token("Root", "alice"), server.token("Root", "bob"));
    assert_eq!((asked(home, &users, &alice), asked(home, &users, &bob)), (502, 502));

    let begun = Instant::now();
    let finished = home.run(&["--json", "user", "revoke-tokens", "alice", "--wait"]);
    assert_eq!(finished.exit, Some(0), "{finished:?}");
    let pushed = finished.json()["result"]["pushed"].clone();
    let receipts: Vec<_> =
        pushed["gateways"].as_array().expect("gateways").iter().map(|one| one["receipt"].clone()).collect();
    assert_eq!(receipts, ["enforced", "no_tokens"], "{pushed}");
    assert_eq!(pushed["statement"], number(home), "{pushed}");
    assert_eq!((asked(home, &users, &alice), asked(home, &users, &bob)), (401, 502));
    println!("revoked at the gateway after {:?}", begun.elapsed());

    // A new login is dated after the revocation.
    assert_eq!(asked(home, &users, &server.token("Root", "alice")), 502);
    let again = home.run(&["gateways", "push-tokens"]);
    assert!(again.stdout.starts_with("1/1 gateway enforces statement "), "{again:?}");
    assert!(again.stdout.contains("1 more accept no tokens"), "{again:?}");
    drop(users);
    let failed = home.run(&["--json", "user", "revoke-tokens", "bob", "--wait"]);
    assert_eq!(failed.exit, Some(4), "{failed:?}");
    assert_eq!(failed.json()["result"]["pushed"]["gateways"][0]["error"]["code"], "network.refused");
    assert!(statement(home)["users"].as_array().expect("users").iter().any(|user| user["user"] == "bob"));
}

#[test]
fn each_change_that_revokes_tokens_is_in_the_statement_at_once() {
    let server = server();
    let home = &server.home;
    let token = server.token("Root", "alice");
    let mut last = number(home);
    let mut changed = |what: &str, expected: bool| {
        let now = number(home);
        assert_eq!(now > last, expected, "{what}: {}", statement(home));
        last = now;
    };
    let call = |method: &str, path: &str, body: Option<Value>| {
        let reply = server.call(method, path, Some(&token), body);
        assert!(reply.status < 300, "{path}: {reply:?}");
        reply
    };
    let before = |user: &str| {
        let users = statement(home)["users"].as_array().expect("users").clone();
        users.iter().find(|one| one["user"] == user).map(|one| one["before"].as_i64().expect("a time"))
    };
    add_user(home, "carol", "Root", "regular");
    changed("a new user", false);
    let bob = server.log_in("Root", "bob", PASSWORD);
    changed("a login", false);
    assert_eq!(before("bob"), None);
    server.call("POST", "/logout", Some(&bob.text("access_token")), None);
    changed("a logout", true);
    assert_eq!(statement(home)["sessions"].as_array().expect("sessions").len(), 1);
    call("POST", "/users/bob/revoke-tokens", None);
    changed("a revocation by the API", true);
    let first = before("bob").expect("an entry");
    home.ok(&["user", "revoke-tokens", "bob"]);
    changed("a revocation by a command", true);
    assert!(before("bob").expect("an entry") > first, "dated after the earlier one");
    call("PATCH", "/users/bob", Some(json!({ "role": "read-only" })));
    changed("a new role", true);
    call("DELETE", "/users/carol", None);
    changed("a deletion", true);
    assert!(before("carol").is_some(), "her tokens live on");
    add_user(home, "carol", "Root", "regular");
    let issued = server.token("Root", "carol");
    let payload = issued.split('.').nth(1).expect("a payload");
    let claims: Value =
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON");
    assert!(claims["iat"].as_i64() >= before("carol"), "a new user of the name is not concerned: {claims}");
    home.ok(&["org", "create", "Sales"]);
    changed("an organization", false);
    home.ok(&["org", "rename", "Sales", "Field"]);
    changed("another name", true);
    assert_eq!(statement(home)["organizations"][0]["org"], "Sales");

    // Nothing is lost, and nothing new is signed, when the server starts again.
    let (users, number_before) = (statement(home)["users"].clone(), number(home));
    let (code, home) = server.terminate();
    assert_eq!(code, Some(0));
    let server = Server::on(home, &[]);
    assert_eq!((number(&server.home), &statement(&server.home)["users"]), (number_before, &users));
    // A lost statement is composed from the accounts and the audit chain.
    let (_, home) = server.terminate();
    fs::remove_file(home.path("cluster.tokens")).expect("removed");
    let server = Server::on(home, &[]);
    let sorted = |users: &Value| {
        let mut users: Vec<String> = users.as_array().expect("users").iter().map(Value::to_string).collect();
        users.sort();
        users
    };
    assert_eq!(sorted(&statement(&server.home)["users"]), sorted(&users));
    assert!(number(&server.home) > number_before, "and its number is new");
}

#[test]
fn the_certificate_of_the_key_for_tokens_lets_nobody_in_and_signs_nothing_else() {
    let server = server();
    let home = &server.home;
    let shown = home.ok(&["inspect", home.path("tokens.crt").to_str().expect("text")]).to_string();
    assert!(shown.contains("token_signing") && !shown.contains("client_auth"), "{shown}");
    let gateway = Live::for_users(home);
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60", "--cacert"])
        .arg(home.path("cluster.crt"))
        .arg("--cert")
        .arg(home.path("tokens.crt"))
        .arg("--key")
        .arg(home.path("tokens.key"))
        .arg(format!("https://{}/.well-known/cluster/whoami", gateway.address))
        .output()
        .expect("curl");
    assert!(
        !output.status.success() || !String::from_utf8_lossy(&output.stdout).contains("spiffe"),
        "{output:?}"
    );
    let checked = Command::new("openssl")
        .args(["x509", "-noout", "-ext", "extendedKeyUsage,basicConstraints,subjectAltName", "-in"])
        .arg(home.path("tokens.crt"))
        .output()
        .expect("openssl");
    let text = String::from_utf8(checked.stdout).expect("text");
    assert!(text.contains("1.3.6.1.5.5.7.3.39") || text.contains("oauthAccessTokenSigning"), "{text}");
    assert!(text.contains("CA:FALSE") && text.contains("/cluster-ca"), "{text}");
}

#[test]
fn a_command_that_cannot_open_the_key_for_tokens_says_that_gateways_do_not_know() {
    let home = Home::empty();
    let passphrase = secret_file(&home, "passphrase", "correct horse battery staple");
    let inside = ["--passphrase-file", passphrase.as_str()];
    home.ok(&["initialize", "prod", inside[0], inside[1]]);
    add_user(&home, "alice", "Root", "cluster-admin");
    let server = Server::on(home, &inside);
    let home = &server.home;
    let before = number(home);
    let failed = home.run(&["--json", "user", "revoke-tokens", "alice"]);
    assert_eq!(failed.exit, Some(3), "{failed:?}");
    let error = failed.json()["error"].clone();
    assert_eq!(error["code"], "tokens.not_signed", "{error}");
    assert!(error["hint"].is_string(), "{error}");
    assert_eq!(number(home), before);
    home.ok(&["user", "revoke-tokens", "alice", inside[0], inside[1]]);
    assert!(number(home) > before);
}

#[test]
fn a_home_without_a_server_has_no_statement_and_says_so() {
    let home = home_with_admin();
    home.ok(&["user", "revoke-tokens", "alice"]);
    assert!(!home.path("cluster.tokens").exists());
    for arguments in [&["user", "revoke-tokens", "alice", "--wait"][..], &["gateways", "push-tokens"]] {
        let failed = home.run(&[&["--json"], arguments].concat());
        assert_eq!(failed.json()["error"]["code"], "tokens.no_statement", "{failed:?}");
        assert_eq!(failed.exit, Some(1));
    }
    let failed = home.run(&["--json", "user", "revoke-tokens", "alice", "--timeout", "1s"]);
    assert_eq!(failed.json()["error"]["code"], "usage.wait", "{failed:?}");
}
