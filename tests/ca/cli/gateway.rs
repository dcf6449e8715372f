//! `cluster-gateway` says what it has to say as `cluster-ca` does.

use std::process::Command;

use crate::home::{Finished, Home};

fn gateway(home: &Home, arguments: &[&str]) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cluster-gateway"));
    Finished::from(
        command.current_dir(home.path("")).args(arguments).output().expect("cluster-gateway starts"),
    )
}

#[test]
fn both_programs_refuse_in_one_form() {
    let home = Home::empty();
    home.write("gateway.yaml", "unknown: 1\n");
    for (arguments, exit, code) in [
        (&["check", "--json"][..], 2, "usage.arguments"),
        (&["frobnicate", "--json"], 2, "usage.arguments"),
        (&["close", "zzz", "--json"], 2, "usage.arguments"),
        (&["check", "--json", "--config", "nope"], 3, "file.missing"),
        (&["explain", "--json", "--config", "nope", "--request", "GET /"], 3, "file.missing"),
        (&["status", "--json", "--config", "nope"], 3, "file.missing"),
        (&["status", "--json", "--socket", "nope"], 3, "admin.unreachable"),
        (&["check", "--json", "--config", "gateway.yaml"], 1, "gateway.configuration"),
    ] {
        let finished = gateway(&home, arguments);
        let refusal = finished.refusal();
        assert_eq!((refusal.exit, refusal.code.as_str()), (exit, code), "{arguments:?}: {refusal:?}");
        assert!(finished.stderr.is_empty() && finished.stdout.lines().count() == 1, "{finished:?}");
    }
    for (arguments, exit, begin) in [
        (&["run", "--config", "nope"][..], 3, "error: cannot read nope [file.missing]\n"),
        (&["check", "--config", "gateway.yaml"], 1, "error: the configuration gateway.yaml has "),
        (&["man", "frobnicate"], 2, "error: there is no command `frobnicate` [usage.command]\n"),
    ] {
        let finished = gateway(&home, arguments);
        assert_eq!(
            (finished.exit, finished.stdout.as_str()),
            (Some(exit), ""),
            "{arguments:?}: {finished:?}"
        );
        assert!(finished.stderr.starts_with(begin), "{arguments:?}: {finished:?}");
    }
}

#[test]
fn the_gateway_explains_itself_too() {
    let home = Home::empty();
    let said = |arguments: &[&str]| {
        let finished = gateway(&home, arguments);
        assert_eq!((finished.exit, finished.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        finished.stdout
    };
    assert!(said(&["--help"]).contains("Exit codes: 0 done, 1 refused"));
    assert!(said(&["man"]).contains(".SH EXAMPLES"));
    for command in ["check", "close", "explain", "rejected", "reload", "replay", "run", "sessions", "status"]
    {
        assert!(said(&["man", command]).contains(&format!("cluster\\-gateway\\-{command}")), "{command}");
        for shell in ["bash", "zsh", "fish"] {
            assert!(said(&["completions", shell]).contains(command), "{shell}: {command}");
        }
    }
}
