//! The house rules that a compiler can't hold: which module may import which, which foreign crate
//! may be spoken in which room, and how the tree is laid out.
//!
//! [`MODULES`] and [`CRATES`] are the whole truth. A new module or dependency gets its line there
//! first, and whoever reviews that line decides on the architecture.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that can't read the tree fails")]

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use source::{Kind, Token, declared_modules, part_tests, paths, tokens};

/// Each top-level module and what it may import, lowest first: a module imports only what stands
/// above it here.
const MODULES: &[(&str, &[&str])] = &[
    // Ground.
    ("clock", &[]),
    ("secret", &[]),
    ("files", &["secret"]),
    ("yaml", &["files"]),
    // Domain.
    ("x509", &["clock", "files", "secret"]),
    ("identity", &["clock", "x509"]),
    ("revocation", &["clock", "files", "x509"]),
    ("profile", &["clock", "files", "identity", "x509", "yaml"]),
    // What is kept.
    ("audit", &["clock", "files", "identity", "x509"]),
    ("store", &["audit", "clock", "files", "identity", "profile", "revocation", "x509"]),
    ("keys", &["clock", "files", "secret", "x509"]),
    ("sealed", &["clock", "secret"]),
    // What is done.
    (
        "ca",
        &[
            "audit",
            "clock",
            "files",
            "identity",
            "keys",
            "profile",
            "revocation",
            "sealed",
            "secret",
            "store",
            "x509",
        ],
    ),
    ("distribute", &["clock", "files", "identity", "keys", "secret", "x509", "yaml"]),
    // A look at a live endpoint needs a TLS of its own: the gateway is a face, and the CA knows no network.
    ("probe", &["identity", "keys", "revocation", "x509"]),
    // Calling a gateway is a look at an endpoint that goes on to talk.
    ("gateway_client", &["identity", "probe", "revocation", "x509", "yaml"]),
    // Shared by faces.
    (
        "terminal",
        &[
            "ca",
            "clock",
            "distribute",
            "files",
            "gateway_client",
            "identity",
            "keys",
            "probe",
            "profile",
            "revocation",
            "store",
            "x509",
        ],
    ),
    // Faces.
    ("gateway", &["clock", "files", "identity", "keys", "revocation", "secret", "x509", "yaml"]),
    (
        "cli",
        &[
            "audit",
            "ca",
            "clock",
            "distribute",
            "files",
            "gateway_client",
            "identity",
            "keys",
            "probe",
            "profile",
            "revocation",
            "secret",
            "store",
            "terminal",
            "x509",
            "yaml",
        ],
    ),
    ("bin", &["cli", "gateway", "terminal"]),
];

/// Everywhere: vocabulary without a world behind it.
const ANYWHERE: &[&str] = &[""];

/// Each dependency and its rooms: a module, a directory or one file, below `src` and without `.rs`.
const CRATES: &[(&str, &[&str])] = &[
    ("arc-swap", &["gateway"]),
    ("aws-lc-rs", &["clock", "gateway/upstream/assertion", "keys", "sealed", "x509"]),
    ("base64", &["gateway", "keys", "sealed", "x509"]),
    ("bytes", &["gateway", "gateway_client"]),
    ("clap", &["terminal", "cli", "bin"]),
    ("clap_complete", &["terminal"]),
    ("clap_mangen", &["terminal"]),
    ("comfy-table", &["cli", "gateway/admin/text"]),
    // Loads the modules of tokens, foreign code, into this process.
    ("cryptoki", &["keys/kms/pkcs11"]),
    ("http", &["gateway", "gateway_client", "keys/kms/vault/names"]),
    ("http-body", &["gateway/request/body", "gateway/request/stall_watch"]),
    ("http-body-util", &["gateway", "gateway_client/session"]),
    (
        "hyper",
        &[
            "gateway/request/body",
            "gateway/downstream/connection",
            "gateway/process/demo_upstream",
            "gateway/upstream/pool",
            "gateway/admin/metrics_listener",
            "gateway/request/service",
            "gateway/request/h2_executor",
            "gateway/request/tunnel",
            "gateway_client/session",
        ],
    ),
    (
        "hyper-util",
        &[
            "gateway/downstream/connection",
            "gateway/process/demo_upstream",
            "gateway/upstream/pool",
            "gateway/admin/metrics_listener",
            "gateway/request/tunnel",
            "gateway_client/session",
        ],
    ),
    ("indicatif", &["terminal"]),
    ("ipnet", &["profile"]),
    ("notify", &["gateway/control/file_watch"]),
    ("p12-keystore", &["distribute/key_store"]),
    ("pem", &["x509"]),
    ("pkcs8", &["keys/passphrase"]),
    ("rcgen", &["ca", "keys"]),
    ("rusqlite", &["store"]),
    ("rpassword", &["cli/secrets"]),
    (
        "rustix",
        &[
            "cli/actor",
            "distribute/ssh",
            "files",
            "gateway/admin",
            "gateway/telemetry/log_file",
            "gateway/process/run",
        ],
    ),
    (
        "rustls",
        &[
            "gateway/downstream/handshake",
            "gateway/mtls/server_certificate",
            "gateway/mtls/resumption",
            "gateway/mtls/server_name",
            "gateway/state/loader",
            "gateway/mtls/server_config",
            "gateway/mtls/verifier",
            "gateway_client/context",
            "keys/kms/vault/https",
            "keys/kms/kmip/connection",
            "probe/handshake",
            "probe/outcome",
            "probe/tls_client",
        ],
    ),
    ("rustls-native-certs", &["keys/kms/trust_anchors"]),
    ("rustls-pki-types", &["ca", "gateway", "gateway_client", "keys", "probe", "revocation", "x509"]),
    // The key of a backup is made from a passphrase; the one crypto library has no scrypt.
    ("scrypt", &["keys/passphrase", "sealed"]),
    ("serde", ANYWHERE),
    ("serde_json", ANYWHERE),
    ("serde_yaml", &["gateway/config", "yaml"]),
    ("socket2", &["gateway"]),
    ("tar", &["ca/backup", "distribute/archive"]),
    ("thiserror", ANYWHERE),
    ("tikv-jemallocator", &["bin/cluster-gateway"]),
    ("time", ANYWHERE),
    ("tokio", &["gateway", "gateway_client/fan_out", "gateway_client/session"]),
    (
        "tokio-rustls",
        &["gateway/downstream/connection", "gateway/downstream/handshake", "gateway_client/session"],
    ),
    ("tracing", &["gateway"]),
    ("tracing-subscriber", &["bin/cluster-gateway"]),
    ("uuid", &["ca", "cli", "gateway", "identity", "keys", "profile", "store"]),
    ("ureq", &["keys/kms/vault/https"]),
    ("webpki", &["revocation", "x509"]),
    ("x509-parser", &["x509"]),
    ("zeroize", &["distribute/session", "keys", "sealed", "secret", "x509"]),
];

/// What the repository's top level holds, besides dot-files and the build's `target`.
const TOP_LEVEL: &[&str] =
    &["Cargo.lock", "Cargo.toml", "README.md", "ca-templates", "scripts", "src", "tests"];

/// The longest a source file may be: what a reader can hold in the head.
const MOST_LINES: usize = 900;

/// The one file that may wait for time to pass, between two looks at what it waits for.
const WAITING_ROOM: &str = "tests/common/eventually.rs";

#[test]
fn the_table_points_downward() {
    for (at, (module, imports)) in MODULES.iter().enumerate() {
        for import in *imports {
            let is_lower = MODULES[..at].iter().any(|(lower, _)| lower == import);
            assert!(is_lower, "`{module}` may not import `{import}`: it does not stand below it in MODULES");
        }
    }
}

#[test]
fn imports_point_downward_and_crates_stay_in_their_rooms() {
    let tree = read_tree(&root().join("src"));
    let for_tests = test_only_files(&tree);
    let offences: Vec<String> = tree
        .iter()
        .filter(|(file, _)| !for_tests.contains(*file))
        .flat_map(|(file, text)| offences(file, text))
        .collect();
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

#[test]
fn every_module_and_every_dependency_has_its_line() {
    let mut unknown = Vec::new();
    for (file, _) in read_tree(&root().join("src")) {
        let module = top_module(&file);
        if module != "lib" && !MODULES.iter().any(|(name, _)| *name == module) {
            unknown.push(format!(
                "src/{file}.rs: the module `{module}` has no line in MODULES (tests/layers/main.rs): add it \
                 to its layer with what it may import, and to the table in src/lib.rs"
            ));
        }
    }
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let dependencies = dependencies(&manifest);
    for (name, _) in CRATES.iter().filter(|(name, _)| !dependencies.contains(name)) {
        unknown
            .push(format!("CRATES (tests/layers/main.rs) has a line for `{name}`, which is no dependency"));
    }
    for dependency in dependencies {
        if !CRATES.iter().any(|(name, _)| *name == dependency) {
            unknown.push(format!(
                "Cargo.toml: the dependency `{dependency}` has no line in CRATES (tests/layers/main.rs): \
                 confine it to the rooms that need it"
            ));
        }
    }
    assert!(unknown.is_empty(), "\n{}\n", unknown.join("\n"));
}

#[test]
fn the_top_level_is_the_agreed_one() {
    let found: BTreeSet<String> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    let agreed: BTreeSet<String> = TOP_LEVEL.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(found, agreed, "the top level is what is agreed, and dot-files");
}

#[test]
fn no_file_outgrows_its_reader() {
    for directory in ["src", "tests"] {
        for (file, text) in read_tree(&root().join(directory)) {
            let lines = text.lines().count();
            assert!(
                lines <= MOST_LINES,
                "{directory}/{file}.rs has {lines} lines; split it below {MOST_LINES}"
            );
        }
    }
}

#[test]
fn tests_neither_sleep_nor_are_skipped() {
    let mut found = Vec::new();
    for (file, text) in read_tree(&root().join("src")) {
        found.extend(unfinished(&format!("src/{file}.rs"), &text, &part_tests(tokens(&text)).1));
    }
    // A measurement waits until its machine has come to rest.
    let is_test = |file: &str| !file.starts_with("bench/");
    for (file, text) in read_tree(&root().join("tests")).into_iter().filter(|(file, _)| is_test(file)) {
        found.extend(unfinished(&format!("tests/{file}.rs"), &text, &tokens(&text)));
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The source files below `directory` by their path without `.rs`; `a/mod.rs` is `a`.
fn read_tree(directory: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap_or_else(|error| panic!("{}: {error}", next.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(directory).unwrap().with_extension("");
                let name = name.to_str().unwrap();
                let text = fs::read_to_string(&path).unwrap();
                files.insert(name.strip_suffix("/mod").unwrap_or(name).to_owned(), text);
            }
        }
    }
    assert!(!files.is_empty(), "no source below {}", directory.display());
    files
}

fn top_module(file: &str) -> &str {
    file.split('/').next().unwrap_or(file)
}

/// The files that their parent declares under `#[cfg(test)]`.
fn test_only_files(tree: &BTreeMap<String, String>) -> BTreeSet<String> {
    let declared = tree.iter().flat_map(|(file, text)| {
        let (_, tests) = part_tests(tokens(text));
        declared_modules(&tests).into_iter().map(move |name| match file.as_str() {
            "lib" => name,
            file => format!("{file}/{name}"),
        })
    });
    declared.collect()
}

/// Every import in the file `src/FILE.rs` that its module, or its room, does not allow.
fn offences(file: &str, text: &str) -> Vec<String> {
    let own = top_module(file);
    let allowed = MODULES.iter().find(|(name, _)| *name == own).map_or(&[][..], |(_, imports)| imports);
    let (shipped, _) = part_tests(tokens(text));
    let mut offences = Vec::new();
    for path in paths(&shipped) {
        let place = format!("src/{file}.rs:{}", path.line);
        if let Some(module) = imported_module(file, &path.segments) {
            if module != own && !allowed.contains(&module.as_str()) {
                offences
                    .push(format!("{place}: `{own}` may not import `{module}`; it may import {allowed:?}"));
            }
        } else if let Some((name, rooms)) = CRATES.iter().find(|(name, _)| is_crate(name, &path.segments)) {
            let is_room =
                |room: &&str| room.is_empty() || file == *room || file.starts_with(&format!("{room}/"));
            if !rooms.iter().any(is_room) {
                offences.push(format!("{place}: the crate `{name}` stays in {rooms:?}"));
            }
        }
    }
    offences
}

fn is_crate(name: &str, segments: &[String]) -> bool {
    segments.first().is_some_and(|head| *head == name.replace('-', "_"))
}

/// The top-level module that a path in `file` leads to, if it leads into this crate.
fn imported_module(file: &str, segments: &[String]) -> Option<String> {
    let ups = segments.iter().take_while(|segment| *segment == "super").count();
    let depth = if file == "lib" { 0 } else { file.split('/').count() };
    let target = match segments.first()?.as_str() {
        "crate" | "cluster_ca" => segments.get(1),
        "super" if ups >= depth => segments.get(ups),
        _ => return None,
    };
    // A glob, or the crate under another name, would hide what is imported: no module is called `*`.
    Some(target.cloned().unwrap_or_else(|| "*".to_owned()))
}

/// The names under `[dependencies]`.
fn dependencies(manifest: &str) -> Vec<&str> {
    manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .collect()
}

/// What must not stand in finished work: sleeps and skipped tests in `tests`, gaps anywhere.
fn unfinished(file: &str, text: &str, tests: &[Token]) -> Vec<String> {
    let mut found = Vec::new();
    let follows =
        |tokens: &[Token], at: usize, mark| tokens.get(at).is_some_and(|t| t.kind == Kind::Mark(mark));
    for (at, token) in tests.iter().enumerate() {
        match token.word() {
            Some("sleep") if follows(tests, at + 1, '(') && file != WAITING_ROOM => {
                found.push(format!("{file}:{}: a test waits for an event, not for time", token.line));
            }
            Some("ignore") if at > 0 && follows(tests, at - 1, '[') => {
                found.push(format!("{file}:{}: a skipped test promises nothing", token.line));
            }
            _ => {}
        }
    }
    let all = tokens(text);
    for (at, token) in all.iter().enumerate() {
        if let Some(word @ ("todo" | "unimplemented" | "dbg")) = token.word()
            && follows(&all, at + 1, '!')
        {
            found.push(format!("{file}:{}: `{word}!` is not finished", token.line));
        }
    }
    found
}

#[test]
fn an_upward_import_is_an_offence_however_it_is_written() {
    for source in [
        "use crate::ca::Authority;",
        "use crate::{clock, ca::Authority};",
        "pub use crate::cli;",
        "fn f() -> crate::gateway::Gateway { start() }",
        "use super::super::keys::Key;",
        "use crate::*;",
        "use crate as everything;",
        "use crate::{self as everything};",
    ] {
        assert_eq!(offences("x509/certificate", source).len(), 1, "{source}");
    }
    for source in
        ["use crate::clock;", "use super::pem;", "use crate::x509::pem;", "#[cfg(test)] use crate::ca;"]
    {
        assert_eq!(offences("x509/certificate", source), [""; 0], "{source}");
    }
    assert_eq!(offences("bin/cluster-ca", "use cluster_ca::store::Inventory;").len(), 1);
}

#[test]
fn a_crate_outside_its_rooms_is_an_offence() {
    for (file, source) in [
        ("store/mod", "use rcgen::KeyPair;"),
        ("profile/mod", "#[derive(clap::Parser)] struct P;"),
        ("gateway/request/service", "use {serde_yaml::Value, http::Uri};"),
        ("gateway/policy", "fn f() { ::hyper::body() }"),
        ("gateway/tlsish", "use rustls::ServerConfig;"),
        ("ca/issue", "fn f(x: x509_parser::Certificate) {}"),
    ] {
        assert_eq!(offences(file, source).len(), 1, "{file}: {source}");
    }
    for (file, source) in [
        ("gateway/config", "use serde_yaml::Value;"),
        ("gateway/config/schema", "use serde_yaml::Value;"),
        ("x509/trust", "#[cfg(test)] mod tests { use rcgen::KeyPair; }"),
    ] {
        assert_eq!(offences(file, source), [""; 0], "{file}: {source}");
    }
}

#[test]
fn unfinished_work_is_found() {
    for source in ["fn f() { std::thread::sleep(d) }", "#[ignore] fn f() {}", "fn f() { todo!() }", "dbg!(x)"]
    {
        assert_eq!(unfinished("tests/a.rs", source, &tokens(source)).len(), 1, "{source}");
    }
    let source = "// todo!()\nfn ignore() { \"sleep(1)\" }";
    assert_eq!(unfinished("tests/a.rs", source, &tokens(source)), [""; 0]);
}
