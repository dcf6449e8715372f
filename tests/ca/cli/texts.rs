//! The very words that people see after success, and the pages that help them.

use std::process::{Command, Stdio};

use super::run_inside;
use crate::home::{Finished, Home, cluster_ca};

/// The commands that `cluster-ca --help` lists.
fn commands() -> Vec<String> {
    let commands = listed_commands(&said(&["--help"]));
    assert!(commands.len() > 20, "{commands:?}");
    commands
}

/// The subcommands in a help page.
fn listed_commands(page: &str) -> Vec<String> {
    let listed = page.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    listed
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .map(str::to_owned)
        .collect()
}

/// The words of every command without subcommands, by the help pages that `help` prints.
pub(super) fn command_tree(help: impl Fn(&[&str]) -> String) -> Vec<Vec<String>> {
    let (mut found, mut open) = (Vec::new(), vec![Vec::new()]);
    while let Some(path) = open.pop() {
        let words: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let below = listed_commands(&help(&words));
        if below.is_empty() {
            found.push(path.clone());
        }
        open.extend(below.into_iter().map(|name| [path.as_slice(), &[name]].concat()));
    }
    found.sort();
    found
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

pub(super) fn said(arguments: &[&str]) -> String {
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

/// The help page of a command of `program` on a terminal of `columns`.
fn help_at(program: &str, columns: usize, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    let output = command.env("COLUMNS", columns.to_string()).args(arguments).output().expect("it starts");
    Finished::from(output).stdout
}

/// Lines of prose that end before the first word of the next one would not fit, in the middle of a sentence.
fn broken_twice(page: &str, columns: usize) -> Vec<&str> {
    let is_prose = |line: &str| line.starts_with(|c: char| !c.is_whitespace());
    let pairs = page.lines().zip(page.lines().skip(1));
    let broken = pairs.filter(|(line, next)| {
        let word = next.split_whitespace().next().unwrap_or_default();
        is_prose(line)
            && is_prose(next)
            && !line.ends_with(['.', ':'])
            && line.chars().count() + 1 + word.chars().count() <= columns
    });
    broken.map(|(line, _)| line).collect()
}

#[test]
fn no_help_page_breaks_a_paragraph_in_the_middle_of_a_line() {
    let programs = [env!("CARGO_BIN_EXE_cluster-ca"), env!("CARGO_BIN_EXE_cluster-gateway")];
    for program in programs {
        let mut pages: Vec<Vec<String>> = command_tree(|words| help_at(program, 100, words));
        let groups: Vec<Vec<String>> = pages.iter().map(|path| path[..path.len() - 1].to_vec()).collect();
        pages.extend(groups);
        pages.sort();
        pages.dedup();
        for columns in [80, 100] {
            for path in &pages {
                let words: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
                let page = help_at(program, columns, &words);
                assert!(page.contains("Usage:"), "{words:?}: {page}");
                assert_eq!(broken_twice(&page, columns), [""; 0], "{words:?} at {columns} columns");
            }
        }
    }
    let page = "A sentence that ends\nin\nthe middle, and also\none that does not\nend there.\n";
    assert_eq!(broken_twice(page, 20), ["in"]);
}
