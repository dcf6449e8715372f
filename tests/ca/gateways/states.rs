//! `gateways status`: gateways compared with the home.

use serde_json::Value;

use super::{fleet, list, operated, push};
use crate::home::{Finished, Home};
use crate::live::Live;

fn status(home: &Home) -> (Finished, Vec<Value>) {
    let finished = home.run(&["--json", "gateways", "status"]);
    let gateways = finished.json()["result"]["gateways"].as_array().expect("gateways").clone();
    (finished, gateways)
}

fn codes(gateway: &Value) -> Vec<&str> {
    let problems = gateway["problems"].as_array().expect("problems");
    problems
        .iter()
        .map(|problem| {
            assert!(problem["hint"].is_string(), "no hint: {problem}");
            problem["code"].as_str().expect("a code")
        })
        .collect()
}

#[test]
fn each_gateway_is_shown_with_crl_trust_and_certificate() {
    let (home, _gateways) = fleet(2);
    let (finished, gateways) = status(&home);
    assert_eq!(finished.exit, Some(0), "{finished:?}");
    let served = home.ok(&["show", "control-service/127.0.0.1"]);
    for gateway in &gateways {
        assert_eq!(gateway["standing"], "current", "{gateway}");
        assert_eq!(gateway["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!((&gateway["crl"]["number"], &gateway["crl"]["revoked"]), (&"1".into(), &0.into()));
        assert_eq!(gateway["crl"]["sha256"], home.ok(&["crl", "show"])["sha256"]);
        assert!(gateway["crl"]["age"].as_i64().expect("seconds") >= 0);
        assert_eq!(gateway["trust"]["is_home"], true);
        let certificate = &gateway["certificate"];
        assert_eq!(certificate["serial_number"], served["serial_number"]);
        assert_eq!(
            (&certificate["identity"], &certificate["known"]),
            (&"control-service/127.0.0.1".into(), &true.into())
        );
        assert_eq!(codes(gateway), [""; 0]);
    }
    let told = home.run(&["gateways"]);
    assert!(told.stdout.starts_with("GATEWAY "), "{told:?}");
    assert!(told.stdout.lines().all(|line| line.chars().count() <= 80), "{told:?}");
    let serial_number = served["serial_number"].as_str().expect("text");
    assert!(!told.stdout.contains(serial_number), "{told:?}");
    let told = home.run(&["gateways", "--output", "wide"]);
    let heading = told.stdout.lines().next().expect("headings");
    assert!(["AGE", "SERIAL", "VERSION"].iter().all(|name| heading.contains(name)), "{told:?}");
    assert!(told.stdout.contains(serial_number), "{told:?}");
    assert!(told.stdout.contains("2/2 enforce CRL 1, the newest of this home"), "{told:?}");
}

#[test]
fn an_outdated_or_unreachable_gateway_sets_the_exit_code() {
    let (home, gateways) = fleet(2);
    push(&home, &["revoke", "api-user/alice", "--wait", "--gateway", &gateways[0].address]);
    let (finished, states) = status(&home);
    assert_eq!(finished.exit, Some(1), "{finished:?}");
    assert_eq!((&states[0]["standing"], &states[1]["standing"]), (&"current".into(), &"behind".into()));
    assert_eq!((codes(&states[0]), codes(&states[1])), (vec![], vec!["gateways.outdated"]));
    drop(gateways);
    let (finished, states) = status(&home);
    assert_eq!((finished.exit, &states[0]["standing"]), (Some(4), &"unknown".into()), "{finished:?}");
    assert_eq!(codes(&states[0]), ["network.refused"]);
    let told = home.run(&["gateways", "status"]);
    assert!(
        told.stdout.contains("0/2 enforce CRL 2") && told.stdout.contains("[network.refused]"),
        "{told:?}"
    );
}

#[test]
fn a_superseded_or_unknown_certificate_is_reported() {
    let home = operated();
    let twin = home.duplicate();
    let gateway = Live::on_a_machine(&home);
    list(&home, &[&gateway.address]);
    home.ok(&["renew", "control-service/127.0.0.1"]);
    let (finished, states) = status(&home);
    assert_eq!(finished.exit, Some(1), "{finished:?}");
    assert_eq!(codes(&states[0]), ["doctor.served_superseded"]);

    // Another copy of the root key issued it.
    twin.ok(&["rekey", "control-service/127.0.0.1"]);
    let stranger = Live::on_a_machine(&twin);
    list(&home, &[&stranger.address]);
    let (finished, states) = status(&home);
    assert_eq!((finished.exit, &states[0]["certificate"]["known"]), (Some(1), &false.into()));
    assert_eq!(codes(&states[0]), ["verify.not_in_inventory"]);
}

#[test]
fn an_outdated_home_reports_gateways_ahead_of_it() {
    let (home, _gateways) = fleet(1);
    let old = home.duplicate();
    push(&home, &["revoke", "api-user/alice", "--wait"]);
    let (finished, states) = status(&old);
    assert_eq!((finished.exit, &states[0]["standing"]), (Some(1), &"ahead".into()), "{finished:?}");
    assert_eq!(codes(&states[0]), ["gateways.ahead"]);
}

#[test]
fn the_doctor_checks_gateways_yaml() {
    let home = operated();
    list(&home, &["127.0.0.1:1"]);
    let finding = |home: &Home| {
        let finished = home.run(&["--json", "doctor"]);
        assert_eq!(finished.exit, Some(1), "{finished:?}");
        finished.json()["result"]["findings"][0].clone()
    };
    // A listed gateway should have acknowledged the CRL.
    assert_eq!(finding(&home)["code"], "doctor.gateway_outdated");
    home.write("gateways.yaml", "operator: api-user/admin\ngateways:\n  - addres: a:1\n");
    let found = finding(&home);
    assert_eq!(found["code"], "input.gateways", "{found}");
    assert!(found["message"].as_str().expect("text").contains("gateways.yaml:3:"), "{found}");
    home.write("gateways.yaml", "operator: api-user/nobody\ngateways:\n  - address: a:1\n");
    let finished = home.run(&["--json", "doctor"]);
    let findings = finished.json()["result"]["findings"].clone();
    let codes: Vec<&str> = findings
        .as_array()
        .expect("findings")
        .iter()
        .map(|one| one["code"].as_str().expect("a code"))
        .collect();
    assert_eq!(codes, ["ca.unknown_certificate", "doctor.gateway_outdated"]);
}
