//! Logins of users of a directory: the same words, the same time and the same lock as for local users.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::directory_settings::{GROUPS, set_up};
use super::harness::{OTHER, Reply, Server, add_user, home_with_admin, secret_file};
use super::slapd::{self, BASE, READER_PASSWORD, Slapd};
use crate::home::Home;

/// A home with the local administrator `alice`, and the directory.
fn home_with(slapd: &Slapd, more: &[&str]) -> Home {
    let home = home_with_admin();
    let arguments = set_up(&home, slapd, &slapd.ldaps(), &[&GROUPS[..], more].concat());
    home.ok(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    home
}

fn start() -> (Slapd, Server) {
    let slapd = Slapd::start();
    let home = home_with(&slapd, &["--user-revocation-attribute", "description"]);
    (slapd, Server::on(home, &[]))
}

/// Logs in with the password of the directory.
fn log_in(server: &Server, user: &str) -> Reply {
    server.log_in("Root", user, slapd::PASSWORD)
}

fn refresh(server: &Server, login: &Reply) -> Reply {
    let body = json!({ "refresh_token": login.text("refresh_token") });
    server.call("POST", "/login/refresh", None, Some(body))
}

fn whoami(server: &Server, login: &Reply) -> Reply {
    server.call("GET", "/whoami", Some(&login.text("access_token")), None)
}

/// LDIF that changes one attribute of an entry below `people`.
fn replace(user: &str, attribute: &str, value: &str) -> String {
    format!(
        "dn: uid={user},ou=people,{BASE}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n"
    )
}

/// LDIF that removes a member of a group.
fn leave(user: &str, group: &str) -> String {
    format!(
        "dn: cn={group},ou=groups,{BASE}\nchangetype: modify\ndelete: member\nmember: \
         uid={user},ou=people,{BASE}\n"
    )
}

#[test]
fn a_user_of_a_directory_logs_in_with_the_role_of_its_groups() {
    let (slapd, server) = start();
    let login = log_in(&server, "dora");
    assert_eq!(login.status, 200, "{login:?}");
    let me = whoami(&server, &login);
    assert_eq!(
        (&me.body["name"], &me.body["role"], &me.body["source"]),
        (&json!("dora"), &json!("org-admin"), &json!("ldap")),
        "the most powerful of two roles"
    );
    assert_eq!(whoami(&server, &log_in(&server, "eva")).body["role"], json!("regular"));
    assert_eq!(log_in(&server, "frank").status, 401, "in no group with a role");
    assert_eq!(refresh(&server, &login).status, 200);
    let users = server.home.ok(&["user", "list"]);
    let sources: Vec<_> =
        users.as_array().expect("users").iter().map(|user| (&user["name"], &user["source"])).collect();
    assert_eq!(
        sources,
        [
            (&json!("alice"), &json!("local")),
            (&json!("dora"), &json!("ldap")),
            (&json!("eva"), &json!("ldap"))
        ]
    );
    // The directory decides on role and password.
    let refusal = server.home.refused(&["user", "update", "dora", "--role", "cluster-admin"]);
    assert_eq!(refusal.code, "account.ldap_role");
    let password = secret_file(&server.home, "new", OTHER);
    let refusal = server.home.refused(&["user", "passwd", "dora", "--password-file", &password]);
    assert_eq!(refusal.code, "account.not_local");
    let token = log_in(&server, "dora").text("access_token");
    assert_eq!(server.call("POST", "/tokens", Some(&token), Some(json!({}))).code(), "account.not_local");
    let body = json!({ "old_password": slapd::PASSWORD, "new_password": OTHER });
    let reply = server.call("PUT", "/users/dora/password", Some(&token), Some(body));
    assert_eq!(reply.code(), "account.not_local");
    // Over StartTLS, too.
    server.home.ok(&["ldap", "update", "--server-uri", &slapd.ldap(), "--start-tls"]);
    assert_eq!(log_in(&server, "dora").status, 200);
    assert!(slapd.log().contains("STARTTLS"));
    server.home.ok(&["audit", "verify"]);
    server.home.ok(&["doctor"]);
}

#[test]
fn a_local_user_comes_first_and_its_password_never_goes_to_the_directory() {
    let (slapd, server) = start();
    let before = slapd.log();
    assert_eq!(log_in(&server, "alice").status, 401, "the directory has another user of this name");
    assert_eq!(slapd.log(), before, "nothing was asked");
    assert!(!server.token("Root", "alice").is_empty());
    // A name that the directory has seen first belongs to it.
    assert_eq!(log_in(&server, "eva").status, 200);
    let password = secret_file(&server.home, "new", OTHER);
    let add = ["user", "add", "eva", "--role", "regular", "--password-file", &password];
    assert_eq!(server.home.refused(&add).code, "account.user_exists");
}

#[test]
fn users_of_a_directory_are_locked_as_local_users_are() {
    let (slapd, server) = start();
    server.home.ok(&["security", "lockout-config", "set", "--failed-attempts", "3"]);
    for _ in 0..3 {
        assert_eq!(server.log_in("Root", "dora", "wrong").code(), "account.login_refused");
    }
    let before = slapd.log();
    assert_eq!(log_in(&server, "dora").code(), "account.login_refused", "locked");
    assert_eq!(slapd.log(), before, "a locked account is not asked for");
    let locked = server.audited("user.lock");
    assert_eq!((locked.len(), &locked[0]["target"]), (1, &json!("Root/dora")));
    let failures = server.audited("user.login");
    assert_eq!(failures[0]["details"]["directory"], json!("wrong password"), "{failures:?}");
    server.home.ok(&["security", "lockout-config", "reset"]);
    assert_eq!(log_in(&server, "dora").status, 200);
    assert_eq!(server.log_in("Root", "dora", "wrong").status, 401);
    assert_eq!(server.home.ok(&["user", "show", "dora"])["failed_logins"], json!(1));
    server.home.ok(&["user", "unlock", "dora"]);
    assert_eq!(server.home.ok(&["user", "show", "dora"])["failed_logins"], json!(0));
}

#[test]
fn parallel_guesses_at_a_directory_do_not_evade_the_lock() {
    let (slapd, server) = start();
    std::thread::scope(|scope| {
        for guess in 0..10 {
            let server = &server;
            scope.spawn(move || server.log_in("Root", "dora", &format!("guess-{guess}")));
        }
    });
    let asked = slapd.log().matches(&format!("BIND dn=\"uid=dora,ou=people,{BASE}\" method=128")).count();
    assert_eq!(asked, 5, "the directory has verified five guesses");
    assert_eq!(server.audited("user.lock").len(), 1);
}

#[test]
fn a_refusal_tells_neither_by_words_nor_by_time_what_exists() {
    let (_slapd, server) = start();
    server.home.ok(&["security", "lockout-config", "set", "--failed-attempts", "2"]);
    let attempts = [("alice", "wrong"), ("dora", "wrong"), ("nobody", "wrong"), ("frank", slapd::PASSWORD)];
    let locked = [("dora", "wrong"), ("dora", slapd::PASSWORD), ("*", "wrong"), ("Dora", slapd::PASSWORD)];
    let mut replies: Vec<(Value, Duration)> = Vec::new();
    for (user, password) in attempts.into_iter().chain(locked) {
        let begun = Instant::now();
        let mut reply = server.log_in("Root", user, password);
        let taken = begun.elapsed();
        assert_eq!(reply.status, 401, "{user}");
        reply.body["request_id"].take();
        replies.push((reply.body, taken));
    }
    for (body, taken) in &replies {
        assert_eq!(body, &replies[0].0);
        assert!(*taken >= Duration::from_secs(1), "answered at once: {taken:?}");
    }
    // Names that were made up leave nothing behind.
    let connection = rusqlite::Connection::open(server.home.path("ca.db")).expect("the inventory");
    let names = "SELECT group_concat(name) FROM lockout ORDER BY name";
    let left: Option<String> = connection.query_row(names, [], |row| row.get(0)).expect("a row");
    let left = left.unwrap_or_default();
    assert!(!left.contains("nobody"), "{left}");
    let begun = Instant::now();
    assert_eq!(server.log_in("Root", "alice", super::harness::PASSWORD).status, 200);
    assert_eq!(log_in(&server, "eva").status, 200);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn an_empty_password_is_refused_before_any_bind() {
    let (slapd, server) = start();
    let before = slapd.log();
    assert_eq!(server.log_in("Root", "dora", "").code(), "account.login_refused");
    assert_eq!(server.log_in("Root", "dora", &"x".repeat(2000)).code(), "account.login_refused");
    assert_eq!(slapd.log(), before, "nothing was asked");
    let empty = secret_file(&server.home, "empty", "");
    assert_eq!(server.home.refused(&["ldap", "update", "--password-file", &empty]).code, "input.password");
    let body = json!({ "reader_password": "" });
    let token = server.token("Root", "alice");
    assert_eq!(server.call("PATCH", "/ldap", Some(&token), Some(body)).code(), "ldap.empty_password");
}

#[test]
fn a_directory_that_is_down_locks_nobody_out() {
    let (mut slapd, server) = start();
    let login = log_in(&server, "dora");
    slapd.stop();
    for _ in 0..6 {
        assert_eq!(log_in(&server, "eva").code(), "account.login_refused");
    }
    assert!(!server.token("Root", "alice").is_empty(), "local users log in");
    let reply = refresh(&server, &login);
    assert_eq!((reply.status, reply.code()), (503, "account.directory_unavailable"));
    assert!(!reply.body.to_string().contains("127.0.0.1"), "the address is not for users: {reply:?}");
    assert!(server.audited("user.lock").is_empty());
    slapd.start_again();
    // A directory that has failed is left alone for some seconds; a change of its settings ends that.
    server.home.ok(&["ldap", "update", "--server-timeout", "6s"]);
    assert_eq!(log_in(&server, "eva").status, 200, "no failure was counted");
    assert_eq!(refresh(&server, &login).status, 200, "the refresh token was not used up");
}

#[test]
fn a_directory_that_never_answers_holds_up_no_local_user() {
    let slapd = Slapd::start();
    let home = home_with(&slapd, &[]);
    let silent = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let uri = format!("ldaps://{}", silent.local_addr().expect("an address"));
    home.ok(&["ldap", "update", "--server-uri", &uri, "--no-test"]);
    let server = Server::on(home, &[]);
    std::thread::scope(|scope| {
        for user in ["dora", "eva", "frank", "gina"] {
            let server = &server;
            scope.spawn(move || assert_eq!(log_in(server, user).status, 401));
        }
        // Before the time limit of the directory, 5 seconds.
        let begun = Instant::now();
        assert!(!server.token("Root", "alice").is_empty());
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    });
    let begun = Instant::now();
    assert_eq!(log_in(&server, "dora").status, 401);
    assert!(begun.elapsed() < Duration::from_secs(4), "it is left alone: {:?}", begun.elapsed());
}

#[test]
fn a_refresh_looks_at_the_directory_again() {
    let (slapd, server) = start();
    // Another role is in force at the refresh, and the former token is not valid any more.
    let login = log_in(&server, "dora");
    slapd.modify(&leave("dora", "operators"));
    let refreshed = refresh(&server, &login);
    assert_eq!(whoami(&server, &refreshed).body["role"], json!("regular"), "{refreshed:?}");
    assert_eq!(whoami(&server, &login).code(), "account.token_revoked");

    let ends = |ldif: &str, back: &str| {
        let login = log_in(&server, "dora");
        assert_eq!(login.status, 200, "{login:?}");
        slapd.modify(ldif);
        let reply = refresh(&server, &login);
        assert_eq!((reply.status, reply.code()), (401, "account.refresh_refused"), "{ldif}");
        assert_eq!(whoami(&server, &login).status, 401, "{ldif}");
        slapd.modify(back);
    };
    // Disabled.
    let unlock = format!("dn: uid=dora,ou=people,{BASE}\nchangetype: modify\ndelete: nsAccountLock\n");
    ends(&replace("dora", "nsAccountLock", "TRUE"), &unlock);
    // Another value of the revocation attribute.
    ends(&replace("dora", "description", "two"), &replace("dora", "description", "two"));
    // No group with a role.
    let join = leave("dora", "people").replace("delete: member", "add: member");
    ends(&leave("dora", "people"), &join);
    // Deleted, and another user of the same name in its place.
    let dn = format!("dn: uid=dora,ou=people,{BASE}\n");
    let deleted = format!("{dn}changetype: delete\n");
    let created = format!(
        "{dn}changetype: add\nobjectClass: inetOrgPerson\nuid: dora\ncn: Another\nsn: Another\n\
         userPassword: {}\n",
        slapd::PASSWORD
    );
    ends(&deleted, &created);
    let login = log_in(&server, "dora");
    assert_eq!(login.status, 200);
    ends(&format!("{deleted}\n{created}"), &replace("dora", "description", "three"));
    server.home.ok(&["audit", "verify"]);
}

#[test]
fn a_disabled_account_is_refused_with_the_right_password() {
    let (slapd, server) = start();
    slapd.modify(&replace("dora", "nsAccountLock", "true"));
    assert_eq!(log_in(&server, "dora").code(), "account.login_refused");
    assert_eq!(server.audited("user.login")[0]["details"]["directory"], json!("disabled account"));
}

#[test]
fn a_disabled_or_removed_directory_ends_the_sessions_of_its_users() {
    let (_slapd, server) = start();
    let login = log_in(&server, "dora");
    server.home.ok(&["ldap", "disable"]);
    assert_eq!(whoami(&server, &login).code(), "account.token_revoked");
    assert_eq!(refresh(&server, &login).code(), "account.refresh_refused");
    assert_eq!(log_in(&server, "dora").code(), "account.login_refused");
    server.home.ok(&["ldap", "enable"]);
    let login = log_in(&server, "dora");
    assert_eq!(login.status, 200);
    server.home.ok(&["ldap", "reset"]);
    assert_eq!(whoami(&server, &login).code(), "account.token_revoked");
    assert_eq!(log_in(&server, "dora").code(), "account.login_refused");
    assert_eq!(server.home.ok(&["user", "list"]).as_array().expect("users").len(), 1);
    server.home.ok(&["audit", "verify"]);
}

#[test]
fn a_reference_to_another_directory_is_not_followed() {
    let (slapd, server) = start();
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a socket");
    elsewhere.set_nonblocking(true).expect("a mode");
    let port = elsewhere.local_addr().expect("an address").port();
    slapd.modify(&format!(
        "dn: ou=other,ou=people,{BASE}\nchangetype: add\nobjectClass: referral\nobjectClass: extensibleObject\n\
         ou: other\nref: ldap://127.0.0.1:{port}/ou=other,{BASE}\n"
    ));
    assert_eq!(log_in(&server, "dora").status, 200, "the reference is passed over");
    assert_eq!(server.log_in("Root", "nobody", "wrong").status, 401);
    let seen = elsewhere.accept().map(|_| ()).map_err(|error| error.kind());
    assert_eq!(seen, Err(std::io::ErrorKind::WouldBlock), "somebody connected");
}

#[test]
fn each_organization_has_its_own_directory() {
    let slapd = Slapd::start();
    let home = home_with_admin();
    home.ok(&["org", "create", "research"]);
    let more = ["--org-admin-group", "operators", "--org", "research"];
    let arguments = set_up(&home, &slapd, &slapd.ldaps(), &more);
    home.ok(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    add_user(&home, "eva", "Root", "regular");
    let server = Server::on(home, &[]);
    let login = server.log_in("research", "dora", slapd::PASSWORD);
    assert_eq!(whoami(&server, &login).body["organization"], json!("research"));
    assert_eq!(log_in(&server, "dora").status, 401, "Root has no directory");
    assert_eq!(server.log_in("research", "eva", slapd::PASSWORD).status, 401, "no group with a role");
    let token = login.text("access_token");
    let users = server.call("GET", "/users", Some(&token), None);
    assert_eq!(users.body["items"].as_array().expect("users").len(), 1, "its own organization only");
}

#[test]
fn users_of_an_active_directory_log_in_by_their_account_names() {
    let slapd = Slapd::start();
    let home = home_with_admin();
    let password = secret_file(&home, "reader-password", READER_PASSWORD);
    let (uri, ca) = (slapd.ldaps(), slapd.ca());
    let mut arguments = vec!["ldap", "setup-ad", &uri, "example.test", slapd::READER];
    arguments.extend(["--ca-cert", &ca, "--password-file", &password]);
    arguments.extend(["--cluster-admin-group", "domain operators"]);
    let view = home.ok(&arguments);
    assert_eq!(
        (&view["server_type"], &view["base_dn"]),
        (&json!("active-directory"), &json!("DC=example,DC=test"))
    );
    let server = Server::on(home, &[]);
    let login = log_in(&server, "gina");
    assert_eq!(whoami(&server, &login).body["role"], json!("cluster-admin"), "{login:?}");
    // ACCOUNTDISABLE.
    let gina = format!("dn: cn=Gina,ou=people,{BASE}\nchangetype: modify\nreplace: userAccountControl\n");
    slapd.modify(&format!("{gina}userAccountControl: 514\n"));
    assert_eq!(refresh(&server, &login).code(), "account.refresh_refused");
    assert_eq!(log_in(&server, "gina").code(), "account.login_refused");
    // The account has ended (2020-01-01).
    slapd.modify(&format!("{gina}userAccountControl: 512\n"));
    assert_eq!(log_in(&server, "gina").status, 200);
    slapd.modify(&format!(
        "{gina}userAccountControl: 512\n-\nreplace: accountExpires\naccountExpires: 132223104000000000\n"
    ));
    assert_eq!(log_in(&server, "gina").code(), "account.login_refused");
    // The last local administrator is not replaced by one of the directory.
    assert_eq!(server.home.refused(&["user", "delete", "alice"]).code, "account.last_cluster_admin");
}
