//! A defect of the program ends as an error does: in one line, with a code and a documented exit code.

use std::ffi::OsString;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_ca::ca::Context;
use cluster_ca::clock::{Clock, SystemClock, SystemEntropy};
use cluster_ca::keys::NoUnlock;
use serde_json::Value;
use time::OffsetDateTime;

use crate::home::{Finished, Home};

/// Clock that panics when it is read.
#[derive(Debug)]
struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> OffsetDateTime {
        panic!("the test's\n clock has stopped")
    }

    fn monotonic(&self) -> Instant {
        SystemClock.monotonic()
    }

    fn sleep(&self, pause: Duration) {
        SystemClock.sleep(pause);
    }
}

/// Environment variable with the arguments of the program, separated by spaces.
const ARGUMENTS: &str = "PANICS_ARGUMENTS";

/// Runs the program inside of this test binary, which is the only way to give it a faulty clock.
fn run(arguments: &str) -> Finished {
    let output = Command::new(std::env::current_exe().expect("a path"))
        .args([
            "--exact",
            "--nocapture",
            "panics::a_panic_is_an_error_of_one_line_with_a_documented_exit_code",
        ])
        .env(ARGUMENTS, arguments)
        .env_remove("RUST_BACKTRACE")
        .output()
        .expect("the test binary starts");
    Finished::from(output)
}

/// The program, with a stopped clock.
fn program(arguments: &str) {
    let context = Context {
        clock: Arc::new(StoppedClock),
        entropy: Arc::new(SystemEntropy),
        actor: "test".parse().expect("an actor"),
        unlock: Arc::new(NoUnlock),
    };
    println!();
    let code = cluster_ca::cli::run(
        arguments.split(' ').map(OsString::from),
        context,
        cluster_ca::server::FUNCTIONS,
    );
    println!("exit code 3: {}", code == ExitCode::from(3));
}

#[test]
fn a_panic_is_an_error_of_one_line_with_a_documented_exit_code() {
    if let Ok(arguments) = std::env::var(ARGUMENTS) {
        return program(&arguments);
    }
    let home = Home::initialized();
    let before = home.state();
    let at = home.path(".");
    let command = format!("--home {} create-api-user alice", at.display());
    let finished = run(&format!("cluster-ca {command}"));
    assert!(finished.stdout.contains("exit code 3: true"), "{finished:?}");
    let lines: Vec<&str> = finished.stderr.lines().collect();
    let start = "error: internal error: the test's clock has stopped (tests/ca/panics.rs:";
    assert!(lines.len() == 2 && lines[0].starts_with(start), "{finished:?}");
    assert!(lines[0].ends_with("[system.panic]") && lines[1].starts_with("hint: "), "{finished:?}");

    let finished = run(&format!("cluster-ca --json {command}"));
    let object = finished.stdout.lines().find(|line| line.starts_with('{')).expect("a JSON object");
    let object: Value = serde_json::from_str(object).expect("JSON");
    assert_eq!(
        (&object["ok"], &object["error"]["code"]),
        (&false.into(), &"system.panic".into()),
        "{object}"
    );
    assert!(finished.stderr.is_empty(), "{finished:?}");
    assert!(home.state() == before, "nothing was issued");
    home.ok(&["create-api-user", "alice"]);
}
