//! Each foreign crate stays in the rooms that translate it.

use std::collections::BTreeSet;
use std::fs;

use crate::offence::{Offence, judge};
use crate::paths::Mention;
use crate::tree::Tree;
use crate::{root, source};

/// Everywhere: vocabulary without a world behind it.
const ANYWHERE: &[&str] = &[""];

/// Each dependency and its rooms: a module, a directory or one file, below `src` and without `.rs`.
///
/// A new dependency gets its line here.
const CRATES: &[(&str, &[&str])] = &[
    ("argon2", &["accounts"]),
    ("arc-swap", &["gateway", "server"]),
    (
        "aws-lc-rs",
        &[
            "clock",
            "gateway/upstream/assertion",
            "keys",
            "age_stream",
            "x509",
            "distribute/key_store",
            "tokens",
        ],
    ),
    ("axum", &["server/api", "server/downstream"]),
    ("base64", &["gateway", "keys", "mtls", "age_stream", "x509", "tokens"]),
    ("bytes", &["gateway", "gateway_client"]),
    ("clap", &["terminal", "cli", "gateway/commands"]),
    ("clap_complete", &["terminal"]),
    ("clap_mangen", &["terminal"]),
    ("comfy-table", &["cli", "gateway/admin/text", "terminal/guide"]),
    // Loads the modules of tokens, foreign code, into this process.
    ("cryptoki", &["keys/kms/pkcs11"]),
    (
        "http",
        &["gateway", "server", "serving", "mtls/identity_headers", "gateway_client", "keys/kms/vault/names"],
    ),
    (
        "http-body",
        &[
            "gateway/message/request_body",
            "gateway/request/response_body",
            "gateway/request/stall_watch",
            "gateway/upstream",
            "server/downstream/requests",
        ],
    ),
    (
        "http-body-util",
        &["gateway", "serving/metrics_listener", "server/api/extract", "gateway_client/session"],
    ),
    ("httparse", &["gateway/upstream"]),
    ("itoa", &["gateway/telemetry/json_text"]),
    (
        "hyper",
        &[
            "gateway/message/request_body",
            "gateway/message/upgrade",
            "gateway/downstream/connection",
            "gateway/process/demo_upstream",
            "serving/metrics_listener",
            "gateway/request/service",
            "gateway/request/h2_executor",
            "gateway/request/tunnel",
            "gateway_client/session",
            "server/downstream",
        ],
    ),
    (
        "hyper-util",
        &[
            "gateway/downstream/connection",
            "gateway/process/demo_upstream",
            "serving/metrics_listener",
            "gateway/request/tunnel",
            "gateway_client/session",
            "server/downstream/connection",
        ],
    ),
    ("indicatif", &["terminal"]),
    ("ipnet", &["profile"]),
    ("notify", &["gateway/control/file_watch"]),
    ("p12-keystore", &["distribute/key_store"]),
    ("pem", &["x509"]),
    ("pkcs12", &["distribute/key_store"]),
    ("pkcs8", &["keys/passphrase", "distribute/key_store"]),
    ("pulldown-cmark", &["terminal/guide"]),
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
            "serving/log_file",
            "gateway/process/descriptors",
            "secret",
            "terminal/guide",
            "terminal/table",
        ],
    ),
    (
        "rustls",
        &[
            "gateway/downstream/handshake",
            "gateway/message/hosts",
            "gateway/state/snapshot",
            "mtls",
            "serving/negotiation",
            "server/downstream/handshake",
            "server/state",
            "gateway_client/context",
            "keys/kms/kmip/connection",
            "keys/kms/tls",
            "keys/kms/vault/tls_connector",
            "ldap/connection",
            "probe/handshake",
            "probe/outcome",
            "api_client/https",
        ],
    ),
    ("rustls-native-certs", &["keys/kms/trust_anchors"]),
    ("rustls-pki-types", &["ca", "gateway", "gateway_client", "keys", "mtls", "probe", "revocation", "x509"]),
    // The key of a backup is made from a passphrase; the one crypto library has no scrypt.
    ("scrypt", &["keys/passphrase", "age_stream"]),
    ("sd-notify", &["server/process"]),
    ("serde", ANYWHERE),
    ("serde_json", ANYWHERE),
    ("serde_yaml", &["gateway/config", "yaml"]),
    // The key derivation of PKCS#12 is generic over it.
    ("sha2", &["distribute/key_store"]),
    ("socket2", &["gateway", "serving"]),
    ("tar", &["ca/backup", "distribute/archive"]),
    ("thiserror", ANYWHERE),
    ("tikv-jemallocator", &["bin/cluster-ca", "bin/cluster-gateway"]),
    ("time", ANYWHERE),
    ("tokio", &["gateway", "mtls", "server", "serving", "gateway_client/fan_out", "gateway_client/session"]),
    (
        "tokio-rustls",
        &[
            "gateway/downstream/connection",
            "gateway/downstream/handshake",
            "gateway_client/session",
            "server/downstream/handshake",
            "serving/negotiation",
        ],
    ),
    ("tower-service", &["server/downstream/requests"]),
    ("tracing", &["gateway", "mtls", "server", "serving"]),
    ("tracing-subscriber", &["serving/logging"]),
    ("uuid", &["ca", "cli", "gateway", "identity", "keys", "mtls", "profile", "store"]),
    ("unicode-width", &["terminal/table"]),
    ("utoipa", &["server/api"]),
    ("ureq", &["keys/kms/vault/https", "keys/kms/vault/tls_connector", "api_client/https"]),
    ("webpki", &["revocation", "x509"]),
    ("x509-parser", &["x509"]),
    (
        "zeroize",
        &[
            "distribute/session",
            "keys",
            "age_stream",
            "ldap",
            "secret",
            "x509",
            "api_client/https",
            "server/api/account_call",
        ],
    ),
];

#[test]
fn crates_stay_in_their_rooms() {
    judge("crates", &offences(source()));
}

#[test]
fn every_dependency_has_its_line() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let dependencies: BTreeSet<&str> = dependencies(&manifest).into_iter().collect();
    let lines: BTreeSet<&str> = CRATES.iter().map(|(name, _)| *name).collect();
    assert_eq!(lines, dependencies, "CRATES (tests/layers/crates.rs) confines each dependency of Cargo.toml");
}

#[test]
fn rooms_of_crates_exist() {
    let files = &source().files;
    let rooms = CRATES.iter().flat_map(|(name, rooms)| rooms.iter().map(move |room| (name, room)));
    let lost = rooms.filter(|(_, room)| !files.iter().any(|file| is_in(&file.path, room)));
    let offences: Vec<Offence> = lost
        .map(|(name, room)| {
            Offence::new(
                "src",
                format!("CRATES (tests/layers/crates.rs) gives `{name}` the room {room}, which is gone"),
            )
        })
        .collect();
    judge("lost-rooms", &offences);
}

fn is_in(file: &str, room: &str) -> bool {
    room.is_empty() || file.strip_prefix(room).is_some_and(|rest| rest.starts_with(['/', '.']))
}

fn offences(tree: &Tree) -> Vec<Offence> {
    let mut found = Vec::new();
    for (index, module) in tree.shipped() {
        let file = tree.path_of(index);
        // `use rcgen;` binds the crate's own name; every other import shadows what it binds.
        let imports = module.imports.iter().filter(|import| import.segments.len() > 1);
        let bound: BTreeSet<&str> = imports.filter_map(|import| import.name.as_deref()).collect();
        let is_head_of_crate = |mention: &&Mention| {
            let head = mention.segments[0].as_str();
            mention.is_import || mention.is_foreign || mention.segments.len() > 1 && !bound.contains(head)
        };
        for mention in module.mentions.iter().filter(is_head_of_crate) {
            let Some((name, rooms)) =
                CRATES.iter().find(|(name, _)| name.replace('-', "_") == mention.segments[0])
            else {
                continue;
            };
            if tree.resolve(index, mention).is_none() && !rooms.iter().any(|room| is_in(file, room)) {
                let line = mention.line;
                found.push(Offence::new(
                    "src",
                    format!("src/{file}:{line}: the crate `{name}` stays in {rooms:?}"),
                ));
            }
        }
    }
    found
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

#[test]
fn a_crate_outside_its_rooms_is_an_offence() {
    let count = |file: &str, source: &str| {
        let (folder, name) = file.rsplit_once('/').unwrap();
        let mut files = vec![(format!("{file}.rs"), source.to_owned())];
        let (mut folder, mut name) = (folder.to_owned(), name.to_owned());
        loop {
            let module = if folder.is_empty() { "lib.rs".to_owned() } else { format!("{folder}/mod.rs") };
            files.push((module, format!("mod {name};")));
            if folder.is_empty() {
                break;
            }
            (folder, name) = folder
                .rsplit_once('/')
                .map_or((String::new(), folder.clone()), |(a, b)| (a.to_owned(), b.to_owned()));
        }
        let files: Vec<(&str, &str)> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        offences(&Tree::of(&files)).len()
    };
    for (file, source) in [
        ("store/rows", "use rcgen::KeyPair;"),
        ("profile/set", "#[derive(clap::Parser)] struct P;"),
        ("gateway/request/service", "use {serde_yaml::Value, http::Uri};"),
        ("gateway/policy/tree", "fn f() { ::hyper::body() }"),
        ("gateway/policy/tree", "fn f() { println!(\"{}\", hyper::body()) }"),
        ("mtlsish/tls", "use rustls::ServerConfig;"),
        ("ca/issue", "fn f(x: x509_parser::Certificate) {}"),
        ("ca/issue", "use hyper;"),
        ("ca/issue", "extern crate hyper;"),
    ] {
        assert_eq!(count(file, source), 1, "{file}: {source}");
    }
    for (file, source) in [
        ("gateway/config/file", "use serde_yaml::Value;"),
        ("x509/trust", "#[cfg(test)] mod tests { use rcgen::KeyPair; }"),
        ("x509/trust", "use rustls_pki_types::rcgen; fn f() { rcgen::read() }"),
        ("x509/trust", "use crate::x509 as rcgen; fn f() { rcgen::read(); let hyper = 1; hyper.into() }"),
    ] {
        assert_eq!(count(file, source), 0, "{file}: {source}");
    }
}
