//! Arguments as people type them, and the way out of those that are refused.

use std::process::Command;

use super::{close, run_inside};
use crate::home::{Finished, Home, cluster_ca};

const NODE: &str = "6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e";
const OTHER_NODE: &str = "0b7e8f0e-52e7-4b0a-9a2c-4b1f6d1f9c11";

fn gateway(home: &Home, arguments: &[&str]) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cluster-gateway"));
    Finished::from(
        command.current_dir(home.path("")).args(arguments).output().expect("cluster-gateway starts"),
    )
}

#[test]
fn a_group_alone_runs_its_default_command() {
    let home = Home::initialized();
    for (alone, default) in [
        (&["crl"][..], &["crl", "show"][..]),
        (&["key"], &["key", "show"]),
        (&["kms"], &["kms", "show"]),
        (&["profiles"], &["profiles", "list"]),
        (&["audit"], &["audit", "list"]),
        (&["ca-cert"], &["ca-cert", "status"]),
    ] {
        let (alone, default) = (run_inside(&home, alone), run_inside(&home, default));
        assert_eq!((alone.exit, &alone.stdout), (Some(0), &default.stdout), "{alone:?}");
    }
    let all = home.ok(&["security"]);
    for setting in ["lockout-config", "login-banner", "token-lifetimes"] {
        assert_eq!(all[setting.replace('-', "_")], home.ok(&["security", setting, "show"]), "{setting}");
        let shown = home.run(&["security", setting]).stdout;
        assert!(home.run(&["security"]).stdout.contains(&shown), "{setting}: {shown}");
    }
    for alone in ["gateways", "hosts"] {
        let alone = run_inside(&home, &[alone]);
        assert!(
            alone.exit == Some(0) && alone.stdout.contains("\nNext: ") | alone.stdout.contains(". Next: "),
            "{alone:?}"
        );
    }
    let status = run_inside(&home, &["--json", "gateways", "status"]).refusal();
    assert_eq!((status.exit, status.code.as_str()), (2, "usage.gateways"), "a check never passes by absence");
}

#[test]
fn both_spellings_of_a_password_option_are_taken() {
    let home = Home::empty();
    home.write("secret", "correct horse battery staple\n");
    close(&home.path("secret"));
    run_inside(&home, &["--password-file", "secret", "--json", "initialize", "prod"]).result();
    for (index, spelling) in ["--password-file", "--passphrase-file"].into_iter().enumerate() {
        let (name, backup) = (format!("user{index}"), format!("{index}.backup"));
        run_inside(&home, &["--json", "create-api-user", &name, spelling, "secret"]).result();
        run_inside(&home, &["--json", "crl", "publish", spelling, "secret"]).result();
        run_inside(&home, &["--json", "backup", &backup, spelling, "secret"]).result();
        run_inside(&home, &["--json", "backup", "--verify", &backup, spelling, "secret"]).result();
        run_inside(&home, &["--json", "list", spelling, "secret"]).result();
    }
    for (command, shown, hidden) in [
        (&["backup", "--help"][..], "--password-file", "--passphrase-file"),
        (&["create-node", "--help"], "--passphrase-file", "--password-file"),
        (&["crl", "publish", "--help"], "--passphrase-file", "--password-file"),
    ] {
        let help = run_inside(&home, command).stdout;
        assert!(help.contains(shown) && !help.contains(hidden), "{command:?}: {help}");
    }
}

#[test]
fn manual_pages_have_a_footer_and_their_examples_line_by_line() {
    let home = Home::empty();
    for (page, name) in [
        (&["man", "create-node"][..], "cluster\\-ca\\-create\\-node"),
        (&["man"], "cluster\\-ca"),
        (&["man", "hosts.yaml"], "hosts.yaml"),
    ] {
        let page = run_inside(&home, page).stdout;
        let title = page.lines().find(|line| line.starts_with(".TH ")).expect("a title").to_owned();
        assert!(
            title.contains(" \" \" \"cluster-ca 0.") && title.ends_with("\"Cluster CA Manual\""),
            "{name}: {title}"
        );
    }
    let page = run_inside(&home, &["man", "create-node"]).stdout;
    assert!(
        page.contains("\n.SH EXAMPLES\n.nf\n  cluster\\-ca create\\-node \\-\\-label web\\-1\n"),
        "{page}"
    );
    assert!(!page.contains("\nExamples:") && !page.contains(".SH VERSION"), "{page}");
    let end = page.split_once("\n.SH \"SEE ALSO\"\n").expect("references").1;
    assert!(end.contains("cluster\\-ca(1)") && end.contains("nodes.yaml(5)"), "{end}");
}

#[test]
fn an_argument_that_is_refused_has_no_effect_on_a_terminal() {
    const ARGUMENT: &str = "a\u{1b}[2J\u{9b}31m\u{7}\r\u{202e}b";
    let home = Home::initialized();
    for arguments in [
        &[ARGUMENT][..],
        &["--home", ARGUMENT, "list", "--role", ARGUMENT],
        &["list", "--expires-within", ARGUMENT],
        &["guide", ARGUMENT],
        &["list", &format!("--{ARGUMENT}")],
    ] {
        for finished in [run_inside(&home, arguments), gateway(&home, arguments)] {
            assert_eq!(finished.exit, Some(2), "{finished:?}");
            let effect = |c: char| c != '\n' && c.is_control() || c == '\u{202e}';
            assert!(finished.stderr.contains("error: ") && !finished.stderr.contains(effect), "{finished:?}");
        }
    }
}

#[test]
fn a_name_without_its_role_is_answered_with_the_role() {
    let home = Home::initialized();
    for (given, meant) in [
        ("alice", "api-user/alice"),
        ("api.example.com", "control-service/api.example.com"),
        ("10.0.0.5", "control-service/10.0.0.5"),
        (NODE, &format!("node-agent/{NODE}")),
    ] {
        for command in ["show", "revoke", "renew"] {
            let refusal = run_inside(&home, &["--json", command, given]).refusal();
            assert_eq!((refusal.exit, refusal.code.as_str()), (2, "usage.target"), "{refusal:?}");
            assert_eq!(refusal.hint, format!("a name needs its role: {meant}"));
        }
    }
    let refusal = run_inside(&home, &["--json", "show", "foo/bar"]).refusal();
    assert!(refusal.hint.starts_with("give a serial number, ROLE/NAME"), "{refusal:?}");
}

#[test]
fn foreign_text_is_quoted_in_part() {
    let home = Home::initialized();
    let long = "x".repeat(100_000);
    for arguments in [
        &["show", &long][..],
        &["show", &format!("api-user/{long}")],
        &["show", &format!("{long}/a")],
        &["create-control", &long],
        &["create-api-user", &long],
        &["create-node", &long],
        &["create-api-user", "a", "--validity", &long],
        &["create-api-user", "a", "--key-type", &long],
        &["list", "--issued-after", &long],
        &["list", "--reason", &long],
        &["list", "--status", &long],
        &["list", "--role", &long],
        &["revoke", "api-user/a", "--reason", &long],
        &["crl", "push", "--gateway", &long],
        &["crl", "push", "--operator", &long],
        &["distribute", "api-user/a", "--to", &long],
        &["audit", "verify", "--head", &long],
        &["initialize", &long],
        &["profiles", "show", &long],
        &["guide", &long],
        &["man", &long],
        &[&long],
        &[&format!("--{long}")],
    ] {
        let finished = run_inside(&home, arguments);
        let size = finished.stderr.len();
        assert!(
            finished.exit > Some(0) && size < 2_000,
            "{} {size}: {:.3000}",
            arguments[0],
            finished.stderr
        );
    }
}

#[test]
fn nodes_are_named_as_arguments_like_hosts_and_users() {
    let home = Home::initialized();
    home.ok(&["create-node", NODE, OTHER_NODE]);
    for node in [NODE, OTHER_NODE] {
        assert!(home.path(format!("issued/node-{node}.key")).exists());
    }
    let refusal = run_inside(&home, &["--json", "create-node", "web-1"]).refusal();
    assert_eq!((refusal.exit, refusal.code.as_str()), (2, "usage.arguments"), "{refusal:?}");
    assert!(refusal.message.contains("not a UUID, such as "), "{refusal:?}");
    let refusal = run_inside(&home, &["--json", "create-node", NODE, "--count", "2"]).refusal();
    assert_eq!((refusal.exit, refusal.code.as_str()), (2, "usage.arguments"), "{refusal:?}");
}

#[test]
fn reasons_are_taken_as_rfc_5280_spells_them() {
    let home = Home::initialized();
    for (name, reason) in [("a", "keyCompromise"), ("b", "key-compromise"), ("c", "CessationOfOperation")] {
        home.ok(&["create-api-user", name]);
        let expected = if name == "c" { "cessation-of-operation" } else { "key-compromise" };
        let revoked = home.ok(&["revoke", &format!("api-user/{name}"), "--reason", reason]);
        assert_eq!(revoked["reason"], expected, "{revoked}");
    }
    let refusal = run_inside(&home, &["--json", "revoke", "api-user/a", "--reason", "compromised"]).refusal();
    assert_eq!((refusal.exit, refusal.code.as_str()), (2, "usage.arguments"), "{refusal:?}");
}

#[test]
fn a_preview_counts_only_what_is_not_revoked_yet() {
    let home = Home::initialized();
    for name in ["a", "b", "c"] {
        home.ok(&["create-api-user", name]);
    }
    let preview = || run_inside(&home, &["revoke", "--role", "api-user", "--dry-run"]).stdout;
    assert!(preview().ends_with("\n3 certificates would be revoked (none is yet)\n"), "{}", preview());
    home.ok(&["revoke", "api-user/a"]);
    home.ok(&["revoke", "api-user/b"]);
    let one = run_inside(&home, &["revoke", "--public-key", "issued/user-a.crt", "--dry-run"]).stdout;
    assert!(one.ends_with("\nNo certificate would be revoked; 1 already revoked\n"), "{one}");
}

#[test]
fn a_guide_of_the_other_program_is_pointed_at() {
    let home = Home::empty();
    let of_ca = run_inside(&home, &["guide", "policy"]);
    assert!(
        of_ca.exit == Some(2) && of_ca.stderr.contains("tip: cluster-gateway guide policy\n"),
        "{of_ca:?}"
    );
    let of_gateway = gateway(&home, &["guide", "renewal"]);
    assert!(
        of_gateway.exit == Some(2) && of_gateway.stderr.contains("tip: cluster-ca guide renewal\n"),
        "{of_gateway:?}"
    );
    assert!(!run_inside(&home, &["guide", "nonsense"]).stderr.contains("tip:"));
}

#[test]
fn a_configuration_given_as_an_argument_is_answered_with_the_option() {
    let home = Home::empty();
    home.write("gateway.yaml", "");
    for command in ["check", "run", "status"] {
        let finished = gateway(&home, &[command, "gateway.yaml"]);
        assert!(
            finished.exit == Some(2) && finished.stderr.contains("tip: --config gateway.yaml\n"),
            "{finished:?}"
        );
    }
    assert!(!gateway(&home, &["check", "nope.yaml"]).stderr.contains("tip:"));
}

#[test]
fn options_without_an_effect_are_not_shown_and_still_accepted() {
    let home = Home::initialized();
    let help = |command: &[&str]| {
        let output = cluster_ca().args(command).arg("--help").output().expect("cluster-ca starts");
        Finished::from(output).stdout
    };
    assert!(!help(&["list"]).contains("--passphrase-file") && help(&["list"]).contains("--home"));
    assert!(!help(&["guide"]).contains("--home"));
    assert!(!help(&["crl", "publish"]).contains("--templates"));
    assert!(help(&["crl", "publish"]).contains("--passphrase-file"));
    assert!(help(&["create-node"]).contains("--templates"));
    home.ok(&["list", "--passphrase-file", "unused"]);
    // Given after the command, a hidden option still has its effect.
    let elsewhere = run_inside(&home, &["guide", "--home", "nowhere"]);
    assert_eq!(elsewhere.exit, Some(0), "{elsewhere:?}");
}

#[test]
fn a_command_of_the_gateway_can_be_quiet() {
    let home = Home::initialized();
    let quiet = gateway(&home, &["check", "--config", "nope", "--quiet"]);
    assert!(
        quiet.exit == Some(3) && quiet.stdout.is_empty() && quiet.stderr.contains("[file.missing]"),
        "{quiet:?}"
    );
    let both = gateway(&home, &["check", "--config", "nope", "--quiet", "--json"]);
    assert_eq!(both.exit, Some(2), "{both:?}");
}
