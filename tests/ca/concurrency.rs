//! Processes that work at once in one home neither block nor corrupt each other.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};
use std::time::Duration;

use cluster_ca::clock::SystemClock;
use cluster_ca::files::DirectoryLock;

use crate::home::{Finished, Home};

fn start(home: &Home, arguments: &[&str]) -> Child {
    home.command(arguments)
        .arg("--json")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cluster-ca starts")
}

fn finish(child: Child) -> Finished {
    Finished::from(child.wait_with_output().expect("cluster-ca ends"))
}

fn serial_numbers(list: &serde_json::Value) -> BTreeSet<&str> {
    let records = list.as_array().expect("an array");
    records.iter().map(|record| record["serial_number"].as_str().expect("text")).collect()
}

#[test]
fn processes_that_issue_at_once_all_succeed_and_share_no_serial_number() {
    let home = Home::initialized();
    let users: Vec<String> = (0..12).map(|n| format!("user-{n}")).collect();
    let children: Vec<Child> = users.iter().map(|user| start(&home, &["create-api-user", user])).collect();
    for child in children {
        finish(child).result();
    }
    let list = home.ok(&["list"]);
    assert_eq!(serial_numbers(&list).len(), users.len());
    assert!(list.as_array().expect("an array").iter().all(|record| record["status"] == "valid"), "{list}");
    home.ok(&["audit", "verify"]);
}

#[test]
fn batches_at_once_keep_each_other_whole() {
    let home = Home::initialized();
    let children: Vec<Child> = (0..4).map(|_| start(&home, &["create-node", "--count", "50"])).collect();
    for child in children {
        assert_eq!(finish(child).result().as_array().expect("an array").len(), 50);
    }
    assert_eq!(serial_numbers(&home.ok(&["list"])).len(), 200);
    home.ok(&["audit", "verify"]);
}

#[test]
fn one_of_two_processes_that_create_the_same_user_wins() {
    let home = Home::initialized();
    let children: Vec<Child> = (0..6).map(|_| start(&home, &["create-api-user", "alice"])).collect();
    let (won, lost): (Vec<_>, Vec<_>) =
        children.into_iter().map(finish).partition(|finished| finished.exit == Some(0));
    assert_eq!(won.len(), 1, "{won:?}");
    for finished in lost {
        assert_eq!(finished.refusal().code, "file.exists", "{finished:?}");
    }
    let list = home.ok(&["list"]);
    let records = list.as_array().expect("an array");
    assert_eq!(records.len(), 1, "{list}");
    assert_eq!(records[0]["serial_number"], won[0].result()["serial_number"]);
}

#[test]
fn revocations_at_once_are_all_in_the_list() {
    let home = Home::initialized();
    let users = ["a", "b", "c", "d", "e", "f"];
    for user in users {
        home.ok(&["create-api-user", user]);
    }
    let children: Vec<Child> =
        users.iter().map(|user| start(&home, &["revoke", &format!("api-user/{user}")])).collect();
    let numbers: BTreeSet<u64> = children
        .into_iter()
        .map(|child| {
            finish(child).result()["crl_number"]
                .as_str()
                .and_then(|number| number.parse::<u64>().ok())
                .expect("a number")
        })
        .collect();
    assert_eq!(numbers.len(), users.len(), "every list has a number of its own");
    let inspected = home.ok(&["inspect", home.path("cluster.crl").to_str().expect("text")]).to_string();
    for serial_number in serial_numbers(&home.ok(&["list", "--status", "revoked"])) {
        assert!(inspected.contains(serial_number), "{serial_number} is not in the list: {inspected}");
    }
}

#[test]
fn readers_do_not_wait_for_a_writer() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    let _lock = DirectoryLock::acquire(&home.path(""), Duration::from_secs(10), &SystemClock)
        .expect("the writer's lock");
    let writer = rusqlite::Connection::open(home.path("ca.db")).expect("the inventory");
    writer.execute_batch("BEGIN IMMEDIATE").expect("the writer's transaction");

    assert_eq!(home.ok(&["list"]).as_array().expect("an array").len(), 1);
    home.ok(&["show", "api-user/alice"]);
    home.ok(&["audit", "verify"]);
    home.ok(&["create-api-user", "bob", "--dry-run"]);
}
