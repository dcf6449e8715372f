//! Names that are empty, too long, misleading, or would mean something in a path, a certificate or
//! a shell.

use super::refused_without_a_trace;
use crate::home::Home;

/// What no name may look like, whatever it names, and one that is too long for each.
fn impossible_names() -> Vec<String> {
    let long = "a".repeat(300);
    let names = [
        "",
        " ",
        "a b",
        "a/b",
        "../a",
        "..",
        ".",
        "a,b",
        "a\nb",
        "a\u{1b}[2J",
        "älice",
        "аlice",
        "*",
        "a*",
        "-",
    ];
    names.into_iter().map(str::to_owned).chain([long]).collect()
}

#[test]
fn names_that_cannot_be_are_refused_for_every_role() {
    let home = Home::initialized();
    let commands: [(&[&str], &[&str]); 4] = [
        (&["create-api-user", "--"], &["control-service", "Alice", "a@b"]),
        (
            &["create-control", "--"],
            &["*.example.com", "a_b", "example.com.", "010.1.1.1", "::ffff:10.0.0.1"],
        ),
        (&["create-control", "api.example.com", "--san"], &["*.example.com", "api_2.example.com", "0.0.0.0"]),
        (&["create-node", "--san"], &["*.example.com", "control-service", "224.0.0.1"]),
    ];
    for (command, more) in commands {
        for name in impossible_names().iter().map(String::as_str).chain(more.iter().copied()) {
            let argument = format!("{}={name}", command[command.len() - 1]);
            let arguments = match command {
                [first, "--"] => vec![*first, "--", name],
                [rest @ .., _] => [rest, &[argument.as_str()]].concat(),
                [] => Vec::new(),
            };
            let before = home.state();
            let refusal = home.refused(&arguments);
            assert!(
                refusal.code.starts_with("name.") || refusal.code.starts_with("policy."),
                "{name:?}: {refusal:?}"
            );
            assert!(!refusal.words().contains('\u{1b}'), "{name:?} reaches the terminal as it is");
            assert!(home.state() == before, "{arguments:?} was refused and changed the home");
        }
    }
}

#[test]
fn a_node_has_a_random_uuid_or_none() {
    let home = Home::initialized();
    for (uuid, code) in [
        ("", "usage.arguments"),
        ("7", "usage.arguments"),
        ("../7", "usage.arguments"),
        ("00000000-0000-0000-0000-000000000000", "name.node_uuid"),
        ("6f1b1d3c-3a54-1b7e-9d1e-2f4c5b6a7d8e", "name.node_uuid"),
    ] {
        refused_without_a_trace(&home, &["create-node", &format!("--uuid={uuid}")], 2, code);
    }
}

#[test]
fn a_file_of_names_is_taken_whole_or_not_at_all() {
    let home = Home::initialized();
    let file = home.write("users", "alice\n# a comment\n\nbob\nEve\nmal\0lory\n..\n");
    let refusal = refused_without_a_trace(
        &home,
        &["create-api-user", "--from", file.to_str().expect("text")],
        2,
        "input.names",
    );
    for line in [5, 6, 7] {
        assert!(refusal.message.contains(&format!("users:{line}:")), "line {line} is not named: {refusal:?}");
    }
    for (contents, exit, code) in
        [("", 2, "input.names"), ("# nobody\n", 2, "input.names"), ("alice\nbob\nalice\n", 2, "input.names")]
    {
        let file = home.write("users", contents);
        refused_without_a_trace(
            &home,
            &["create-api-user", "--from", file.to_str().expect("text")],
            exit,
            code,
        );
    }
    let file = home.write("users", b"\xff\xfe");
    refused_without_a_trace(
        &home,
        &["create-api-user", "--from", file.to_str().expect("text")],
        2,
        "input.not_text",
    );
    refused_without_a_trace(&home, &["create-api-user", "--from", "/nowhere/users"], 3, "file.missing");
}

#[test]
fn a_cluster_needs_a_name_that_a_certificate_can_bear() {
    for (arguments, code) in [
        (&["initialize", ""][..], "name.empty"),
        (&["initialize", "a/b"], "name.character"),
        (&["initialize", "a,b"], "name.character"),
        (&["initialize", "pröd"], "name.character"),
        (&["initialize", "a\nb"], "name.character"),
        (&["initialize", " prod"], "name.edges"),
        (&["initialize", "My Cluster"], "name.trust_domain"),
        (&["initialize", "prod", "--trust-domain", ""], "name.empty"),
        (&["initialize", "prod", "--trust-domain", "Prod"], "name.character"),
        (&["initialize", "prod", "--trust-domain", "prod/x"], "name.character"),
        (&["initialize", "prod", "--trust-domain", "*.prod"], "name.character"),
    ] {
        let home = Home::empty();
        let refusal = home.refused(arguments);
        assert_eq!((refusal.exit, refusal.code.as_str()), (2, code), "{arguments:?}: {refusal:?}");
        assert!(home.contents().is_empty(), "{arguments:?} was refused and left files");
    }
    let home = Home::empty();
    let refusal = home.refused(&["initialize", &"a".repeat(65)]);
    assert_eq!((refusal.exit, refusal.code.as_str()), (2, "name.too_long"), "{refusal:?}");
}

#[test]
fn durations_and_targets_that_mean_nothing_are_usage_errors() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    for arguments in [
        &["create-api-user", "bob", "--validity", "90"][..],
        &["create-api-user", "bob", "--validity", "0d"],
        &["create-api-user", "bob", "--validity", "-1d"],
        &["create-api-user", "bob", "--key-type", "rsa-1024"],
        &["create-api-user"],
        &["create-node", "--count", "0"],
        &["create-node", "--count", "-1"],
        &["create-node", "extra"],
        &["revoke", "api-user/"],
        &["revoke", "admin/alice"],
        &["revoke", "api-user/alice", "--reason", "boredom"],
        &["list", "--status", "fine"],
        &["no-such-command"],
        &[],
    ] {
        let before = home.state();
        let refusal = home.refused(arguments);
        assert_eq!(refusal.exit, 2, "{arguments:?}: {refusal:?}");
        assert!(home.state() == before, "{arguments:?} was refused and changed the home");
    }
    for (arguments, code) in [
        (&["create-api-user", "bob", "--validity", "1m"][..], "policy.validity"),
        (&["create-api-user", "bob", "--validity", "50y"], "policy.validity"),
        (&["revoke", "api-user/nobody"], "ca.unknown_certificate"),
        (&["revoke", "00112233445566778899aabbccddeeff"], "ca.unknown_certificate"),
    ] {
        refused_without_a_trace(&home, arguments, 1, code);
    }
}
