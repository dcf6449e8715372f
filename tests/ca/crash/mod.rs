//! A process killed at any point leaves a home that the next command puts in order.
//!
//! The kills are real: `strace` ends the process with SIGKILL as it enters the Nth call of each kind
//! that changes the disk, for every N, so that each state between two such calls is met once.

pub(crate) mod aftermath;
pub(crate) mod strace;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;

use crate::home::Home;
use aftermath::{Aftermath, reserved};

#[test]
fn initialize_killed_at_any_point_can_be_run_again() {
    sweep(&Home::empty(), &["initialize", "prod"], |home| {
        // Nothing counted yet, or it is finished now, or it was whole.
        let again = home.run(&["--json", "initialize", "prod"]);
        if again.exit == Some(0) {
            return !again.stderr.is_empty();
        }
        let code = again.refusal().code;
        assert!(["home.occupied", "home.initialize_resumed"].contains(&code.as_str()), "{again:?}");
        code == "home.initialize_resumed"
    });
}

#[test]
fn create_api_user_killed_at_any_point_leaves_a_whole_pair_or_none() {
    sweep(&Home::initialized(), &["create-api-user", "alice"], |_| false);
}

#[test]
fn create_node_killed_at_any_point_of_a_batch_leaves_whole_pairs_or_none() {
    sweep(&Home::initialized(), &["create-node", "--count", "5"], |_| false);
}

#[test]
fn revoke_killed_at_any_point_leaves_a_list_that_agrees_with_the_record() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    sweep(&home, &["revoke", "api-user/alice"], |_| false);
}

/// The points at which `command`, run in a copy of `start`, changes the disk.
pub(crate) fn points(start: &Home, command: &[&str]) -> Vec<strace::Point> {
    strace::record(&start.duplicate().command(command)).points()
}

/// Runs `command` in `home` and kills it at `point`; false when it ended before.
pub(crate) fn killed_at(home: &Home, command: &[&str], point: &strace::Point) -> bool {
    strace::kill(&home.command(command), point)
}

/// Runs `command` in `home`, and `meanwhile` where `point` is, unless it ended before.
pub(crate) fn stopped_at(home: &Home, command: &[&str], point: &strace::Point, meanwhile: impl FnOnce()) {
    if let Some(stopped) = strace::stop(&home.command(command), point) {
        meanwhile();
        strace::go_on(stopped);
    }
}

#[test]
fn what_lies_under_a_temporary_name_is_looked_at_before_it_gets_the_name_of_a_certificate() {
    let start = Home::initialized();
    let command = ["create-api-user", "alice"];
    let mut lost = 0;
    for point in points(&start, &command) {
        let home = start.duplicate();
        if !strace::kill(&home.command(&command), &point) {
            continue;
        }
        let foreign = fs::read(home.path("cluster.crt")).expect("a certificate");
        for name in
            home.contents().into_keys().filter(|name| name.to_string_lossy().contains("/.user-alice.crt."))
        {
            fs::write(home.path(name), &foreign).expect("written");
        }
        let next = home.run(&["--json", "create-api-user", "bob"]);
        assert_eq!(next.exit, Some(0), "{point}: {next:?}");
        let placed = fs::read(home.path("issued/user-alice.crt")).ok();
        assert_ne!(placed.as_ref(), Some(&foreign), "{point}: a foreign file was given out");
        lost += usize::from(next.stderr.contains("is missing"));
    }
    assert!(lost > 0, "no kill left a recorded certificate under its temporary name");
}

#[test]
fn renew_killed_at_any_point_never_leaves_half_a_pair() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    sweep(&home, &["renew", "api-user/alice"], |home| {
        let [certificate, key] = ["crt", "key"].map(|end| home.path(format!("issued/user-alice.{end}")));
        assert!(aftermath::belong_together(&certificate, &key), "before anything looked after it");
        false
    });
}

#[test]
fn rekey_killed_at_any_point_is_finished_or_undone_by_the_next_command() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    let halves = Cell::new(0);
    sweep(&home, &["rekey", "api-user/alice"], |home| {
        let [certificate, key] = ["crt", "key"].map(|end| home.path(format!("issued/user-alice.{end}")));
        assert!(certificate.exists() && key.exists(), "one of the two is always there");
        halves.set(halves.get() + usize::from(!aftermath::belong_together(&certificate, &key)));
        false
    });
    assert!(halves.get() <= 1, "killed between the two renames, and nowhere else: {}", halves.get());
}

#[test]
fn hold_and_release_killed_at_any_point_leave_a_list_that_agrees_with_the_record() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    sweep(&home, &["hold", "api-user/alice"], |_| false);
    home.ok(&["hold", "api-user/alice"]);
    sweep(&home, &["release", "api-user/alice"], |_| false);
}

#[test]
fn publishing_killed_at_any_point_never_uses_a_number_twice() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    home.ok(&["revoke", "api-user/alice"]);
    sweep(&home, &["crl", "publish"], |home| {
        let number = |home: &Home| {
            home.ok(&["crl", "show"])["crl_number"].as_str().and_then(|n| n.parse::<u64>().ok())
        };
        let before = number(home);
        let next = home.run(&["--json", "crl", "publish"]);
        assert!(number(home) > before, "the list that was there, and the next one, have the same number");
        home.ok(&["crl", "verify"]);
        !next.stderr.is_empty()
    });
}

#[test]
fn a_batch_killed_at_any_point_is_told_of_in_a_few_lines() {
    let start = Home::initialized();
    let command = ["create-node", "--count", "60"];
    let points = points(&start, &command);
    let mut counted = 0;
    // Evenly spaced points: each state of a large batch lasts for many of them.
    for point in points.iter().step_by((points.len() / 12).max(1)) {
        let home = start.duplicate();
        if !killed_at(&home, &command, point) {
            continue;
        }
        let next = home.run(&["create-api-user", "alice"]);
        assert_eq!(next.exit, Some(0), "{point}: {next:?}");
        assert!(next.stderr.lines().count() <= 4, "{point}: {next:?}");
        counted += usize::from(next.stderr.contains(" more; see cluster-ca audit list)"));
        home.ok(&["audit", "verify"]);
    }
    assert!(counted > 0, "no kill left several certificates to be told of");
}

#[test]
fn create_node_killed_between_batches_leaves_whole_pairs_or_none() {
    let start = Home::initialized();
    // Three batches.
    let command = ["create-node", "--count", "600"];
    let points = points(&start, &command);
    let (mut between, mut told) = (0, 0);
    for point in points.iter().step_by((points.len() / 24).max(1)) {
        let home = start.duplicate();
        if !killed_at(&home, &command, point) {
            continue;
        }
        let aftermath = Aftermath::of(&home, BTreeSet::new());
        let recorded = home.ok(&["list", "--status", "valid"]).as_array().map_or(0, Vec::len);
        between += usize::from(recorded > 0 && !reserved(&home).is_empty());
        told += usize::from(aftermath.check(&home, "next", &point.to_string(), false));
    }
    assert!(told > 0, "no kill left anything that the next command told of");
    assert!(between > 0, "no kill was after one batch was recorded and before the next one was");
}

/// Kills `command` at every point in a fresh copy of `start`, lets `next` do what a user would and say
/// whether it was told of something, and checks what is left.
fn sweep(start: &Home, command: &[&str], next: impl Fn(&Home) -> bool) {
    let points = points(start, command);
    assert!(
        points.len() > 10,
        "only {} points of {command:?} change the disk: is strace at work?",
        points.len()
    );
    let (mut killed, mut told) = (0, 0);
    for point in &points {
        let home = start.duplicate();
        if !strace::kill(&home.command(command), point) {
            // Two threads share the calls as they like; this time none of them came so far.
            continue;
        }
        killed += 1;
        let aftermath = Aftermath::of(&home, BTreeSet::new());
        let by_then = next(&home);
        told += usize::from(aftermath.check(&home, "next", &point.to_string(), by_then));
    }
    assert!(2 * killed > points.len(), "only {killed} of {} points of {command:?} were met", points.len());
    assert!(told > 0, "no kill of {command:?} left anything that the next command told of");
}
