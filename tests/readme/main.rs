//! README and guides, run as written: every command, in its order, one session for each document.
//!
//! A session has mount and network namespaces of its own. The machines of the examples are one real sshd on
//! loopback, `/etc/cluster` is a directory that only the session sees, and port 4523 is free. A guide that
//! begins with `<!-- continues: quick-start -->` runs after the commands of that guide.
//!
//! The language of a fenced block says what the test does with it:
//!
//! | block | test |
//! |---|---|
//! | `sh` | run; every command has to succeed |
//! | `sh exits N` | run; the one command has to exit with N |
//! | `sh not run: REASON` | parsed only: command, options and values have to exist |
//! | `yaml` with `# FILE` on its first line | written to that file at this point |
//! | `yaml` | has to be YAML |
//! | `text` right after `sh` | the output: each line has to occur in it, numbers and dates apart; `...` leaves lines out |
//! | `text`, `ini`, `hcl`, `json` | shown only |
//!
//! `UPDATE_DOCS=1` replaces the outputs that differ by what the commands print now. Identifiers in the outputs of one
//! document are of one session.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod document;
mod parse;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use document::Document;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README and guides, the README first.
fn documents() -> Vec<Document> {
    let mut guides: Vec<PathBuf> = fs::read_dir(root().join("src/guide"))
        .expect("src/guide has the guides")
        .map(|entry| entry.expect("src/guide can be read").path())
        .collect();
    guides.sort();
    std::iter::once(root().join("README.md")).chain(guides).map(|path| Document::read(&path)).collect()
}

#[test]
fn every_command_works_as_written() {
    let documents = documents();
    let only = std::env::var("ONLY_DOCS").unwrap_or_default();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(document) = documents.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !document.name.contains(&only) {
                        continue;
                    }
                    if let Err(failure) = session::run(document, &documents) {
                        failures.lock().expect("no thread panics with it").push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no thread panicked with it");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn every_command_that_is_not_run_parses() {
    let wrong: Vec<String> = documents().iter().flat_map(parse::problems).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_command_that_the_text_names_exists() {
    for document in documents() {
        for (program, exe) in [
            ("cluster-ca", env!("CARGO_BIN_EXE_cluster-ca")),
            ("cluster-gateway", env!("CARGO_BIN_EXE_cluster-gateway")),
        ] {
            for named in document.text.split(&format!("`{program} ")).skip(1) {
                let command = named.split('`').next().unwrap_or_default();
                let plain = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
                let words: Vec<&str> = command.split_whitespace().take_while(plain).collect();
                let Some(first) = words.first().filter(|word| !word.starts_with('-')) else { continue };
                let help = std::process::Command::new(exe)
                    .args([first, "--help"])
                    .output()
                    .expect("the program runs");
                assert!(help.status.success(), "{}: {program} has no command {first}", document.name);
            }
        }
    }
}

#[test]
fn the_readme_is_short() {
    let readme = Document::read(&root().join("README.md"));
    assert!(readme.text.lines().count() <= 200, "README.md has {} lines", readme.text.lines().count());
}

#[test]
fn the_readme_lists_every_guide_of_both_programs() {
    let readme = Document::read(&root().join("README.md"));
    let table = readme.text.split("| Guides | Topics |").nth(1).expect("a table of guides");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let listed: BTreeMap<&str, BTreeSet<&str>> =
        rows.map(|(guides, topics)| (guides, topics.split('`').skip(1).step_by(2).collect())).collect();
    let topics = |exe: &str| -> BTreeSet<String> {
        let output = std::process::Command::new(exe).arg("guide").output().expect("the program runs");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    };
    let ca = topics(env!("CARGO_BIN_EXE_cluster-ca"));
    let gateway = topics(env!("CARGO_BIN_EXE_cluster-gateway"));
    let owned =
        |row: &str| -> BTreeSet<String> { listed[row].iter().map(|topic| (*topic).to_owned()).collect() };
    assert_eq!(owned("`cluster-ca guide`"), &ca - &gateway);
    assert_eq!(owned("`cluster-gateway guide`"), &gateway - &ca);
    assert_eq!(owned("both"), &ca & &gateway);
}

#[test]
fn every_key_of_a_file_is_in_its_guide_with_its_default() {
    use cluster_ca::file_schema::{Absent, FileSchema};
    let files: [(&FileSchema, &[&str]); 4] = [
        (&cluster_ca::gateway::config::schema::FILE, &["gateway-configuration.md", "limits.md"]),
        (&cluster_ca::distribute::DELIVERY_LIST_FILE, &["distribution.md"]),
        (&cluster_ca::server::config::schema::FILE, &["server.md"]),
        (&cluster_ca::gateway_client::GATEWAY_LIST_FILE, &["revocation.md"]),
    ];
    let documents = documents();
    for (file, guides) in files {
        let text: Vec<&str> = documents
            .iter()
            .filter(|document| guides.contains(&document.name.as_str()))
            .flat_map(|document| document.text.lines())
            .collect();
        for key in file.mappings.iter().flat_map(|mapping| mapping.keys) {
            let default = match key.absent {
                Absent::Default(value) => value,
                _ => "",
            };
            let shown = |line: &&&str| line.contains(key.name) && line.contains(default);
            assert!(text.iter().any(|line| shown(&line)), "{}: {} {default}", file.name, key.name);
        }
    }
}
