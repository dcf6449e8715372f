//! Runs every fuzz target over its corpus and a few thousand changed inputs.
//!
//! `scripts/fuzz` searches further, guided by coverage. `FUZZ_INPUTS` changes the number of inputs.

#![expect(clippy::unwrap_used, reason = "a test that can't read its corpus fails")]

mod mutator;
mod targets;

use std::env;
use std::fs;
use std::path::PathBuf;

use mutator::Mutator;
use targets::TARGETS;

/// Changed inputs for each target: one or two seconds.
const INPUTS: usize = 5000;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut files: Vec<PathBuf> =
        fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", directory.display());
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn run(name: &str) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).unwrap();
    let corpus = corpus(name);
    corpus.iter().for_each(|input| target(input));
    let mut mutator = Mutator::new(1);
    let inputs = env::var("FUZZ_INPUTS").map_or(INPUTS, |inputs| inputs.parse().unwrap());
    for number in 0..inputs {
        target(&mutator.next(&corpus, number % corpus.len()));
    }
}

#[test]
fn certificates() {
    run("certificate");
}

#[test]
fn configurations() {
    run("configuration");
}

#[test]
fn crls() {
    run("crl");
}

#[test]
fn csrs() {
    run("csr");
}

#[test]
fn kmip_responses() {
    run("kmip");
}

#[test]
fn ldap_responses() {
    run("ldap");
}

#[test]
fn paths() {
    run("path");
}

#[test]
fn responses() {
    run("response");
}

#[test]
fn every_target_is_run_and_has_a_corpus() {
    let tests = include_str!("main.rs");
    for (name, _) in TARGETS {
        assert!(tests.contains(&format!("run(\"{name}\")")), "no test runs `{name}`");
        assert!(!corpus(name).is_empty());
    }
}

#[test]
fn a_seed_gives_the_same_inputs() {
    let corpus = [b"first".to_vec(), b"second".to_vec(), Vec::new()];
    let inputs = |seed| {
        let mut mutator = Mutator::new(seed);
        (0..300).map(|at| mutator.next(&corpus, at % 3)).collect::<Vec<_>>()
    };
    assert_eq!(inputs(1), inputs(1));
    assert_ne!(inputs(1), inputs(2));
}
