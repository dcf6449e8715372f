//! The server as a process: check, start, reload, own certificate, graceful stop.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::running::{Server, configuration, home};
use crate::eventually::eventually;
use crate::home::Home;

/// Serial number of the certificate that a server presents.
fn served(server: &Server) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &server.address])
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl");
    let file = server.home.write("served.pem", &output.stdout);
    let read = Command::new("openssl").args(["x509", "-noout", "-serial", "-in"]).arg(file).output();
    String::from_utf8(read.expect("openssl").stdout)
        .expect("text")
        .trim()
        .to_lowercase()
        .replace("serial=", "")
}

#[test]
fn a_check_reports_every_problem_and_issues_nothing() {
    let home = home();
    let file = home.write("server.yaml", configuration(""));
    let path = file.to_str().expect("text");
    let before = home.state();
    let checked = home.ok(&["serve", "--check", "--config", path]);
    assert_eq!(
        (&checked["operators"], &checked["certificate"], &checked["key_protected"]),
        (&json!(4), &json!(null), &json!(false))
    );
    assert!(before == home.state());
    home.write("server.yaml", "listen: here\nodd: 1\n");
    let refused = home.refused(&["serve", "--check", "--config", path]);
    assert_eq!((refused.exit, refused.code.as_str(), refused.causes.len()), (1, "server.configuration", 3));
    assert!(
        refused.words().contains("server.yaml:1: listen: `here` is not an address"),
        "{}",
        refused.words()
    );
    let refused = home.refused(&["serve", "--config", path]);
    assert_eq!(refused.code, "server.configuration");
}

#[test]
fn a_server_warns_of_a_root_key_that_is_not_protected_at_every_start() {
    let plain = Server::start();
    plain.hears("the root key is not protected");
    let home = home();
    let passphrase = home.write("passphrase", "correct horse battery staple\n");
    fs::set_permissions(&passphrase, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("chmod");
    let option = ["--passphrase-file", passphrase.to_str().expect("text")];
    home.ok(&["key", "protect", option[0], option[1]]);
    let refused = home.refused(&[
        "serve",
        "--config",
        home.write("server.yaml", configuration("")).to_str().expect("text"),
    ]);
    assert_eq!(refused.code, "key.passphrase_needed");
    let server = Server::run(home, "", &option);
    assert!(!server.said().contains("not protected"), "{}", server.said());
    // Opened once: the secret is not needed again.
    fs::remove_file(&passphrase).expect("the passphrase is removed");
    let serial = server.serial("stranger");
    let done = server.post("admin", &format!("/api/v1/certificates/{serial}/hold"), &json!({}));
    assert_eq!(done.status, 200, "{done:?}");
}

#[test]
fn commands_and_server_change_one_home_at_the_same_time() {
    let server = Server::start();
    std::thread::scope(|scope| {
        let commands = scope.spawn(|| {
            for number in 0..5 {
                server.home.ok(&["create-api-user", &format!("by-command-{number}")]);
            }
        });
        for number in 0..5 {
            let csr = super::running::csr(&server.home, &format!("by-api-{number}"));
            let body = json!({ "role": "api-user", "name": format!("by-api-{number}"), "csr": csr });
            assert_eq!(server.post("admin", "/api/v1/certificates", &body).status, 201);
        }
        commands.join().expect("the commands");
    });
    assert_eq!(server.home.ok(&["list", "--name", "by-*"]).as_array().map(Vec::len), Some(10));
    server.home.ok(&["audit", "verify"]);
}

#[test]
fn the_own_certificate_is_issued_kept_and_replaced_while_serving() {
    let mut server = Server::start();
    let first = served(&server);
    let listed = server.home.ok(&["list", "--role", "control-service"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert_eq!(listed[0]["serial_number"], first.as_str());
    // A client stays connected while the certificate is replaced.
    server.home.ok(&["rekey", "control-service/127.0.0.1"]);
    let second = eventually("the new certificate is served", || {
        Some(served(&server)).filter(|serial| *serial != first)
    });
    assert_eq!(server.get("admin", "/api/v1/whoami").status, 200);
    server.signal("-TERM");
    assert!(server.ended().success());
    let home = Home::duplicate(&server.home);
    let again = Server::start_in(home, "");
    assert_eq!(served(&again), second, "a restart issues no other one");
}

#[test]
fn a_certificate_that_is_due_is_renewed_at_the_start() {
    let home = home();
    let templates = home.path("templates");
    fs::create_dir_all(&templates).expect("a directory");
    for (name, text) in cluster_ca::profile::built_in() {
        fs::write(templates.join(name), text.replace("after: 0.66", "after: 0.01")).expect("a profile");
    }
    home.ok(&["create-control", "127.0.0.1", "--validity", "1h"]);
    let before = home.ok(&["show", "control-service/127.0.0.1"])["serial_number"].clone();
    let server = Server::run(home, "", &["--templates", templates.to_str().expect("text")]);
    let after = server.home.ok(&["show", "control-service/127.0.0.1"]);
    assert_eq!(after["supersedes"], before, "{after}");
    assert_eq!(served(&server), after["serial_number"].as_str().expect("a serial number"));
}

#[test]
fn a_certificate_that_lacks_a_host_is_refused_with_the_remedy() {
    let home = home();
    home.ok(&["create-control", "127.0.0.1"]);
    let file = home.write("server.yaml", "listen: 127.0.0.1:0\nhosts: [127.0.0.1, ca.example.com]\n");
    let refused = home.refused(&["serve", "--config", file.to_str().expect("text")]);
    assert_eq!((refused.exit, refused.code.as_str()), (1, "server.certificate_host"));
    assert!(refused.hint.contains("revoke"), "{refused:?}");
    let key = home.path("issued/control-127.0.0.1.key");
    fs::rename(&key, home.path("moved.key")).expect("the key is moved");
    home.write("server.yaml", configuration(""));
    let refused = home.refused(&["serve", "--config", file.to_str().expect("text")]);
    assert_eq!((refused.code.as_str(), refused.hint.is_empty()), ("server.certificate_key", false));
}

#[test]
fn a_reload_applies_operators_and_keeps_everything_when_the_file_is_wrong() {
    let server = Server::start();
    let file = server.home.path("server.yaml");
    assert_eq!(server.get("stranger", "/api/v1/whoami").status, 403);
    fs::write(&file, configuration("- { identity: api-user/stranger, role: regular }\n")).expect("the file");
    server.signal("-HUP");
    eventually("the new operator", || (server.get("stranger", "/api/v1/whoami").status == 200).then_some(()));
    fs::write(&file, "hosts: 127.0.0.1\nodd: 1\n").expect("the file");
    server.signal("-HUP");
    server.hears("server.yaml:2: odd: unknown key");
    assert_eq!(server.get("stranger", "/api/v1/whoami").status, 200);
    fs::write(&file, configuration("limits: { connections: 5 }\n")).expect("the file");
    server.signal("-HUP");
    server.hears("`limits` has changed: restart the server");
    eventually("the operator is gone", || {
        (server.get("stranger", "/api/v1/whoami").status == 403).then_some(())
    });
}

#[test]
fn a_stop_lets_requests_in_flight_finish() {
    let mut server = Server::start();
    server.get("admin", "/api/v1/whoami");
    server.signal("-TERM");
    assert!(server.ended().success());
    assert_eq!(server.access_log(1).len(), 1);
    let refused = server.curl(Some("admin"), "/api/v1/whoami", &[]).output().expect("curl");
    assert!(!refused.status.success());
}

#[test]
fn metrics_and_health_have_a_listener_of_their_own() {
    let server = Server::start_in(home(), "metrics: 127.0.0.1:0\n");
    let line = server.hears("metrics are served");
    let (_, address) = line.split_once("Some(").expect("an address");
    let address = address.split(')').next().expect("an address").to_owned();
    server.get("admin", "/api/v1/whoami");
    server.call(None, "/api/v1/whoami", &[]);
    let get = |path: &str| {
        let url = format!("http://{address}{path}");
        let output = Command::new("curl").args(["--silent", "--fail", &url]).output().expect("curl");
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(get("/healthz"), "serving\n");
    let metrics = get("/metrics");
    for line in [
        "cluster_ca_server_requests_total{status=\"2xx\"} 1",
        "cluster_ca_server_requests_total{status=\"4xx\"} 1",
        "cluster_ca_server_handshakes_total 2",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line}\n{metrics}");
    }
    assert_eq!(get("/api/v1/whoami"), "");
    assert_eq!(server.call(None, "/healthz", &[]).text(), "serving\n");
}

#[test]
fn tls_below_1_2_and_ciphers_without_authentication_are_refused() {
    let server = Server::start();
    let connects = |arguments: &[&str]| {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &server.address])
            .args(arguments)
            .stdin(std::process::Stdio::null())
            .output()
            .expect("openssl");
        String::from_utf8_lossy(&output.stdout).contains("BEGIN CERTIFICATE")
    };
    assert!(connects(&["-tls1_3"]) && connects(&["-tls1_2"]));
    assert!(!connects(&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]));
    assert!(!connects(&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"]));
}

#[test]
fn the_manual_page_of_the_configuration_is_printed() {
    let page = Home::empty().run(&["man", "server.yaml"]);
    assert_eq!(page.exit, Some(0), "{page:?}");
    assert!(page.stdout.contains("operators[]") && page.stdout.contains("0.0.0.0:14000"));
}
