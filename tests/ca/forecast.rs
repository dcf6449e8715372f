//! `forecast` tells what breaks first and when, early enough, and only what matters.

use std::fs;

use serde_json::Value;
use time::Duration;

use crate::home::{Finished, Home};
use crate::now;

fn forecast(home: &Home, arguments: &[&str]) -> (Finished, Value) {
    let arguments: Vec<&str> = ["--json", "forecast"].iter().chain(arguments).copied().collect();
    let finished = home.run(&arguments);
    let result = finished.json()["result"].clone();
    (finished, result)
}

/// What breaks, in its order.
fn outages(home: &Home, arguments: &[&str]) -> Vec<String> {
    let (finished, result) = forecast(home, arguments);
    let outages = result["outages"].as_array().unwrap_or_else(|| panic!("no outages: {finished:?}"));
    assert_eq!(finished.exit, Some(i32::from(!outages.is_empty())), "{finished:?}");
    outages.iter().map(|outage| outage["what"].as_str().expect("a word").to_owned()).collect()
}

fn in_days(days: i64) -> String {
    (now() + Duration::days(days)).date().to_string()
}

#[test]
fn a_young_cluster_is_calm_and_knows_what_comes_first() {
    let home = Home::initialized();
    let (finished, result) = forecast(&home, &[]);
    assert_eq!(finished.exit, Some(0), "{finished:?}");
    assert_eq!(result["first"]["what"], "crl");
    assert_eq!(outages(&home, &["--within", "200d"]), ["crl"]);
}

#[test]
fn a_leaf_is_told_until_it_is_replaced_or_revoked() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice", "--validity", "20d"]);
    home.ok(&["create-api-user", "bob", "--validity", "10d"]);
    let (_, result) = forecast(&home, &[]);
    assert_eq!(result["leaves"], 2);
    assert!(result["first"]["message"].as_str().expect("text").starts_with("api-user/bob"), "{result}");
    let elsewhere = home.path("again");
    home.ok(&["create-api-user", "alice", "--output", elsewhere.to_str().expect("text")]);
    home.ok(&["revoke", "api-user/bob"]);
    assert_eq!(outages(&home, &[]), [""; 0]);
}

#[test]
fn what_broke_lately_is_told_and_what_broke_long_ago_is_not_missed() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice", "--validity", "10d"]);
    assert_eq!(outages(&home, &["--at", &in_days(20)]), ["leaf"]);
    assert_eq!(outages(&home, &["--at", &in_days(100)]), [""; 0]);
    assert_eq!(outages(&home, &["--at", &in_days(300)]), ["crl"], "a list past its end is told for ever");
}

#[test]
fn a_root_that_ends_before_what_it_must_sign_is_told_before_it_ends() {
    let home = Home::empty();
    home.ok(&["initialize", "prod", "--validity", "2y"]);
    let found = outages(&home, &["--within", "720d"]);
    assert!(found.contains(&"issuing".to_owned()) && !found.contains(&"root".to_owned()), "{found:?}");
    let found = outages(&home, &["--within", "731d"]);
    assert_eq!(found.last().map(String::as_str), Some("root"), "{found:?}");
}

#[test]
fn metrics_are_written_whole_for_node_exporter() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice", "--validity", "10d"]);
    let file = home.path("cluster_ca.prom");
    home.write("cluster_ca.prom", "old");
    forecast(&home, &["--prometheus", file.to_str().expect("text")]);
    let text = fs::read_to_string(&file).expect("metrics");
    for line in [
        "# TYPE cluster_ca_crl_number gauge",
        "cluster_ca_crl_number{cluster=\"prod\"} 1",
        "cluster_ca_certificates{cluster=\"prod\",status=\"valid\"} 1",
        "cluster_ca_leaves_ending{cluster=\"prod\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with('\n'));
    let missing = home.path("nowhere/cluster_ca.prom");
    let refused = home.run(&["--json", "forecast", "--prometheus", missing.to_str().expect("text")]);
    assert_eq!(refused.refusal().exit, 3);
}
