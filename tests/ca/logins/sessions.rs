//! Logins, refresh, logout, lockout, and what revokes a token.

use serde_json::{Value, json};

use super::harness::{OTHER, PASSWORD, Reply, Server, add_user, home_with_admin, secret_file};
use crate::home::Home;

#[test]
fn a_login_gives_tokens_that_identify_the_user_until_logout() {
    let server = Server::start();
    let login = server.log_in("Root", "alice", PASSWORD);
    assert_eq!(
        (login.status, &login.body["token_type"], &login.body["expires_in"]),
        (200, &json!("Bearer"), &json!(300))
    );
    assert_eq!(login.body["password_change_required"], json!(false));
    assert_eq!(login.header("cache-control"), Some("no-store"));
    let token = login.text("access_token");
    let me = server.call("GET", "/whoami", Some(&token), None);
    assert_eq!(
        (me.status, &me.body["name"], &me.body["role"]),
        (200, &json!("alice"), &json!("cluster-admin"))
    );
    assert!(me.header("x-request-id").is_some_and(|id| id.len() == 32));
    assert_eq!(server.call("POST", "/logout", Some(&token), None).status, 200);
    let replayed = server.call("GET", "/whoami", Some(&token), None);
    assert_eq!((replayed.status, replayed.code()), (401, "account.token_revoked"));
    assert!(replayed.header("www-authenticate").is_some_and(|value| value.contains("invalid_token")));
    let refresh = server.call(
        "POST",
        "/login/refresh",
        None,
        Some(json!({ "refresh_token": login.text("refresh_token") })),
    );
    assert_eq!((refresh.status, refresh.code()), (401, "account.refresh_refused"));
    assert_eq!(server.audited("user.login").len(), 1);
    let logout = &server.audited("user.logout")[0];
    let actor = logout["actor"].as_str().expect("text");
    assert!(actor.starts_with("Root/alice@127.0.0.1 (request "), "{actor}");
    server.home.ok(&["audit", "verify"]);
}

#[test]
fn a_refresh_token_is_valid_once_and_its_reuse_ends_the_session() {
    let server = Server::start();
    let first = server.log_in("Root", "alice", PASSWORD);
    let refresh =
        |token: &str| server.call("POST", "/login/refresh", None, Some(json!({ "refresh_token": token })));
    let second = refresh(&first.text("refresh_token"));
    assert_eq!(second.status, 200, "{second:?}");
    assert_ne!(second.text("refresh_token"), first.text("refresh_token"));
    let third = refresh(&second.text("refresh_token"));
    let token = third.text("access_token");
    assert_eq!(server.call("GET", "/whoami", Some(&token), None).status, 200);
    assert_eq!(server.audited("token.reuse").len(), 0);

    let reused = refresh(&first.text("refresh_token"));
    assert_eq!((reused.status, reused.code()), (401, "account.refresh_refused"));
    assert_eq!(server.audited("token.reuse").len(), 1);
    assert_eq!(refresh(&third.text("refresh_token")).status, 401, "the newest one is revoked too");
    assert_eq!(server.call("GET", "/whoami", Some(&token), None).code(), "account.token_revoked");
    for wrong in ["", "x", &"A".repeat(64)] {
        assert_eq!(refresh(wrong).code(), "account.refresh_refused");
    }
    assert_eq!(server.audited("token.reuse").len(), 1, "an unknown token is no reuse");
}

#[test]
fn two_clients_that_race_with_one_refresh_token_never_both_keep_a_session() {
    let server = Server::start();
    for _ in 0..5 {
        let first = server.log_in("Root", "alice", PASSWORD).text("refresh_token");
        let body = json!({ "refresh_token": first });
        let replies: Vec<_> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| server.call("POST", "/login/refresh", None, Some(body.clone()))))
                .collect();
            racers.into_iter().map(|racer| racer.join().expect("no panic")).collect()
        });
        let renewed: Vec<_> = replies.iter().filter(|reply| reply.status == 200).collect();
        assert_eq!(renewed.len(), 1, "{replies:?}");
        let token = renewed[0].text("access_token");
        assert_eq!(
            server.call("GET", "/whoami", Some(&token), None).status,
            401,
            "the reuse ended the session"
        );
    }
}

/// A refusal, without the ID that differs for each request.
fn refused(reply: &Reply) -> (u16, Value) {
    let mut body = reply.body.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("request_id");
    }
    (reply.status, body)
}

#[test]
fn unknown_users_wrong_passwords_and_locked_accounts_get_the_same_answer() {
    let server = Server::start();
    let unknown = server.log_in("Root", "nobody", PASSWORD);
    assert_eq!((unknown.status, unknown.code()), (401, "account.login_refused"));
    for (org, user, password) in [
        ("Root", "alice", "wrong"),
        ("Root", "alice", ""),
        ("none", "alice", PASSWORD),
        ("Root", "ALICE", PASSWORD),
        ("", "", ""),
    ] {
        let reply = server.log_in(org, user, password);
        assert_eq!(refused(&reply), refused(&unknown), "{org}/{user}");
    }
    for _ in 2..5 {
        assert_eq!(refused(&server.log_in("Root", "alice", "wrong")), refused(&unknown));
    }
    let locked = server.log_in("Root", "alice", PASSWORD);
    assert_eq!(refused(&locked), refused(&unknown), "locked");
    assert_eq!(server.audited("user.lock").len(), 1);
    let shown = server.home.ok(&["user", "show", "alice"]);
    assert_eq!(shown["failed_logins"], json!(5));
    let until = shown["locked_until"].clone();
    assert!(until.is_string(), "{shown}");
    server.log_in("Root", "alice", "wrong");
    assert_eq!(
        server.home.ok(&["user", "show", "alice"])["locked_until"],
        until,
        "no attempt extends the lock"
    );
    // A command on the home ends the lock of the running server.
    server.home.ok(&["user", "unlock", "alice"]);
    assert_eq!(server.log_in("Root", "alice", PASSWORD).status, 200);
    let failed = server.audited("user.login");
    assert!(!failed.iter().any(|entry| entry.to_string().contains("wrong")), "no password is recorded");
    server.home.ok(&["audit", "verify"]);
}

#[test]
fn a_success_clears_the_failures_and_other_organizations_count_apart() {
    let home = home_with_admin();
    home.ok(&["org", "create", "research"]);
    add_user(&home, "alice", "research", "regular");
    let server = Server::on(home, &[]);
    for _ in 0..4 {
        server.log_in("Root", "alice", "wrong");
    }
    assert_eq!(server.log_in("Root", "alice", PASSWORD).status, 200);
    for _ in 0..5 {
        server.log_in("research", "alice", "wrong");
    }
    assert_eq!(server.log_in("research", "alice", PASSWORD).status, 401);
    assert_eq!(server.log_in("Root", "alice", PASSWORD).status, 200);
}

#[test]
fn a_password_that_another_person_chose_is_changed_before_anything_else() {
    let home = home_with_admin();
    let password = secret_file(&home, "password", PASSWORD);
    home.ok(&["user", "add", "bob", "--role", "cluster-admin", "--password-file", &password]);
    let server = Server::on(home, &[]);
    let login = server.log_in("Root", "bob", PASSWORD);
    assert_eq!(login.body["password_change_required"], json!(true));
    let token = login.text("access_token");
    assert_eq!(server.call("GET", "/whoami", Some(&token), None).status, 200);
    for (method, path, body) in [
        ("GET", "/users", None),
        ("POST", "/tokens", Some(json!({}))),
        ("PUT", "/users/alice/password", Some(json!({ "new_password": OTHER }))),
    ] {
        let reply = server.call(method, path, Some(&token), body);
        assert_eq!(
            (reply.status, reply.code()),
            (403, "account.password_change_required"),
            "{method} {path}"
        );
    }
    let change = |old: &str, new: &str| {
        let body = json!({ "old_password": old, "new_password": new });
        server.call("PUT", "/users/bob/password", Some(&token), Some(body))
    };
    assert_eq!(change("wrong", OTHER).code(), "account.login_refused");
    assert_eq!(change(PASSWORD, PASSWORD).code(), "account.weak_password");
    assert_eq!(change(PASSWORD, "weak").status, 422);
    assert_eq!(change(PASSWORD, OTHER).status, 200);
    assert_eq!(server.call("GET", "/whoami", Some(&token), None).status, 401, "log in again");
    assert_eq!(server.log_in("Root", "bob", PASSWORD).status, 401);
    let login = server.log_in("Root", "bob", OTHER);
    assert_eq!(login.body["password_change_required"], json!(false));
    assert_eq!(server.call("GET", "/users", Some(&login.text("access_token")), None).status, 200);
}

#[test]
fn a_change_by_a_command_revokes_tokens_at_once() {
    for revoking in [
        &["user", "revoke-tokens", "bob"][..],
        &["user", "update", "bob", "--role", "read-only"],
        &["user", "update", "bob", "--certificate", "api-user/bob"],
        &["user", "delete", "bob"],
    ] {
        let home = home_with_admin();
        add_user(&home, "bob", "Root", "cluster-admin");
        let server = Server::on(home, &[]);
        let login = server.log_in("Root", "bob", PASSWORD);
        let token = login.text("access_token");
        let generated = server.call("POST", "/tokens", Some(&token), Some(json!({ "timeout": 3600 })));
        assert_eq!(generated.status, 200, "{generated:?}");
        let generated = generated.text("access_token");
        assert_eq!(server.call("GET", "/whoami", Some(&generated), None).status, 200);
        server.home.ok(revoking);
        for token in [&token, &generated] {
            let reply = server.call("GET", "/whoami", Some(token), None);
            assert_eq!((reply.status, reply.code()), (401, "account.token_revoked"), "{revoking:?}");
        }
        let refresh = json!({ "refresh_token": login.text("refresh_token") });
        assert_eq!(server.call("POST", "/login/refresh", None, Some(refresh)).status, 401);
        if revoking[1] == "delete" {
            // A later user of the same name does not inherit the tokens.
            add_user(&server.home, "bob", "Root", "cluster-admin");
            assert_eq!(server.call("GET", "/whoami", Some(&generated), None).status, 401);
        }
        if revoking[1] != "delete" {
            assert_eq!(server.log_in("Root", "bob", PASSWORD).status, 200, "in the same second");
        }
    }
}

#[test]
fn a_generated_token_keeps_within_the_maximum() {
    let server = Server::start();
    server.home.ok(&["security", "token-lifetimes", "set", "--access-token-max", "1h"]);
    let token = server.token("Root", "alice");
    let generate =
        |timeout| server.call("POST", "/tokens", Some(&token), Some(json!({ "timeout": timeout })));
    assert_eq!(generate(3600).status, 200);
    for wrong in [3601, 0, -1] {
        assert_eq!((generate(wrong).status, generate(wrong).code()), (400, "input.setting"), "{wrong}");
    }
    assert_eq!(server.audited("token.generate").len(), 1);
}

#[test]
fn a_restored_backup_brings_no_session_back() {
    let server = Server::start();
    let login = server.log_in("Root", "alice", PASSWORD);
    let backup = server.home.path("backup.age").display().to_string();
    let password = secret_file(&server.home, "backup-password", OTHER);
    server.home.ok(&["backup", &backup, "--password-file", &password]);
    let crl = server.home.path("cluster.crl").display().to_string();
    let restored = Home::empty();
    restored.ok(&["restore", &backup, "--password-file", &password, "--crl", &crl]);
    drop(server);
    // Keys of leaves are in no backup: the server makes a new one once the certificate of the lost one is revoked.
    restored.ok(&["revoke", "control-service/127.0.0.1"]);
    let server = Server::on(restored, &[]);
    let refresh = json!({ "refresh_token": login.text("refresh_token") });
    assert_eq!(server.call("POST", "/login/refresh", None, Some(refresh)).status, 401);
    assert_eq!(server.call("GET", "/whoami", Some(&login.text("access_token")), None).status, 401);
    assert_eq!(server.log_in("Root", "alice", PASSWORD).status, 200);
    server.home.ok(&["audit", "verify"]);
}

#[test]
fn the_audit_log_lists_what_a_user_did_and_what_was_done_to_its_account() {
    let server = Server::start();
    add_user(&server.home, "alicia", "Root", "regular");
    let token = server.log_in("Root", "alice", PASSWORD).text("access_token");
    let body = json!({ "name": "bob", "org": "Root", "role": "regular", "password": PASSWORD });
    let created = server.call("POST", "/users", Some(&token), Some(body));
    assert_eq!(created.status, 201, "{created:?}");
    let entries = |user: &str| {
        let listed = server.home.ok(&["audit", "list", "--user", user]);
        let entry = |entry: &Value| format!("{} {}", entry["action"], entry["target"]).replace('"', "");
        listed.as_array().expect("an array").iter().map(entry).collect::<Vec<_>>()
    };
    let of_alice = ["user.create Root/alice", "user.login Root/alice", "user.create Root/bob"];
    for user in ["alice", "Root/alice", "root/alice"] {
        assert_eq!(entries(user), of_alice, "{user}");
    }
    assert_eq!(entries("bob"), ["user.create Root/bob"]);
    assert_eq!((entries("alic").len(), entries("sales/alice").len()), (0, 0));
    for user in ["a*", "", "/alice", "Root/", "Root/alice/x"] {
        let refusal = server.home.refused(&["audit", "list", "--user", user]);
        assert_eq!((refusal.code.as_str(), refusal.exit), ("usage.arguments", 2), "{user}: {refusal:?}");
    }
}
