//! Requests of attackers: refused, without an effect and without a detail that helps.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::json;

use super::running::{Server, csr, home};

#[test]
fn unknown_and_repeated_fields_of_a_body_are_refused() {
    let server = Server::start();
    let csr = csr(&server.home, "mallory");
    let before = server.home.ok(&["list"]);
    for more in [
        r#""serial_number": "01""#,
        r#""role": "control-service""#,
        r#""profile": "root""#,
        r#""issuer": {}"#,
        r#""output": "/tmp""#,
    ] {
        let body = format!(r#"{{ "role": "api-user", "name": "mallory", "csr": {}, {more} }}"#, json!(csr));
        let answer = server.call(
            Some("admin"),
            "/api/v1/certificates",
            &["--header", "content-type: application/json", "--data-binary", &body],
        );
        assert_eq!(answer.problem(), (400, "server.body".to_owned()), "{more}");
    }
    assert_eq!(server.home.ok(&["list"]), before);
}

#[test]
fn bodies_that_are_too_large_or_of_another_type_are_refused() {
    let server = Server::start_in(home(), "limits: { request_body: 4KiB }\n");
    let large = "a".repeat(5_000);
    let send = |arguments: &[&str]| server.call(Some("admin"), "/api/v1/certificates", arguments).problem();
    let json = ["--header", "content-type: application/json", "--data-binary"];
    assert_eq!(send(&[json[0], json[1], json[2], &large]), (413, "server.body_too_large".to_owned()));
    assert_eq!(send(&["--data-binary", "{}"]), (415, "server.content_type".to_owned()), "a form");
    assert_eq!(send(&["--header", "content-type: text/plain", "--data-binary", "{}"]).0, 415);
    for body in ["", "[]", "{", "null", "{\"role\": 1}"] {
        let code = send(&[json[0], json[1], json[2], body]);
        assert_eq!(code, (400, "server.body".to_owned()), "{body:?}");
    }
}

#[test]
fn a_body_that_never_ends_takes_no_longer_than_a_request_may() {
    let server = Server::start_in(home(), "limits: { request_timeout: 1s }\n");
    let file = |name: &str| server.home.path(name);
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &server.address, "-cert"])
        .arg(file("issued/user-admin.crt"))
        .arg("-key")
        .arg(file("issued/user-admin.key"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    let mut stdin = client.stdin.take().expect("stdin");
    let head = "POST /api/v1/certificates HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    write!(stdin, "{head}content-length: 100\r\n\r\n{{").expect("the begin of a request");
    let mut status = [0; 12];
    client.stdout.take().expect("stdout").read_exact(&mut status).expect("a response");
    assert_eq!(&status, b"HTTP/1.1 503");
    drop(stdin);
    let _ = client.kill();
    client.wait().expect("openssl");
    assert_eq!(server.get("admin", "/api/v1/whoami").status, 200);
}

#[test]
fn a_handshake_that_never_ends_is_closed_in_time() {
    let server = Server::start_in(home(), "limits: { handshake_timeout: 1s }\n");
    let mut stream = TcpStream::connect(&server.address).expect("a connection");
    stream.write_all(b"\x16\x03\x01").expect("bytes");
    let mut rest = Vec::new();
    // The end of the stream, or a reset: both end the connection.
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(server.get("admin", "/api/v1/whoami").status, 200);
}

#[test]
fn paths_that_only_look_like_an_endpoint_are_unknown() {
    let server = Server::start();
    for path in [
        "/api/v1/whoami/",
        "//api/v1/whoami",
        "/api//v1/whoami",
        "/api/v1/./whoami",
        "/api/v1/../v1/whoami",
        "/api/v1/x/../whoami",
        "/api/v1/%77hoami",
        "/api/v1/whoami%00",
        "/API/v1/whoami",
        "/api/v1/whoami;x",
        "/api/v1/certificates/",
        "/api/v1/certificates/a/b/pem",
        "/",
        "/metrics",
    ] {
        for version in ["--http1.1", "--http2"] {
            let answer = server.call(Some("admin"), path, &[version]);
            assert_eq!(answer.problem(), (404, "server.no_such_path".to_owned()), "{path}");
        }
    }
    for serial in ["..", "/pem", "%2e%2e", "%2e%2e%2f%2e%2e", "zz", "'%20OR%201=1", "%00"] {
        let answer = server.call(Some("admin"), &format!("/api/v1/certificates/{serial}"), &[]);
        assert_eq!(answer.problem(), (400, "server.serial_number".to_owned()), "{serial}");
    }
    for method in ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS"] {
        let answer = server.call(Some("admin"), "/api/v1/whoami", &["-X", method]);
        assert_eq!(answer.problem(), (405, "server.method_not_allowed".to_owned()), "{method}");
    }
    let head = server.call(Some("admin"), "/api/v1/whoami", &["--head"]);
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn a_certificate_of_another_cluster_and_a_revoked_one_end_the_handshake() {
    let server = Server::start();
    let other = home();
    let foreign = server
        .curl(None, "/api/v1/whoami", &[])
        .arg("--cert")
        .arg(other.path("issued/user-admin.crt"))
        .arg("--key")
        .arg(other.path("issued/user-admin.key"))
        .output()
        .expect("curl");
    assert!(!foreign.status.success() && foreign.stdout.is_empty(), "{foreign:?}");
    assert_eq!(server.get("reader", "/api/v1/whoami").status, 200);
    server.home.ok(&["revoke", "api-user/reader"]);
    crate::eventually::eventually("the revoked caller is refused", || {
        let output = server.curl(Some("reader"), "/api/v1/whoami", &[]).output().expect("curl");
        (!output.status.success()).then_some(())
    });
    crate::eventually::eventually("the reason is logged", || {
        let lines = server.access_log(1);
        lines.iter().any(|line| line["reason"] == "revocation.revoked").then_some(())
    });
}

#[test]
fn plain_http_is_answered_with_a_remark_and_nothing_else() {
    let server = Server::start();
    let mut stream = TcpStream::connect(&server.address).expect("a connection");
    stream.write_all(b"GET /api/v1/openapi.json HTTP/1.1\r\nhost: a\r\n\r\n").expect("a request");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("requires https"), "{answer}");
}

#[test]
fn connections_of_one_address_are_limited() {
    let server = Server::start_in(home(), "limits: { connections_per_address: 2 }\n");
    let held: Vec<TcpStream> =
        (0..2).map(|_| TcpStream::connect(&server.address).expect("a connection")).collect();
    crate::eventually::eventually("a third connection is closed", || {
        let output = server.curl(Some("admin"), "/api/v1/whoami", &[]).output().expect("curl");
        (!output.status.success()).then_some(())
    });
    drop(held);
    crate::eventually::eventually("the address may connect again", || {
        let output = server.curl(Some("admin"), "/api/v1/whoami", &[]).output().expect("curl");
        output.status.success().then_some(())
    });
}

#[test]
fn the_access_log_holds_no_query_and_no_body() {
    let server = Server::start();
    server.get("reader", "/api/v1/certificates?name=hush-hush");
    server.post("admin", "/api/v1/certificates", &json!({ "role": "hush-hush" }));
    let lines = server.access_log(2);
    assert!(!json!(lines).to_string().contains("hush-hush"), "{lines:?}");
    assert!(lines.iter().all(|line| line["time"].as_str().is_some_and(|time| time.ends_with('Z'))));
}
