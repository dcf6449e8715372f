//! `serve`, and the commands of a user who logs in.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::harness::{OTHER, PASSWORD, Server, add_user, home_with_admin, secret_file};
use crate::home::Home;

#[test]
fn a_user_logs_in_and_out_by_commands() {
    let server = Server::start();
    server.home.ok(&["security", "login-banner", "set", "Authorized use only."]);
    let password = secret_file(&server.home, "password", PASSWORD);
    let file = server.home.path("tokens/auth-token.json");
    let refusal = server.command(&["whoami"]).refusal();
    assert_eq!((refusal.exit, refusal.code.as_str()), (1, "api.not_logged_in"));
    assert!(refusal.hint.contains("cluster-ca login"), "{refusal:?}");

    let login = server.command(&["login", "alice", "--password-file", &password]);
    assert!(login.stderr.contains("Authorized use only."), "{login:?}");
    let result = login.result();
    assert_eq!((&result["user"], &result["organization"]), (&json!("alice"), &json!("Root")));
    let mode = fs::metadata(&file).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let me = server.command(&["whoami"]).result();
    assert_eq!((&me["name"], &me["role"]), (&json!("alice"), &json!("cluster-admin")));

    // An expired access token is refreshed silently.
    let read = || serde_json::from_slice::<Value>(&fs::read(&file).expect("a file")).expect("JSON");
    let mut stored = read();
    stored["expires_at"] = json!(0);
    fs::write(&file, stored.to_string()).expect("written");
    server.command(&["whoami"]).result();
    assert_ne!(read()["refresh_token"], stored["refresh_token"]);

    let token = read()["access_token"].as_str().expect("text").to_owned();
    server.command(&["logout"]).result();
    assert!(!file.exists());
    assert_eq!(server.call("GET", "/whoami", Some(&token), None).status, 401, "on the server too");
    server.command(&["logout"]).refusal();
}

#[test]
fn a_refusal_of_the_server_keeps_its_code() {
    let server = Server::start();
    let wrong = secret_file(&server.home, "wrong", OTHER);
    let refusal = server.command(&["login", "alice", "--password-file", &wrong]).refusal();
    assert_eq!((refusal.exit, refusal.code.as_str()), (1, "account.login_refused"));
    assert!(!refusal.words().contains(OTHER));
    let refusal = server
        .command(&["login", "alice", "--server", "http://127.0.0.1", "--password-file", &wrong])
        .refusal();
    assert_eq!((refusal.exit, refusal.code.as_str()), (2, "input.server_url"));
    let other = Home::initialized();
    let ca = other.path("cluster.crt").display().to_string();
    let refusal = server.command(&["login", "alice", "--ca", &ca, "--password-file", &wrong]).refusal();
    assert_eq!((refusal.exit, refusal.code.as_str()), (4, "api.untrusted"));
    assert!(refusal.message.contains("no trusted CA issued it"), "{refusal:?}");
}

#[test]
fn a_token_for_scripts_replaces_the_file() {
    let server = Server::start();
    let token = server.token("Root", "alice");
    let generated = server.call("POST", "/tokens", Some(&token), Some(json!({}))).text("access_token");
    let output = server
        .home
        .command(&["--json", "whoami", "--server", &server.url()])
        .env("CLUSTER_CA_TOKEN", &generated)
        .output();
    let me = crate::home::Finished::from(output.expect("runs")).result();
    assert_eq!(me["name"], json!("alice"));
}

#[test]
fn a_user_changes_the_own_password_by_a_command() {
    let home = home_with_admin();
    let password = secret_file(&home, "password", PASSWORD);
    home.ok(&["user", "add", "bob", "--role", "regular", "--password-file", &password]);
    let server = Server::on(home, &[]);
    let new = secret_file(&server.home, "new", OTHER);
    let login = server.command(&["login", "bob", "--password-file", &password]).result();
    assert_eq!(login["password_change_required"], json!(true));
    server.command(&["passwd", "--password-file", &password, "--new-password-file", &new]).result();
    assert_eq!(server.command(&["whoami"]).refusal().code, "api.not_logged_in", "log in again");
    let login = server.command(&["login", "bob", "--password-file", &new]).result();
    assert_eq!(login["password_change_required"], json!(false));
}

#[test]
fn commands_and_server_work_on_one_home_at_once() {
    let server = Server::start();
    let token = server.token("Root", "alice");
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let (server, token) = (&server, &token);
            scope.spawn(move || {
                for round in 0..4 {
                    let name = format!("api{worker}x{round}");
                    let body = json!({ "name": name, "role": "regular", "password": OTHER });
                    assert_eq!(server.call("POST", "/users", Some(token), Some(body)).status, 201);
                }
            });
            scope.spawn(move || {
                for round in 0..2 {
                    server.home.ok(&["create-api-user", &format!("user{worker}x{round}")]);
                    server.home.ok(&["user", "list"]);
                }
            });
        }
    });
    assert_eq!(server.home.ok(&["user", "list"]).as_array().expect("users").len(), 13);
    server.home.ok(&["audit", "verify"]);
    server.home.ok(&["doctor"]);
    assert_eq!(server.terminate().0, Some(0));
}

#[test]
fn a_server_with_users_of_two_organizations_answers_each_its_own() {
    let home = home_with_admin();
    home.ok(&["org", "create", "research"]);
    add_user(&home, "alice", "research", "org-admin");
    let server = Server::on(home, &[]);
    let listed = server.call("GET", "/users", Some(&server.token("research", "alice")), None);
    assert_eq!(listed.body["items"].as_array().expect("users").len(), 1);
    assert_eq!(listed.body["items"][0]["organization"], json!("research"));
}
