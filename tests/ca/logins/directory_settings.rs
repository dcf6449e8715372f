//! The directory of an organization: what is set up is tested, safe, and kept.

use std::fs;
use std::net::{TcpListener, UdpSocket};

use serde_json::{Value, json};

use super::harness::{Server, add_user, home_with_admin, secret_file};
use super::slapd::{self, BASE, READER, READER_PASSWORD, Slapd};
use crate::home::Home;

/// Arguments that set up a directory at `uri`.
pub(super) fn set_up(home: &Home, slapd: &Slapd, uri: &str, more: &[&str]) -> Vec<String> {
    let password = secret_file(home, "reader-password", READER_PASSWORD);
    let ca = slapd.ca();
    let arguments = ["ldap", "setup", uri, BASE, READER, "--ca-cert", &ca, "--password-file", &password];
    arguments.iter().chain(more).map(|argument| (*argument).to_owned()).collect()
}

fn run(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// Groups of the directory with a role.
pub(super) const GROUPS: [&str; 4] = ["--org-admin-group", "operators", "--regular-group", "people"];

#[test]
fn a_directory_is_set_up_over_tls_tested_changed_and_removed() {
    let (home, slapd) = (home_with_admin(), Slapd::start());
    let view = home.ok(&run(&set_up(&home, &slapd, &slapd.ldaps(), &GROUPS)));
    assert_eq!((&view["enabled"], &view["server_type"]), (&json!(true), &json!("ldap")));
    assert_eq!(view["role_groups"], json!({ "org-admin": "operators", "regular": "people" }));
    assert_eq!(view["ca_fingerprints"].as_array().expect("certificates").len(), 1);
    assert_eq!(home.ok(&["ldap"]), view);

    let tested = home.ok(&["ldap", "test", "dora"]);
    let dora = format!("uid=dora,ou=people,{BASE}");
    assert_eq!((&tested["user"]["dn"], &tested["user"]["role"]), (&json!(dora), &json!("org-admin")));
    let password = secret_file(&home, "dora", slapd::PASSWORD);
    let tested = home.ok(&["ldap", "test", "dora", "--password-file", &password]);
    assert_eq!(tested["user"]["password"], json!(true));
    assert_eq!(home.ok(&["ldap", "test", "nobody"])["user"]["dn"], Value::Null);
    assert_eq!(home.ok(&["ldap", "test", "frank"])["user"]["role"], Value::Null, "no group with a role");

    let changed = home.ok(&["ldap", "update", "--regular-group", "", "--read-only-group", "people"]);
    assert_eq!(changed["role_groups"], json!({ "org-admin": "operators", "read-only": "people" }));
    let changed = home.ok(&["ldap", "update", "--server-uri", &slapd.ldap(), "--start-tls"]);
    assert_eq!(changed["start_tls"], json!(true));
    home.ok(&["ldap", "test"]);
    assert_eq!(home.ok(&["ldap", "disable"])["enabled"], json!(false));
    assert_eq!(home.ok(&["ldap", "enable"])["enabled"], json!(true));
    home.ok(&["audit", "verify"]);
    home.ok(&["doctor"]);
    home.ok(&["ldap", "reset"]);
    let refusal = home.refused(&["ldap"]);
    assert_eq!((refusal.exit, refusal.code.as_str()), (1, "account.no_ldap"));
    let log = home.ok(&["audit", "list"]);
    let actions: Vec<_> = log.as_array().expect("entries").iter().map(|entry| &entry["action"]).collect();
    let of_ldap: Vec<_> =
        actions.into_iter().filter_map(Value::as_str).filter(|action| action.starts_with("ldap.")).collect();
    let set = "ldap.set";
    assert_eq!(of_ldap, ["ldap.key", set, set, set, set, set, "ldap.reset"]);
    home.ok(&["audit", "verify"]);
    assert!(!log.to_string().contains(READER_PASSWORD), "no secret in the log");
}

#[test]
fn the_password_of_the_reader_is_encrypted_and_never_shown() {
    let home = Home::empty();
    let passphrase = secret_file(&home, "passphrase", "correct horse battery staple");
    let inside = ["--passphrase-file", passphrase.as_str()];
    home.ok(&["initialize", "prod", inside[0], inside[1]]);
    let slapd = Slapd::start();
    let mut arguments = set_up(&home, &slapd, &slapd.ldaps(), &GROUPS);
    arguments.extend(inside.map(str::to_owned));
    home.ok(&run(&arguments));
    for file in ["ca.db", "ca.db-wal", "ldap.key"] {
        let bytes = fs::read(home.path(file)).unwrap_or_default();
        let has = bytes.windows(READER_PASSWORD.len()).any(|part| part == READER_PASSWORD.as_bytes());
        assert!(!has, "{file} has the password");
    }
    let key = fs::read_to_string(home.path("ldap.key")).expect("a key");
    assert!(key.contains("ENCRYPTED PRIVATE KEY"), "protected as the root is");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(home.path("ldap.key")).expect("metadata").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    assert!(!home.ok(&["ldap", "show"]).to_string().contains(READER_PASSWORD));
    home.ok(&["ldap", "test", inside[0], inside[1]]);
    // Without the key, as after a restore, the password is given again.
    fs::remove_file(home.path("ldap.key")).expect("removed");
    home.refused(&["ldap", "test", inside[0], inside[1]]);
    let password = secret_file(&home, "again", READER_PASSWORD);
    home.ok(&["ldap", "update", "--password-file", &password, inside[0], inside[1]]);
    home.ok(&["ldap", "test", inside[0], inside[1]]);
}

#[test]
fn a_directory_that_fails_the_test_is_not_stored() {
    let (home, slapd) = (home_with_admin(), Slapd::with("localhost"));
    let before = home.ok(&["audit", "list"]);
    let other = Home::initialized();
    let refused = |uri: &str, more: &[&str]| {
        let arguments = set_up(&home, &slapd, uri, &[&GROUPS[..], more].concat());
        let refusal = home.refused(&run(&arguments));
        assert!(!refusal.words().contains(READER_PASSWORD), "{refusal:?}");
        (refusal.exit, refusal.code)
    };
    // The certificate is for another host: over ldaps, and by StartTLS.
    assert_eq!(refused(&slapd.ldaps(), &[]), (4, "ldap.untrusted".to_owned()));
    assert_eq!(refused(&slapd.ldap(), &["--start-tls"]), (4, "ldap.untrusted".to_owned()));
    let named = |uri: String| uri.replace("127.0.0.1", "localhost");
    home.ok(&run(&set_up(&home, &slapd, &named(slapd.ldaps()), &GROUPS)));
    home.ok(&["ldap", "reset"]);
    // Another CA.
    let ca = other.path("cluster.crt").display().to_string();
    let password = secret_file(&home, "reader-password", READER_PASSWORD);
    let uri = named(slapd.ldaps());
    let arguments = ["ldap", "setup", &uri, BASE, READER, "--ca-cert", &ca, "--password-file", &password];
    let refusal = home.refused(&[&arguments[..], &GROUPS].concat());
    assert_eq!((refusal.exit, refusal.code.as_str()), (4, "ldap.untrusted"));
    // Wrong password of the reader, and a base that does not exist.
    let wrong = secret_file(&home, "wrong", "wrong");
    let ca = slapd.ca();
    let arguments = ["ldap", "setup", &uri, BASE, READER, "--ca-cert", &ca, "--password-file", &wrong];
    assert_eq!(home.refused(&[&arguments[..], &GROUPS].concat()).code, "ldap.reader");
    let arguments =
        ["ldap", "setup", &uri, "dc=other", READER, "--ca-cert", &ca, "--password-file", &password];
    assert_eq!(home.refused(&[&arguments[..], &GROUPS].concat()).code, "ldap.refused");
    // Nothing listens.
    let free = TcpListener::bind("127.0.0.1:0").expect("a socket").local_addr().expect("an address");
    assert_eq!(refused(&format!("ldaps://{free}"), &[]), (4, "ldap.unavailable".to_owned()));
    home.refused(&["ldap"]);
    let actions = |log: &Value| {
        let entries = log.as_array().expect("entries").iter();
        entries.filter(|entry| entry["action"] == "ldap.set").count()
    };
    assert_eq!(actions(&home.ok(&["audit", "list"])), actions(&before) + 1);
    home.ok(&run(&set_up(
        &home,
        &slapd,
        &format!("ldaps://{free}"),
        &[&GROUPS[..], &["--no-test"]].concat(),
    )));
}

#[test]
fn a_password_leaves_this_machine_with_tls_or_not_at_all() {
    let (home, slapd) = (home_with_admin(), Slapd::start());
    let more = [&GROUPS[..], &["--no-test"]].concat();
    for uri in ["ldap://ldap.example.com", "ldap://192.0.2.1", "192.0.2.1:1389"] {
        let refusal = home.refused(&run(&set_up(&home, &slapd, uri, &more)));
        assert_eq!((refusal.exit, refusal.code.as_str()), (1, "ldap.clear_text"), "{uri}");
    }
    let refusal =
        home.refused(&run(&set_up(&home, &slapd, "ldaps://a", &[&more[..], &["--start-tls"]].concat())));
    assert_eq!((refusal.exit, refusal.code.as_str()), (2, "input.ldap"));
    // An address of this machine that is not a loopback address, where it has one.
    let probe = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    if let Ok(own) = probe.map(|address| address.ip())
        && !own.is_loopback()
    {
        let uri = format!("ldap://{own}:389");
        assert_eq!(home.refused(&run(&set_up(&home, &slapd, &uri, &more))).code, "ldap.clear_text");
    }
    // A server without StartTLS gets no password.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let uri = format!("ldap://{}", listener.local_addr().expect("an address"));
    let seen = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut socket, _) = listener.accept().expect("a client");
        let mut request = [0; 1024];
        let length = socket.read(&mut request).expect("a request");
        // extendedResp with the result protocolError.
        socket.write_all(&[0x30, 12, 2, 1, 1, 0x78, 7, 10, 1, 2, 4, 0, 4, 0]).expect("written");
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest);
        [&request[..length], &rest].concat()
    });
    let refusal = home.refused(&run(&set_up(&home, &slapd, &uri, &[&GROUPS[..], &["--start-tls"]].concat())));
    assert_eq!(refusal.code, "ldap.refused", "{refusal:?}");
    let seen = seen.join().expect("a thread");
    assert!(!seen.windows(6).any(|part| part == b"reader"), "neither name nor password: {seen:02x?}");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let (home, slapd) = (home_with_admin(), Slapd::start());
    let uri = slapd.ldaps();
    let refused = |more: &[&str]| {
        let refusal = home.refused(&run(&set_up(&home, &slapd, &uri, more)));
        (refusal.exit, refusal.code)
    };
    assert_eq!(refused(&[]), (2, "input.ldap".to_owned()), "no group");
    assert_eq!(refused(&["--regular-group", "a\u{7}"]).1, "input.ldap");
    let with = |more: &[&'static str]| [&GROUPS[..], more].concat();
    for more in [
        with(&["--user-id-attribute", "uid)(x=*"]),
        with(&["--group-object-class", ""]),
        with(&["--server-timeout", "1h"]),
    ] {
        assert_eq!(refused(&more), (2, "input.ldap".to_owned()), "{more:?}");
    }
    home.ok(&["org", "create", "research"]);
    let more = ["--cluster-admin-group", "operators", "--org", "research"];
    assert_eq!(refused(&more), (1, "account.role_outside_root".to_owned()));
    assert_eq!(refused(&with(&["--org", "nowhere"])).1, "account.unknown_organization");
    home.ok(&run(&set_up(&home, &slapd, &uri, &with(&["--org", "research"]))));
    let refusal = home.refused(&["org", "delete", "research"]);
    assert_eq!(refusal.code, "account.organization_has_ldap");
    home.ok(&["ldap", "reset", "--org", "research"]);
    home.ok(&["org", "delete", "research"]);
}

#[test]
fn a_directory_that_another_program_changed_is_refused() {
    let (home, slapd) = (home_with_admin(), Slapd::start());
    home.ok(&run(&set_up(&home, &slapd, &slapd.ldaps(), &GROUPS)));
    let connection = rusqlite::Connection::open(home.path("ca.db")).expect("the inventory");
    let sql = "UPDATE ldap SET settings = replace(settings, 'operators', 'people')";
    assert_eq!(connection.execute(sql, []).expect("changed"), 1);
    drop(connection);
    assert_eq!(home.refused(&["ldap"]).code, "store.inconsistent");
    home.refused(&["audit", "verify"]);
}

#[test]
fn the_api_manages_a_directory_for_those_who_may() {
    let (home, slapd) = (home_with_admin(), Slapd::start());
    home.ok(&["org", "create", "research"]);
    add_user(&home, "bob", "research", "org-admin");
    add_user(&home, "carol", "research", "regular");
    let server = Server::on(home, &[]);
    let [alice, bob, carol] = [("Root", "alice"), ("research", "bob"), ("research", "carol")]
        .map(|(org, user)| server.token(org, user));
    let ca = fs::read_to_string(slapd.ca()).expect("a certificate");
    let new = json!({
        "server_uri": slapd.ldaps(),
        "base_dn": BASE,
        "reader": READER,
        "reader_password": READER_PASSWORD,
        "ca_certificate": ca,
        "role_groups": { "regular": "people" },
    });
    let call = |method, path: &str, token: &str, body: Option<&Value>| {
        server.call(method, path, Some(token), body.cloned())
    };
    let path = "/ldap?org=research";
    assert_eq!(call("GET", path, &alice, None).code(), "account.no_ldap");
    for token in [&bob, &carol] {
        assert_eq!(call("PUT", path, token, Some(&new)).status, 403, "cluster-admins only");
    }
    let set = call("PUT", path, &alice, Some(&new));
    assert_eq!((set.status, set.text("organization").as_str()), (200, "research"), "{set:?}");
    assert!(!set.body.to_string().contains(READER_PASSWORD));
    assert_eq!(call("GET", "/ldap", &bob, None).body, set.body, "an org-admin reads its own");
    assert_eq!(call("GET", "/ldap?org=Root", &bob, None).code(), "account.unknown_organization");
    assert_eq!(call("GET", "/ldap", &carol, None).status, 403);
    assert_eq!(call("GET", "/ldap", &alice, None).status, 404);
    let tested = call("POST", "/ldap/test?org=research", &alice, Some(&json!({ "user": "eva" })));
    assert_eq!(tested.body["user"]["dn"], json!(format!("cn=Smith\\2C Eva+uid=eva,ou=people,{BASE}")));
    assert_eq!(tested.body["user"]["role"], json!("regular"), "a name with escapes has its groups");
    assert_eq!(call("POST", "/ldap/test", &bob, Some(&json!({}))).status, 403);
    let wrong = json!({ "reader": READER, "reader_password": "wrong" });
    assert_eq!(call("PATCH", path, &alice, Some(&wrong)).code(), "ldap.reader");
    assert_eq!(call("PATCH", path, &alice, Some(&json!({ "domain": "a" }))).code(), "server.body");
    assert_eq!(call("PATCH", path, &alice, Some(&json!({ "role": "a" }))).code(), "server.body");
    let disabled = call("PATCH", path, &alice, Some(&json!({ "enabled": false })));
    assert_eq!(disabled.body["enabled"], json!(false));
    assert_eq!(call("DELETE", path, &bob, None).status, 403);
    assert_eq!(call("DELETE", path, &alice, None).status, 200);
    let mut incomplete = new;
    incomplete["reader_password"].take();
    assert_eq!(call("PUT", path, &alice, Some(&incomplete)).code(), "server.body");
    let by = &server.audited("ldap.set")[0]["actor"];
    assert!(by.as_str().expect("text").starts_with("Root/alice@127.0.0.1"), "{by}");
}
