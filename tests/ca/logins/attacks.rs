//! Attempts to get in, or to get more than is permitted.

use std::fs;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::{Value, json};

use super::harness::{OTHER, PASSWORD, Server, add_user, home_with_admin, secret_file};
use crate::eventually::eventually;
use crate::home::Home;

/// Options of curl for a certificate of the home.
fn certificate(home: &Home, name: &str) -> [String; 4] {
    let file = |end: &str| home.path(format!("issued/user-{name}.{end}")).display().to_string();
    ["--cert".to_owned(), file("crt"), "--key".to_owned(), file("key")]
}

fn whoami(server: &Server, token: &str, options: &[String]) -> super::harness::Reply {
    let header = format!("authorization: Bearer {token}");
    let mut all = vec!["--header", header.as_str()];
    all.extend(options.iter().map(String::as_str));
    server.curl("GET", "/api/v1/whoami", None, &all)
}

#[test]
fn a_header_of_a_token_chooses_neither_algorithm_nor_key() {
    let server = Server::start();
    let token = server.token("Root", "alice");
    let [header, payload, signature]: [&str; 3] =
        token.split('.').collect::<Vec<_>>().try_into().expect("three parts");
    let header: Value =
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(header).expect("base64")).expect("JSON");
    let kid = header["kid"].clone();
    assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("at+jwt")));
    for (changed, code) in [
        (json!({ "alg": "none", "typ": "at+jwt", "kid": kid }), "token.algorithm"),
        (json!({ "alg": "HS256", "typ": "at+jwt", "kid": kid }), "token.algorithm"),
        (json!({ "alg": "ES256", "typ": "at+jwt", "kid": "other" }), "token.unknown_key"),
        (json!({ "alg": "ES256", "typ": "at+jwt", "kid": kid, "jwk": {} }), "token.malformed"),
        (json!({ "alg": "ES256", "typ": "at+jwt", "kid": kid, "jku": "https://e.test/" }), "token.malformed"),
        (json!({ "alg": "ES256", "typ": "JWT", "kid": kid }), "token.malformed"),
    ] {
        for signature in [signature, ""] {
            let forged =
                format!("{}.{payload}.{signature}", BASE64_URL_SAFE_NO_PAD.encode(changed.to_string()));
            let reply = server.call("GET", "/whoami", Some(&forged), None);
            assert_eq!((reply.status, reply.code()), (401, code), "{changed}");
        }
    }
    let other = Server::start();
    let foreign = other.token("Root", "alice");
    assert_eq!(server.call("GET", "/whoami", Some(&foreign), None).code(), "token.unknown_key");
    for authorization in ["authorization: Basic YTpi", "authorization: Bearer", "authorization: Bearer a b"] {
        let reply = server.curl("GET", "/api/v1/whoami", None, &["--header", authorization]);
        assert_eq!((reply.status, reply.code()), (401, "token.malformed"), "{authorization}");
    }
    let both = format!("authorization: Bearer {token}");
    let reply = server.curl("GET", "/api/v1/whoami", None, &["--header", &both, "--header", &both]);
    assert_eq!((reply.status, reply.code()), (400, "server.authorization"));
}

#[test]
fn a_token_of_a_login_with_a_certificate_is_refused_without_it_and_from_another() {
    let home = home_with_admin();
    home.ok(&["create-api-user", "alice"]);
    home.ok(&["create-api-user", "mallory"]);
    let server = Server::on(home, &[]);
    let [own, other] = ["alice", "mallory"].map(|name| certificate(&server.home, name));
    let body = json!({ "username": "alice", "password": PASSWORD }).to_string();
    let options: Vec<&str> = own.iter().map(String::as_str).collect();
    let login = server.curl("POST", "/api/v1/login", Some(body.as_bytes()), &options);
    assert_eq!(login.status, 200, "{login:?}");
    let token = login.text("access_token");
    assert_eq!(whoami(&server, &token, &own).status, 200);
    for options in [&other[..], &[]] {
        let reply = whoami(&server, &token, options);
        assert_eq!((reply.status, reply.code()), (401, "token.certificate"));
    }
    let refresh = json!({ "refresh_token": login.text("refresh_token") });
    assert_eq!(server.call("POST", "/login/refresh", None, Some(refresh)).status, 401);
    // A revoked certificate is refused by the handshake once the server has the CRL.
    server.home.ok(&["revoke", "api-user/alice"]);
    eventually("the server has the CRL", || {
        let options: Vec<&str> = own.iter().map(String::as_str).collect();
        let refused = !server.curl_output("GET", "/api/v1/whoami", None, &options).status.success();
        refused.then_some(())
    });
    assert_eq!(server.call("GET", "/security/banner", None, None).status, 200, "others are not concerned");
}

#[test]
fn an_account_that_requires_its_certificate_is_not_entered_by_password_alone() {
    let home = home_with_admin();
    home.ok(&["create-api-user", "alice"]);
    home.ok(&["create-api-user", "mallory"]);
    home.ok(&["user", "update", "alice", "--certificate", "api-user/alice", "--require-certificate", "true"]);
    let server = Server::on(home, &[]);
    let body = json!({ "username": "alice", "password": PASSWORD }).to_string();
    let log_in = |options: &[String]| {
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        server.curl("POST", "/api/v1/login", Some(body.as_bytes()), &options)
    };
    for options in [&[][..], &certificate(&server.home, "mallory")] {
        assert_eq!(log_in(options).code(), "account.login_refused");
    }
    assert_eq!(log_in(&certificate(&server.home, "alice")).status, 200);
}

#[test]
fn parallel_guesses_do_not_evade_the_lock() {
    let server = Server::start();
    std::thread::scope(|scope| {
        for guess in 0..12 {
            let server = &server;
            scope.spawn(move || server.log_in("Root", "alice", &format!("Guess-number-{guess}")));
        }
    });
    let verified = server.audited("user.login");
    assert_eq!(verified.len(), 5, "each verified guess has an entry: {verified:?}");
    assert_eq!(server.audited("user.lock").len(), 1);
    assert_eq!(server.log_in("Root", "alice", PASSWORD).status, 401);
}

#[test]
fn an_address_that_guesses_names_is_slowed_down_and_fills_no_log() {
    let server = Server::start();
    let mut limited = false;
    for guess in 0..60 {
        let reply = server.log_in("Root", &format!("user{guess}"), PASSWORD);
        limited |= reply.status == 429;
        if reply.status == 429 {
            assert_eq!(reply.code(), "account.too_many_logins");
        }
    }
    assert!(limited);
    assert!(server.audited("user.login").len() <= 2, "one entry a minute");
    assert_eq!(server.home.ok(&["user", "show", "alice"])["failed_logins"], json!(0), "no account is locked");
}

#[test]
fn a_body_has_exactly_the_expected_members() {
    let home = home_with_admin();
    add_user(&home, "bob", "Root", "regular");
    let server = Server::on(home, &[]);
    let token = server.token("Root", "bob");
    let raise = json!({ "old_password": PASSWORD, "new_password": OTHER, "role": "cluster-admin" });
    let reply = server.call("PUT", "/users/bob/password", Some(&token), Some(raise));
    assert_eq!((reply.status, reply.code()), (400, "server.body"));
    assert!(reply.text("detail").contains("`role`") && !reply.body.to_string().contains(OTHER), "{reply:?}");
    let login = json!({ "username": "bob", "password": PASSWORD, "role": "cluster-admin" });
    assert_eq!(server.call("POST", "/login", None, Some(login)).code(), "server.body");
    for (body, options, code) in [
        ("{", &[][..], "server.body"),
        ("[]", &[], "server.body"),
        (r#"{"username": "bob", "username": "alice", "password": "x"}"#, &[], "server.body"),
        (r#"{"username": 1, "password": "x"}"#, &[], "server.body"),
        (
            "username=bob",
            &["--header", "content-type: application/x-www-form-urlencoded"],
            "server.content_type",
        ),
    ] {
        let reply = server.curl("POST", "/api/v1/login", Some(body.as_bytes()), options);
        assert_eq!(reply.code(), code, "{body}");
    }
}

#[test]
fn a_tampered_account_is_refused() {
    let home = home_with_admin();
    add_user(&home, "bob", "Root", "regular");
    let server = Server::on(home, &[]);
    let token = server.token("Root", "bob");
    let connection = rusqlite::Connection::open(server.home.path("ca.db")).expect("the inventory");
    connection
        .execute(
            "UPDATE user SET must_change_password = 0, certificate = 'api-user/x' WHERE name = 'bob'",
            [],
        )
        .expect("changed");
    let reply = server.call("GET", "/whoami", Some(&token), None);
    assert_eq!((reply.status, reply.code()), (500, "store.inconsistent"));
    assert_eq!(server.log_in("Root", "bob", PASSWORD).status, 500);
    assert_eq!(server.log_in("Root", "alice", PASSWORD).status, 200);
}

#[test]
fn the_key_for_tokens_is_protected_as_the_root_is() {
    let home = Home::empty();
    let passphrase = secret_file(&home, "passphrase", "correct horse battery staple");
    let inside = ["--passphrase-file", passphrase.as_str()];
    home.ok(&["initialize", "prod", inside[0], inside[1]]);
    add_user(&home, "alice", "Root", "cluster-admin");
    let server = Server::on(home, &inside);
    assert_eq!(server.log_in("Root", "alice", PASSWORD).status, 200);
    let key = server.home.path("tokens.key");
    let text = fs::read_to_string(&key).expect("a key");
    assert!(text.contains("ENCRYPTED PRIVATE KEY"), "{text:.40}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&key).expect("metadata").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let token = server.token("Root", "alice");
    let (code, home) = server.terminate();
    assert_eq!(code, Some(0));
    // The key stays, and with it the tokens.
    let server = Server::on(home, &inside);
    assert_eq!(server.call("GET", "/whoami", Some(&token), None).status, 200);
}
