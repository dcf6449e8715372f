//! CRL push: a change that is reported as enforced is enforced by every gateway.
//!
//! The gateways are real processes, each with its own files; dishonest ones are rustls servers.

mod fake;
mod refused;
mod restore;
mod roots;
mod states;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use cluster_ca::keys::PrivateKey;
use cluster_ca::x509::pem;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::crash::{killed_at, points};
use crate::eventually::PATIENCE;
use crate::home::{Finished, Home};
use crate::live::{Live, OPERATORS};

/// Home with a gateway's certificate, the operator admin and two users.
fn operated() -> Home {
    let home = Home::initialized();
    home.ok(&["create-control", "127.0.0.1"]);
    for user in ["admin", "alice", "bob"] {
        home.ok(&["create-api-user", user]);
    }
    home
}

/// Write `gateways.yaml` with these addresses.
fn list(home: &Home, addresses: &[&str]) {
    let entries: String = addresses.iter().map(|address| format!("  - address: {address}\n")).collect();
    home.write("gateways.yaml", format!("operator: api-user/admin\ngateways:\n{entries}"));
}

/// Home with `count` listed gateways.
fn fleet(count: usize) -> (Home, Vec<Live>) {
    let home = operated();
    let gateways: Vec<Live> = (0..count).map(|_| Live::on_a_machine(&home)).collect();
    list(&home, &gateways.iter().map(|gateway| gateway.address.as_str()).collect::<Vec<_>>());
    (home, gateways)
}

/// Run a command that pushes; returns it and the result of the push.
fn push(home: &Home, arguments: &[&str]) -> (Finished, Value) {
    let finished = home.run(&[&["--json"], arguments].concat());
    let result = finished.json()["result"].clone();
    let pushed = if result["pushed"].is_null() { result } else { result["pushed"].clone() };
    assert!(pushed["gateways"].is_array(), "{finished:?}");
    (finished, pushed)
}

/// Error code of the only gateway.
fn code(pushed: &Value) -> String {
    let gateways = pushed["gateways"].as_array().expect("gateways");
    assert_eq!((gateways.len(), &pushed["enforced"]), (1, &0.into()), "{pushed}");
    let error = &gateways[0]["error"];
    assert!(error["hint"].is_string(), "no hint: {pushed}");
    error["code"].as_str().unwrap_or_else(|| panic!("no code: {pushed}")).to_owned()
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Connection of the issued pair `stem` after one answered request.
fn connected(home: &Home, stem: &str, gateway: &Live) -> Tls {
    let path = |end: &str| home.path(format!("issued/{stem}.{end}"));
    let certificates = |path| pem::certificates(&fs::read(path).expect("a file")).expect("certificates");
    let mut roots = RootCertStore::empty();
    for root in certificates(home.path("cluster.crt")) {
        roots.add(root.der).expect("a root");
    }
    let chain = certificates(path("crt")).into_iter().map(|certificate| certificate.der).collect();
    let key = PrivateKey::open(&path("key")).expect("a key").to_pkcs8().expect("PKCS#8");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, PrivateKeyDer::Pkcs8(key))
        .expect("a pair");
    let stream = TcpStream::connect(&gateway.address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let mut tls = StreamOwned::new(ClientConnection::new(Arc::new(config), name).expect("TLS"), stream);
    assert!(call(&mut tls).starts_with("HTTP/1.1 200"), "{stem} is let in");
    tls
}

/// Request `whoami`; empty when the connection has ended.
fn call(tls: &mut Tls) -> String {
    let request = b"GET /.well-known/cluster/whoami HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    let mut answer = Vec::new();
    if tls.write_all(request).and_then(|()| tls.flush()).is_err() {
        return String::new();
    }
    while !answer.ends_with(b"}\n") {
        let mut bytes = [0; 1024];
        match tls.read(&mut bytes) {
            Ok(count) if count > 0 => answer.extend(&bytes[..count]),
            _ => break,
        }
    }
    String::from_utf8(answer).expect("text")
}

#[test]
fn revoke_waits_until_every_gateway_enforces_it_and_closed_connections() {
    let (home, gateways) = fleet(3);
    let mut alices: Vec<Tls> =
        gateways[..2].iter().map(|gateway| connected(&home, "user-alice", gateway)).collect();
    let mut bob = connected(&home, "user-bob", &gateways[0]);
    let (finished, pushed) = push(&home, &["revoke", "api-user/alice", "--wait"]);
    assert_eq!(finished.exit, Some(0), "{finished:?}");
    assert_eq!(
        (&pushed["enforced"], &pushed["crl_number"], &pushed["connections_closed"]),
        (&3.into(), &"2".into(), &2.into()),
        "{pushed}"
    );
    let cut: Vec<&Value> = pushed["gateways"]
        .as_array()
        .expect("gateways")
        .iter()
        .map(|one| &one["connections_closed"])
        .collect();
    assert_eq!(cut, [&Value::from(1), &1.into(), &0.into()], "{pushed}");
    for alice in &mut alices {
        assert_eq!(call(alice), "", "her connection has ended");
    }
    assert!(call(&mut bob).starts_with("HTTP/1.1 200"), "his goes on");
    assert_eq!(finished.json()["result"]["already"], Value::Bool(false), "the revocation is told as ever");
}

#[test]
fn the_text_output_counts_gateways_and_connections() {
    let (home, gateways) = fleet(2);
    let _alice = connected(&home, "user-alice", &gateways[0]);
    let told = home.run(&["revoke", "api-user/alice", "--wait"]);
    assert_eq!((told.exit, told.stderr.as_str()), (Some(0), ""), "{told:?}");
    let line = told.stdout.lines().last().expect("a line");
    let (before, after) = line.split_once(" after ").unwrap_or_else(|| panic!("{told:?}"));
    assert_eq!(before, "2/2 gateways enforce CRL 2");
    let (seconds, cut) = after.split_once(" s, ").unwrap_or_else(|| panic!("{told:?}"));
    assert!(seconds.parse::<f64>().is_ok(), "{line}");
    assert_eq!(cut, "1 connection closed");
    let again = home.run(&["crl", "push"]);
    assert!(again.stdout.contains("2/2 gateways enforce CRL 2 after "), "{again:?}");
    assert!(again.stdout.contains(", 0 connections closed"), "{again:?}");
}

#[test]
fn a_gateway_that_is_down_is_reported_and_the_revocation_stays() {
    let home = operated();
    let (up, down) = (Live::on_a_machine(&home), Live::on_a_machine(&home));
    list(&home, &[&up.address, &down.address]);
    let address = down.address.clone();
    drop(down);
    let told = home.run(&["revoke", "api-user/alice", "--wait"]);
    assert_eq!(told.exit, Some(4), "{told:?}");
    for words in [
        "Revoked api-user/alice",
        "1/2 gateways enforce CRL 2 after ",
        &format!(
            "not enforced {address}: it refuses connections: no service listens there [network.refused]"
        ),
        "hint: start the service",
        "The change is recorded and in cluster.crl. Next: cluster-ca crl push",
    ] {
        assert!(told.stdout.contains(words), "{words}: {told:?}");
    }
    assert_eq!(home.ok(&["show", "api-user/alice"])["status"], "revoked");
    let quiet = home.run(&["--quiet", "revoke", "api-user/alice", "--wait"]);
    assert_eq!((quiet.exit, quiet.stdout.as_str()), (Some(4), ""), "{quiet:?}");
    assert!(
        quiet.stderr.starts_with("1/2 gateways enforce CRL 2 after "),
        "an error is no result: {quiet:?}"
    );
    // It restarts with its former CRL, and the same command pushes the new one.
    let again = Live::on_a_machine_with(&home, &address, OPERATORS);
    assert_eq!(again.address, address);
    let (finished, pushed) = push(&home, &["crl", "push"]);
    assert_eq!((finished.exit, &pushed["enforced"]), (Some(0), &2.into()), "{pushed}");
}

#[test]
fn hold_and_release_can_wait_too() {
    let (home, gateways) = fleet(1);
    let (finished, pushed) = push(&home, &["hold", "api-user/alice", "--wait"]);
    assert_eq!(
        (finished.exit, &pushed["crl_number"], &pushed["enforced"]),
        (Some(0), &"2".into(), &1.into())
    );
    let (finished, pushed) = push(&home, &["release", "api-user/alice", "--wait"]);
    assert_eq!(
        (finished.exit, &pushed["crl_number"], &pushed["enforced"]),
        (Some(0), &"3".into(), &1.into())
    );
    connected(&home, "user-alice", &gateways[0]);
}

#[test]
fn a_push_needs_neither_the_root_key_nor_a_change() {
    let (home, _gateways) = fleet(1);
    home.ok(&["revoke", "api-user/alice"]);
    fs::rename(home.path("cluster.key"), home.path("away")).expect("moved");
    for already in [false, true] {
        let (finished, pushed) = push(&home, &["crl", "push"]);
        assert_eq!(finished.exit, Some(0), "{finished:?}");
        assert_eq!(
            (&pushed["crl_number"], &pushed["gateways"][0]["already"]),
            (&"2".into(), &already.into())
        );
    }
}

#[test]
fn the_files_of_an_operator_suffice_to_call_one_gateway() {
    let (home, gateways) = fleet(2);
    let file = |name: &str| home.path(format!("issued/{name}")).to_str().expect("text").to_owned();
    let (certificate, key) = (file("user-admin.crt"), file("user-admin.key"));
    home.ok(&["revoke", "api-user/alice"]);
    fs::remove_file(home.path("gateways.yaml")).expect("removed");
    let address = gateways[0].address.as_str();
    let (finished, pushed) = push(
        &home,
        &["crl", "push", "--gateway", address, "--operator-cert", &certificate, "--operator-key", &key],
    );
    assert_eq!(
        (finished.exit, pushed["gateways"].as_array().map(Vec::len)),
        (Some(0), Some(1)),
        "{finished:?}"
    );
    let (finished, _) = push(&home, &["crl", "push", "--gateway", address, "--operator", "api-user/admin"]);
    assert_eq!(finished.exit, Some(0), "{finished:?}");
}

#[test]
fn invalid_settings_are_reported_before_a_revocation() {
    let home = operated();
    let before = home.state();
    let refused = |arguments: &[&str], code: &str, exit: i32| {
        let refusal = home.refused(arguments);
        assert_eq!((refusal.code.as_str(), refusal.exit), (code, exit), "{arguments:?}: {refusal:?}");
        assert!(!refusal.hint.is_empty(), "{refusal:?}");
        assert!(refusal.words().contains("nothing was changed"), "{refusal:?}");
    };
    let revoke = |more: &[&'static str]| [&["revoke", "api-user/alice"], more].concat();
    refused(&revoke(&["--wait"]), "usage.gateways", 2);
    refused(&revoke(&["--gateway", "127.0.0.1:1"]), "usage.wait", 2);
    refused(&revoke(&["--timeout", "5s"]), "usage.wait", 2);
    refused(&revoke(&["--wait", "--gateway", "127.0.0.1:1"]), "usage.operator", 2);
    refused(&revoke(&["--wait", "--gateway", "a:1", "--gateway", "a:1"]), "usage.gateways", 2);
    refused(
        &revoke(&["--wait", "--gateway", "a:1", "--operator", "api-user/nobody"]),
        "ca.unknown_certificate",
        1,
    );
    home.write("gateways.yaml", "operator: nobody\ngateways: []\n");
    refused(&revoke(&["--wait"]), "input.gateways", 1);
    let refusal = home.refused(&["crl", "push"]);
    assert!(refusal.message.contains("gateways.yaml:1: operator: "), "{refusal:?}");
    assert!(refusal.message.contains("gateways.yaml:2: gateways: no gateway is listed"), "{refusal:?}");
    fs::remove_file(home.path("gateways.yaml")).expect("removed");
    assert!(home.state() == before, "something was changed");
}

#[test]
fn an_operator_cannot_revoke_the_certificate_it_calls_with() {
    let (home, _gateways) = fleet(1);
    for command in ["revoke", "hold"] {
        let refusal = home.refused(&[command, "api-user/admin", "--wait"]);
        assert_eq!((refusal.code.as_str(), refusal.exit), ("gateways.operator_revoked", 1), "{refusal:?}");
        let unchanged = if command == "hold" { "nothing was suspended" } else { "nothing was revoked" };
        assert!(refusal.message.contains(unchanged), "{refusal:?}");
    }
    assert_eq!(home.ok(&["show", "api-user/admin"])["status"], "valid");
    // With a new certificate, the former one can be revoked.
    let old = home.ok(&["show", "api-user/admin"])["serial_number"].as_str().expect("text").to_owned();
    home.ok(&["rekey", "api-user/admin"]);
    let (finished, _) = push(&home, &["revoke", &old, "--wait"]);
    assert_eq!(finished.exit, Some(0), "{finished:?}");
}

#[test]
fn revoke_suggests_a_push_if_gateways_are_listed() {
    let (home, gateways) = fleet(1);
    for command in [&["revoke", "api-user/alice"][..], &["crl", "publish", "--no-push"]] {
        let told = home.run(command);
        assert!(told.stdout.contains("Next: cluster-ca crl push"), "{told:?}");
        let places = format!("\n  not there yet  {}  (gateways.yaml)\n", gateways[0].address);
        assert!(told.stdout.contains(&places), "{told:?}");
    }
}

#[test]
fn revoke_names_the_machines_that_the_crl_is_copied_to() {
    let home = operated();
    let destination = "root@gw1.example.com:/etc/cluster";
    home.ok(&["hosts", "add", "control-service/127.0.0.1", "--to", destination]);
    home.ok(&["hosts", "add", "api-user/bob", "--to", "root@elsewhere:/etc/cluster"]);
    let told = home.run(&["revoke", "api-user/alice"]).stdout;
    assert!(told.contains(&format!("\n  not there yet  {destination}  (hosts.yaml)\n")), "{told}");
    assert!(told.contains("\nNext: cluster-ca distribute --all"), "{told}");
}

#[test]
fn concurrent_revocations_are_all_enforced() {
    let (home, _gateways) = fleet(2);
    let users: Vec<String> = (0..6).map(|index| format!("user{index}")).collect();
    for user in &users {
        home.ok(&["create-api-user", user]);
    }
    let children: Vec<_> = users
        .iter()
        .map(|user| {
            let target = format!("api-user/{user}");
            home.command(&["--json", "revoke", &target, "--wait"])
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .expect("it starts")
        })
        .collect();
    for child in children {
        let finished = Finished::from(child.wait_with_output().expect("it ends"));
        assert_eq!(finished.exit, Some(0), "nobody's home is old: {finished:?}");
    }
    let (_, pushed) = push(&home, &["crl", "push"]);
    assert_eq!(pushed["crl_number"], "7");
    let already = pushed["gateways"].as_array().expect("gateways").iter().all(|one| one["already"] == true);
    assert!(already, "the last of them is enforced: {pushed}");
}

/// The next `crl push` completes a revocation that was killed at any point after its record was written.
#[test]
fn crl_push_completes_a_killed_revocation() {
    let start = operated();
    let revoke = ["revoke", "api-user/alice"];
    let (mut killed, mut recorded) = (0, 0);
    for point in &points(&start, &revoke) {
        let home = start.duplicate();
        let gateway = Live::on_a_machine(&home);
        list(&home, &[&gateway.address]);
        if !killed_at(&home, &revoke, point) {
            continue;
        }
        killed += 1;
        let (finished, pushed) = push(&home, &["crl", "push"]);
        assert_eq!((finished.exit, &pushed["enforced"]), (Some(0), &1.into()), "{point}: {finished:?}");
        let is_revoked = home.ok(&["show", "api-user/alice"])["status"] == "revoked";
        let revoked = home.ok(&["gateways"])["gateways"][0]["crl"]["revoked"].clone();
        assert_eq!(revoked, u64::from(is_revoked), "{point}");
        recorded += usize::from(is_revoked);
    }
    assert!(recorded > 0 && recorded < killed, "{recorded} of {killed}");
}

#[test]
fn the_time_limit_of_a_gateway_is_configurable() {
    let home = operated();
    let silent =
        fake::Fake::holding(&home, "control-127.0.0.1", |mut tls| while fake::request(&mut tls).is_some() {});
    list(&home, &[&silent.address]);
    let begun = std::time::Instant::now();
    let (finished, pushed) = push(&home, &["crl", "push", "--timeout", "1s"]);
    assert_eq!((finished.exit, code(&pushed).as_str()), (Some(4), "network.silent"), "{finished:?}");
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[test]
fn publish_pushes_to_listed_gateways_and_forecast_knows_what_they_acknowledged() {
    let (home, gateways) = fleet(2);
    let [one, two] = [0, 1].map(|index: usize| gateways[index].address.clone());
    let outages = |at: &str| {
        let found =
            home.run(&["--json", "forecast", "--within", "90d", "--at", at]).json()["result"]["outages"]
                .clone();
        let of_gateways =
            found.as_array().expect("outages").iter().filter(|one| one["what"] == "gateway-crl");
        of_gateways.map(|one| one["message"].as_str().expect("a message").to_owned()).collect::<Vec<_>>()
    };
    let codes = || {
        let found = home.run(&["--json", "doctor"]).json()["result"]["findings"].clone();
        let codes = found.as_array().expect("findings").iter().map(|one| one["code"].clone());
        codes.collect::<Vec<_>>()
    };
    let now = home.ok(&["crl", "show"])["this_update"].as_str().expect("a time").to_owned();
    assert_eq!(outages(&now).len(), 2, "none has acknowledged a CRL yet");
    assert_eq!(codes(), ["doctor.gateway_outdated"; 2]);

    let (finished, pushed) = push(&home, &["crl", "publish", "--next-update", "60d"]);
    assert_eq!((finished.exit, &pushed["enforced"]), (Some(0), &2.into()), "{pushed}");
    assert_eq!(finished.json()["result"]["crl_number"], "2");
    assert_eq!(codes(), [Value::Null; 0]);
    assert_eq!(
        outages(&now).first(),
        Some(&format!("CRL 2 at gateway {} expires: it refuses every client", one))
    );

    // Without the push, the gateways fall behind; the home knows.
    let finished = home.run(&["crl", "publish", "--no-push", "--next-update", "180d"]);
    assert!(
        finished.exit == Some(0) && finished.stdout.contains("Next: cluster-ca crl push"),
        "{finished:?}"
    );
    assert_eq!(codes(), ["doctor.gateway_outdated"; 2]);
    assert_eq!(outages(&now).len(), 2, "their CRL ends in 60 days, whatever the home has");
    home.run(&["crl", "push", "--gateway", &one, "--operator", "api-user/admin"]);
    assert_eq!(outages(&now), [format!("CRL 2 at gateway {two} expires: it refuses every client")]);

    let file = home.path("metrics");
    home.run(&["forecast", "--prometheus", file.to_str().expect("text")]);
    let metrics = fs::read_to_string(file).expect("metrics");
    for (gateway, number) in [(&one, 3), (&two, 2)] {
        let line =
            format!("cluster_ca_gateway_crl_number{{cluster=\"prod\",gateway=\"{gateway}\"}} {number}\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[test]
fn a_publication_that_no_gateway_confirms_exits_4_and_stands() {
    let home = operated();
    let down = Live::on_a_machine(&home);
    list(&home, &[&down.address]);
    drop(down);
    let finished = home.run(&["crl", "publish"]);
    assert_eq!(finished.exit, Some(4), "{finished:?}");
    assert!(finished.stdout.starts_with("Published CRL 2\n"), "{finished:?}");
    assert!(finished.stdout.contains("Next: cluster-ca crl push"), "{finished:?}");
    // A push that was asked for changes nothing if the list has a mistake.
    home.write("gateways.yaml", "gateways: []\n");
    for explicit in [&["--push"][..], &["--timeout", "5s"], &["--operator", "api-user/admin"]] {
        let refusal = home.refused(&[&["crl", "publish"], explicit].concat());
        assert!(refusal.message.starts_with("nothing was changed"), "{refusal:?}");
    }
    assert_eq!(home.ok(&["crl", "show"])["crl_number"], "2");
    let refusal = operated().refused(&["crl", "publish", "--push"]);
    assert_eq!((refusal.exit, refusal.code.as_str()), (2, "usage.gateways"), "{refusal:?}");
}

#[test]
fn a_list_that_no_gateway_can_be_called_with_does_not_stop_the_publication() {
    let home = operated();
    let address = "  - address: 127.0.0.1:1\n";
    home.ok(&["create-api-user", "gone"]);
    home.ok(&["revoke", "api-user/gone"]);
    let mut number = 2;
    for (list, code) in [
        (format!("gateways:\n{address}"), "usage.operator"),
        (format!("operator: api-user/gone\ngateways:\n{address}"), "ca.not_valid"),
        (format!("operator: api-user/nobody\ngateways:\n{address}"), "ca.unknown_certificate"),
        ("gateways: []\n".to_owned(), "input.gateways"),
    ] {
        home.write("gateways.yaml", list);
        let finished = home.run(&["--json", "crl", "publish"]);
        number += 1;
        let result = &finished.json()["result"];
        assert_eq!(
            (&result["crl_number"], &result["pushed"]["error"]["code"]),
            (&number.to_string().into(), &code.into()),
            "{finished:?}"
        );
        assert_eq!(home.ok(&["crl", "show"])["crl_number"], number.to_string());
        assert!(finished.exit.is_some_and(|exit| exit > 0), "{finished:?}");
    }
    let told = home.run(&["crl", "publish"]).stdout;
    for words in [
        "Published CRL 7\n",
        "\nNo gateway was called: ",
        "\n    hint: ",
        "\nThe change is recorded and in cluster.crl. Next: cluster-ca crl push\n",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let conflicting = home.refused(&["crl", "publish", "--no-push", "--timeout", "5s"]);
    assert_eq!((conflicting.exit, conflicting.code.as_str()), (2, "usage.arguments"), "{conflicting:?}");
}
