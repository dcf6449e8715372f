//! `explain-failure` and `doctor --connect` against a live gateway: one cause and its remedy.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use serde_json::Value;

use crate::home::{Finished, Home};
use crate::live::Live;

/// A home with a control service on 127.0.0.1 and the user alice.
fn served() -> Home {
    let home = Home::initialized();
    home.ok(&["create-control", "127.0.0.1"]);
    home.ok(&["create-api-user", "alice"]);
    home
}

fn pair(home: &Home, stem: &str) -> [String; 4] {
    let path = |end: &str| home.path(format!("issued/{stem}.{end}")).to_str().expect("text").to_owned();
    ["--cert".to_owned(), path("crt"), "--key".to_owned(), path("key")]
}

fn explain(home: &Home, address: &str, caller: Option<&[String; 4]>, more: &[&str]) -> Finished {
    let mut arguments = vec!["--json", "explain-failure", address];
    arguments.extend(caller.into_iter().flatten().map(String::as_str));
    arguments.extend(more);
    home.run(&arguments)
}

/// The code of the cause.
fn cause(home: &Home, address: &str, caller: Option<&[String; 4]>, more: &[&str]) -> String {
    let finished = explain(home, address, caller, more);
    let result = &finished.json()["result"];
    assert_eq!((finished.exit, &result["works"]), (Some(1), &Value::Bool(false)), "{finished:?}");
    assert!(result["remedy"].is_string(), "{finished:?}");
    result["code"].as_str().expect("a code").to_owned()
}

#[test]
fn a_working_connection_is_reported_as_working() {
    let home = served();
    let live = Live::start(&home);
    let finished = explain(&home, &live.address, Some(&pair(&home, "user-alice")), &[]);
    assert_eq!(finished.result()["works"], Value::Bool(true), "{finished:?}");
}

#[test]
fn a_missing_client_certificate_is_reported() {
    let home = served();
    let live = Live::start(&home);
    assert_eq!(cause(&home, &live.address, None, &[]), "explain.certificate_demanded");
    let told = home.run(&["explain-failure", &live.address]);
    assert_eq!(told.stdout.lines().count(), 1, "one line: {told:?}");
}

#[test]
fn defects_of_the_client_certificate_are_reported() {
    let home = served();
    let live = Live::start(&home);
    let alice = pair(&home, "user-alice");
    let address = live.address.as_str();
    let days = |days| (crate::now() + time::Duration::days(days)).date().to_string();
    assert_eq!(cause(&home, address, Some(&alice), &["--at", &days(100)]), "chain.expired");

    let other = served();
    assert_eq!(cause(&home, address, Some(&pair(&other, "user-alice")), &[]), "chain.unknown_issuer");

    let mut mixed = alice.clone();
    mixed[3] = pair(&home, "control-127.0.0.1")[3].clone();
    assert_eq!(cause(&home, address, Some(&mixed), &[]), "explain.key_mismatch");

    home.ok(&["revoke", "api-user/alice"]);
    assert_eq!(cause(&home, address, Some(&alice), &[]), "revocation.revoked");
}

#[test]
fn a_certificate_without_its_key_is_verified_too() {
    let home = served();
    let live = Live::start(&home);
    let [_, certificate, _, key] = pair(&home, "user-alice");
    let explained = |home: &Home| {
        let finished = home.run(&["--json", "explain-failure", &live.address, "--cert", &certificate]);
        (finished.exit, finished.json()["result"].clone())
    };
    // The key is in the same directory.
    let (exit, found) = explained(&home);
    assert_eq!((exit, &found["works"]), (Some(0), &Value::Bool(true)), "{found}");
    std::fs::rename(&key, home.path("elsewhere")).expect("moved");
    let (exit, found) = explained(&home);
    assert_eq!((exit, &found["works"]), (Some(0), &Value::Null), "{found}");
    home.ok(&["revoke", "api-user/alice"]);
    let (exit, found) = explained(&home);
    assert_eq!((exit, &found["code"]), (Some(1), &"revocation.revoked".into()), "{found}");
}

#[test]
fn the_alert_of_the_server_gives_the_cause_otherwise() {
    let home = served();
    let stale = home.duplicate();
    let alice = pair(&stale, "user-alice");
    home.ok(&["revoke", "api-user/alice"]);
    let live = Live::start(&home);
    assert_eq!(cause(&stale, &live.address, Some(&alice), &[]), "explain.alert_revoked");
}

#[test]
fn defects_of_the_server_certificate_are_reported() {
    let home = served();
    let live = Live::start(&home);
    let other = served();
    assert_eq!(cause(&other, &live.address, Some(&pair(&other, "user-alice")), &[]), "chain.unknown_issuer");
    let misnamed = live.address.replace("127.0.0.1", "localhost");
    assert_eq!(cause(&home, &misnamed, Some(&pair(&home, "user-alice")), &[]), "chain.wrong_name");
    let named = home.run(&["explain-failure", &misnamed]);
    let said = format!("{}{}", named.stdout, named.stderr);
    assert!(said.contains("its host names are control-service, 127.0.0.1"), "{said}");
    let moved = Live::start_on(&home, "127.0.0.2");
    assert_eq!(cause(&home, &moved.address, Some(&pair(&home, "user-alice")), &[]), "chain.wrong_name");
}

#[test]
fn a_port_without_tls_differs_from_a_closed_one() {
    let home = served();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let plain = std::thread::spawn(move || {
        let (mut stream, _): (TcpStream, _) = listener.accept().expect("a caller");
        let _ = stream.read(&mut [0; 512]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    assert_eq!(cause(&home, &address, None, &[]), "explain.not_tls");
    plain.join().expect("it ends");
    // The listener is closed now.
    let refusal = explain(&home, &address, None, &[]).refusal();
    assert_eq!((refusal.exit, refusal.code.as_str()), (4, "network.refused"), "{refusal:?}");
    assert_eq!(explain(&home, "nowhere", None, &[]).refusal().exit, 2);
}

#[test]
fn a_client_machine_needs_only_its_own_files() {
    let home = served();
    let live = Live::start(&home);
    let desk = Home::empty();
    for name in ["cluster.crt", "issued/user-alice.crt", "issued/user-alice.key"] {
        let to = desk.path(PathBuf::from(name).file_name().expect("a name"));
        fs::copy(home.path(name), to).expect("a copy");
    }
    let path = |name: &str| desk.path(name).to_str().expect("text").to_owned();
    let alice = ["--cert".to_owned(), path("user-alice.crt"), "--key".to_owned(), path("user-alice.key")];
    let finished = explain(&desk, &live.address, Some(&alice), &["--ca", &path("cluster.crt")]);
    assert_eq!(finished.result()["works"], Value::Bool(true), "{finished:?}");
}

#[test]
fn the_doctor_examines_the_served_certificate() {
    let home = served();
    let live = Live::start(&home);
    let codes = |arguments: &[&str]| {
        let finished = home.run(&[&["--json", "doctor"], arguments].concat());
        let findings = finished.json()["result"]["findings"].as_array().expect("findings").clone();
        let is_note = |finding: &&Value| finding["severity"] != "note";
        let codes: Vec<String> = findings
            .iter()
            .filter(is_note)
            .map(|finding| finding["code"].as_str().expect("a code").to_owned())
            .collect();
        assert_eq!(finished.exit, Some(i32::from(!codes.is_empty())), "{finished:?}");
        codes
    };
    assert_eq!(codes(&["--connect", &live.address]), [""; 0]);
    let moved = Live::start_on(&home, "127.0.0.2");
    assert_eq!(codes(&["--connect", &moved.address]), ["chain.wrong_name"]);
    let soon = (crate::now() + time::Duration::days(70)).date().to_string();
    assert_eq!(codes(&["--connect", &live.address, "--at", &soon]), ["doctor.served_ends_soon"]);
    assert_eq!(codes(&["--connect", "127.0.0.1:1"]), ["network.refused"]);

    // On its own machine: with the home's files it would serve the new certificate at once.
    let remote = Live::on_a_machine(&home);
    home.ok(&["renew", "control-service/127.0.0.1"]);
    assert_eq!(codes(&["--connect", &remote.address]), ["doctor.served_superseded"]);
}
