//! The very words that people see after success, and the pages that help them.

use std::process::{Command, Stdio};

use super::run_inside;
use crate::home::{Finished, Home, cluster_ca};

/// The commands that `cluster-ca --help` lists.
fn commands() -> Vec<String> {
    let overview = said(&["--help"]);
    let listed = overview.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let commands: Vec<String> = listed
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .map(str::to_owned)
        .collect();
    assert!(commands.len() > 20, "{overview}");
    commands
}

/// `text` with what differs from run to run in brackets: serial numbers, digests and times.
fn filtered(text: &str) -> String {
    let is_time =
        |word: &str| word.len() == 20 && word.ends_with('Z') && word.as_bytes().get(10) == Some(&b'T');
    let is_date = |word: &str| word.len() == 10 && time_of_day_is_missing(word);
    let is_hex = |word: &str, length| word.len() == length && word.bytes().all(|b| b.is_ascii_hexdigit());
    let mut filtered = String::new();
    for piece in
        text.split_inclusive(|c: char| c.is_whitespace() || matches!(c, ',' | ')' | ':' | '(') && c != ':')
    {
        let word = piece.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let replaced = match word {
            word if is_time(word) => "[TIME]",
            word if is_date(word) => "[DATE]",
            word if is_hex(word, 32) => "[SERIAL]",
            word if is_hex(word, 64) => "[DIGEST]",
            word => word,
        };
        filtered.push_str(replaced);
        filtered.push_str(&piece[word.len()..]);
    }
    filtered
}

fn time_of_day_is_missing(word: &str) -> bool {
    word.bytes()
        .enumerate()
        .all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() })
}

#[test]
fn success_says_what_where_until_when_and_what_next() {
    let home = Home::empty();
    for (command, expected) in [
        (
            &["initialize", "prod"][..],
            "Created the cluster prod (trust domain prod)
  certificate  cluster.crt  (public: copy it to every machine)
  key          cluster.key  (0600; any user who can read it controls the cluster)
  CRL          cluster.crl  (empty; next update [TIME])
  inventory    ca.db
  root         ecdsa-p256, serial [SERIAL]
  valid until  [TIME]
  trust domain a single label; strict RFC 5280 linters want a domain name: --trust-domain prod.example.com

Next: cluster-ca create-control HOST    (the name or address that clients will use)
",
        ),
        (
            &["create-control", "api.example.com", "--san", "10.0.0.1"],
            "Issued control-service/api.example.com
  certificate  issued/control-api.example.com.crt
  key          issued/control-api.example.com.key  (0600)
  serial       [SERIAL]
  identity     spiffe://prod/control-service/api.example.com
  hosts        control-service, api.example.com, 10.0.0.1
  valid until  [TIME]

Next: cluster-ca distribute control-service/api.example.com --to root@api.example.com:/etc/cluster
",
        ),
        (
            &["create-api-user", "alice"],
            "Issued api-user/alice
  certificate  issued/user-alice.crt
  key          issued/user-alice.key  (0600)
  serial       [SERIAL]
  identity     spiffe://prod/api-user/alice
  valid until  [TIME]

Next: cluster-ca bundle api-user/alice
",
        ),
        (
            &["revoke", "api-user/alice", "--reason", "key-compromise"],
            "Revoked api-user/alice (key-compromise)
  serial       [SERIAL]
  CRL          cluster.crl  (number 2, next update [TIME])

Next: copy the CRL to every gateway, for example
  scp cluster.crl root@GATEWAY:/etc/cluster/
or list the gateways in gateways.yaml, and push it: cluster-ca crl push --help
",
        ),
        (
            &["list"],
            "STATUS   ROLE             NAME             VALID UNTIL
valid    control-service  api.example.com  [DATE]
revoked  api-user         alice            [DATE]
",
        ),
    ] {
        let finished = run_inside(&home, command);
        assert_eq!((finished.exit, finished.stderr.as_str()), (Some(0), ""), "{command:?}");
        assert_eq!(filtered(&finished.stdout), expected, "{command:?}");
    }
}

fn said(arguments: &[&str]) -> String {
    let finished = Finished::from(cluster_ca().args(arguments).output().expect("cluster-ca starts"));
    assert_eq!((finished.exit, finished.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    finished.stdout
}

#[test]
fn every_command_explains_itself() {
    for command in commands() {
        let help = said(&[&command, "--help"]);
        assert!(help.contains(&format!("Usage: cluster-ca {command}")), "{help}");
        assert!(said(&["man", &command]).contains(".SH NAME"), "{command}");
    }
    assert!(said(&["--version"]).starts_with("cluster-ca "));
    assert!(said(&["man"]).starts_with(".ie") || said(&["man"]).contains(".TH cluster-ca"));
}

#[test]
fn completions_are_there_for_every_shell_and_name_every_command() {
    let commands = commands();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = said(&["completions", shell]);
        for command in &commands {
            assert!(script.contains(command), "{shell} does not complete {command}");
        }
    }
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().expect("bash starts");
    let mut script = bash.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut script, said(&["completions", "bash"]).as_bytes()).expect("bash reads");
    drop(script);
    assert!(bash.wait().expect("bash ends").success(), "bash cannot read its completions");
}
