//! The certificate that the server presents, and the first administrator of a new home.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::harness::{OTHER, Server, home_with_admin, secret_file};
use crate::eventually::eventually;
use crate::home::Home;

/// A certificate of another CA for 127.0.0.1, and its key.
struct Pair {
    pki: Home,
    certificate: String,
    key: String,
}

impl Pair {
    fn issued() -> Self {
        let pki = Home::initialized();
        pki.ok(&["create-control", "127.0.0.1"]);
        let file = |end: &str| pki.path(format!("issued/control-127.0.0.1.{end}")).display().to_string();
        let (certificate, key) = (file("crt"), file("key"));
        Self { pki, certificate, key }
    }

    fn set(&self) -> [&str; 7] {
        ["security", "tls", "set", "--certificate", &self.certificate, "--private-key", &self.key]
    }
}

/// SHA-256 of the certificate that a new connection gets.
fn presented(server: &Server) -> String {
    let address = format!("127.0.0.1:{}", server.port);
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .expect("openssl");
    let mut child = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl");
    child.stdin.take().expect("a pipe").write_all(&output.stdout).expect("written");
    let text = String::from_utf8(child.wait_with_output().expect("an end").stdout).expect("text");
    text.rsplit('=').next().unwrap_or_default().trim().replace(':', "").to_lowercase()
}

/// Reads one response: its status line.
fn response(from: &mut BufReader<ChildStdout>) -> String {
    let mut status = String::new();
    from.read_line(&mut status).expect("a status");
    let mut length = 0;
    loop {
        let mut line = String::new();
        from.read_line(&mut line).expect("a header");
        let line = line.trim().to_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().expect("a length");
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).expect("a body");
    status
}

#[test]
fn a_certificate_is_replaced_while_connections_stay_open() {
    let (server, pair) = (Server::start(), Pair::issued());
    let own = presented(&server);
    assert_eq!(server.home.ok(&["security", "tls"])["user_defined"], json!(false));
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-no_ign_eof", "-connect", &format!("127.0.0.1:{}", server.port)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    let mut to = client.stdin.take().expect("a pipe");
    let mut from = BufReader::new(client.stdout.take().expect("a pipe"));
    let request = b"GET /api/v1/security/banner HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    to.write_all(request).and_then(|()| to.flush()).expect("sent");
    assert!(response(&mut from).contains("200"));

    let set = server.home.ok(&pair.set());
    let fingerprint = set["certificate"]["fingerprint"].as_str().expect("a digest").to_owned();
    assert_eq!(
        (&set["user_defined"], &set["certificate"]["names"]),
        (&json!(true), &json!(["control-service", "127.0.0.1"]))
    );
    eventually("the new certificate is presented", || (presented(&server) == fingerprint).then_some(()));
    to.write_all(request).and_then(|()| to.flush()).expect("sent");
    assert!(response(&mut from).contains("200"), "the connection has stayed open");
    client.kill().expect("killed");
    client.wait().expect("an end");

    // Clients verify it with its own CA.
    let ca = pair.pki.path("cluster.crt").display().to_string();
    let password = secret_file(&server.home, "password", super::harness::PASSWORD);
    let login = ["login", "alice", "--password-file", &password];
    assert_eq!(server.command(&login).refusal().code, "api.untrusted");
    server.command(&[&login[..], &["--ca", &ca]].concat()).result();
    let copy = server.home.path("copy.crt").display().to_string();
    server.home.ok(&["security", "tls", "download", &copy]);
    assert_eq!(fs::read(&copy).expect("a copy"), fs::read(&pair.certificate).expect("a certificate"));

    // Another one: the former key is removed.
    let next = Pair::issued();
    server.home.ok(&next.set());
    let keys = || {
        let all = fs::read_dir(server.home.path("")).expect("a directory");
        let names = all.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
        names.filter(|name| name.starts_with("server-")).count()
    };
    assert_eq!(keys(), 1);
    server.home.ok(&["security", "tls", "unset"]);
    assert_eq!(keys(), 0);
    eventually("its own certificate is presented again", || (presented(&server) == own).then_some(()));
    assert_eq!(server.home.refused(&["security", "tls", "unset"]).code, "tls.not_set");
    server.home.ok(&["audit", "verify"]);
    server.home.ok(&["doctor"]);
    assert_eq!((server.audited("tls.set").len(), server.audited("tls.unset").len()), (2, 1));
}

#[test]
fn a_pair_that_clients_would_refuse_is_refused_first() {
    let (home, pair, other) = (home_with_admin(), Pair::issued(), Pair::issued());
    let refused = |certificate: &str, key: &str| {
        let arguments = ["security", "tls", "set", "--certificate", certificate, "--private-key", key];
        let refusal = home.refused(&arguments);
        assert_eq!(refusal.exit, 1, "{refusal:?}");
        refusal.code
    };
    let read = |path: &str| fs::read_to_string(path).expect("a file");
    let write = |name: &str, text: String| home.write(name, text).display().to_string();
    assert_eq!(refused(&pair.certificate, &other.key), "tls.key_mismatch");
    let root = pair.pki.path("cluster.crt").display().to_string();
    let root_key = pair.pki.path("cluster.key").display().to_string();
    assert_eq!(refused(&root, &root_key), "tls.ca_first");
    let strange = read(&pair.certificate) + &read(&other.pki.path("cluster.crt").display().to_string());
    assert_eq!(refused(&write("strange", strange), &pair.key), "tls.chain");
    pair.pki.ok(&["create-api-user", "bob"]);
    let file = |end: &str| pair.pki.path(format!("issued/user-bob.{end}")).display().to_string();
    assert_eq!(refused(&file("crt"), &file("key")), "tls.purpose");
    let loose = write("loose", read(&pair.key));
    fs::set_permissions(&loose, Permissions::from_mode(0o644)).expect("chmod");
    let arguments = ["security", "tls", "set", "--certificate", &pair.certificate, "--private-key", &loose];
    assert_eq!(home.refused(&arguments).code, "file.exposed");
    assert!(!home.path("server.crt").exists());
    // A whole chain is accepted.
    let whole = read(&pair.certificate) + &read(&root);
    let whole = write("whole", whole);
    let arguments = ["security", "tls", "set", "--certificate", &whole, "--private-key", &pair.key];
    assert_eq!(home.ok(&arguments)["certificate"]["chain"], json!(2));
    home.ok(&["doctor"]);
}

#[test]
fn the_key_of_the_server_is_protected_as_the_root_is() {
    let home = Home::empty();
    let passphrase = secret_file(&home, "passphrase", "correct horse battery staple");
    let inside = ["--passphrase-file", passphrase.as_str()];
    home.ok(&["initialize", "prod", inside[0], inside[1]]);
    let pair = Pair::issued();
    home.ok(&[&pair.set()[..], &inside].concat());
    let key = fs::read_dir(home.path("")).expect("a directory").find_map(|entry| {
        let path = entry.expect("an entry").path();
        let name = path.file_name()?.to_str()?.to_owned();
        name.starts_with("server-").then(|| fs::read_to_string(path).expect("a key"))
    });
    assert!(key.expect("a key").contains("ENCRYPTED PRIVATE KEY"));
    let server = Server::on(home, &inside);
    let fingerprint = server.home.ok(&["security", "tls"])["certificate"]["fingerprint"].clone();
    assert_eq!(json!(presented(&server)), fingerprint, "from the start");
}

#[test]
fn the_api_sets_the_certificate_for_cluster_admins() {
    let (server, pair) = (Server::start(), Pair::issued());
    let token = server.token("Root", "alice");
    let read = |path: &str| fs::read_to_string(path).expect("a file");
    let body = json!({ "certificate": read(&pair.certificate), "private_key": read(&pair.key) });
    assert_eq!(
        server.call("GET", "/security/tls", Some(&token), None).body,
        json!({ "user_defined": false, "certificate": null })
    );
    assert_eq!(server.call("DELETE", "/security/tls", Some(&token), None).status, 404);
    let set = server.call("PUT", "/security/tls", Some(&token), Some(body));
    assert_eq!((set.status, &set.body["user_defined"]), (200, &json!(true)), "{set:?}");
    eventually("the new certificate is presented", || {
        (json!(presented(&server)) == set.body["certificate"]["fingerprint"]).then_some(())
    });
    assert!(!server.home.ok(&["audit", "list"]).to_string().contains("PRIVATE KEY"));
}

#[test]
fn the_first_start_creates_an_administrator_with_a_password_of_its_own() {
    let first_password = |server: &Server| {
        let file = server.home.path("first-password");
        let mode = fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::read_to_string(file).expect("a password").trim().to_owned()
    };
    let server = Server::on(Home::initialized(), &[]);
    let password = first_password(&server);
    let login = server.log_in("Root", "admin", &password);
    assert_eq!((login.status, &login.body["password_change_required"]), (200, &json!(true)), "{login:?}");
    let token = login.text("access_token");
    assert_eq!(server.call("GET", "/users", Some(&token), None).code(), "account.password_change_required");
    let body = json!({ "old_password": password, "new_password": OTHER });
    assert_eq!(server.call("PUT", "/users/admin/password", Some(&token), Some(body)).status, 200);
    assert!(!server.home.path("first-password").exists(), "used up");
    assert_eq!(server.log_in("Root", "admin", &password).status, 401);
    assert_eq!(server.log_in("Root", "admin", OTHER).status, 200);
    server.home.ok(&["audit", "verify"]);
    let (_, home) = server.terminate();
    let server = Server::on(home, &[]);
    assert!(!server.home.path("first-password").exists(), "once only");
    let other = Server::on(Home::initialized(), &[]);
    assert_ne!(first_password(&other), password);
    // A home with users, or with an operator in the configuration, needs none.
    let server = Server::start();
    let users: Value = server.home.ok(&["user", "list"]);
    assert_eq!(users.as_array().expect("users").len(), 1);
}
