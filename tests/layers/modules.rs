//! Each module imports only what stands below it.

use crate::graph::{Resolved, Target};
use crate::offence::{Offence, judge};
use crate::source;
use crate::tree::{Module, Tree};

/// Each top-level module and its imports, lowest first: a module imports only what stands above it here.
///
/// A new module gets its line here, in its layer.
pub(crate) const MODULES: &[(&str, &[&str])] = &[
    // Ground.
    ("error", &[]),
    ("clock", &["error"]),
    ("file_schema", &[]),
    ("secret", &[]),
    ("files", &["clock", "error", "secret"]),
    ("yaml", &["clock", "error", "file_schema", "files"]),
    // Domain.
    ("x509", &["clock", "error", "files", "secret"]),
    ("identity", &["clock", "error", "x509"]),
    ("revocation", &["clock", "error", "files", "x509"]),
    ("profile", &["clock", "error", "files", "identity", "x509", "yaml"]),
    ("tokens", &["clock", "error", "identity", "secret", "x509"]),
    // What is kept.
    ("audit", &["clock", "error", "files", "identity", "x509"]),
    ("store", &["audit", "clock", "error", "files", "identity", "profile", "revocation", "x509"]),
    ("keys", &["clock", "error", "files", "secret", "x509"]),
    ("age_stream", &["clock", "error", "secret"]),
    // What every TLS endpoint needs.
    ("mtls", &["clock", "error", "files", "identity", "keys", "revocation", "secret", "x509", "yaml"]),
    // What is done.
    (
        "ca",
        &[
            "age_stream",
            "audit",
            "clock",
            "error",
            "files",
            "identity",
            "keys",
            "profile",
            "revocation",
            "secret",
            "store",
            "tokens",
            "x509",
        ],
    ),
    ("distribute", &["clock", "error", "file_schema", "files", "identity", "keys", "secret", "x509", "yaml"]),
    ("ldap", &["clock", "error", "identity", "keys", "secret"]),
    (
        "accounts",
        &[
            "audit", "ca", "clock", "error", "files", "identity", "keys", "ldap", "profile", "secret",
            "store", "tokens", "x509",
        ],
    ),
    // A look at a live endpoint: the CA knows no network.
    ("probe", &["clock", "error", "identity", "keys", "mtls", "revocation", "x509"]),
    (
        "gateway_client",
        &[
            "clock",
            "error",
            "file_schema",
            "files",
            "identity",
            "mtls",
            "probe",
            "revocation",
            "x509",
            "yaml",
        ],
    ),
    ("api_client", &["clock", "error", "files", "identity", "secret", "x509"]),
    // Shared by the faces.
    (
        "terminal",
        &[
            "ca",
            "clock",
            "distribute",
            "error",
            "file_schema",
            "files",
            "gateway_client",
            "identity",
            "keys",
            "mtls",
            "probe",
            "profile",
            "revocation",
            "secret",
            "store",
            "x509",
            "yaml",
        ],
    ),
    ("serving", &["clock", "error", "files", "mtls", "terminal", "yaml"]),
    // Faces.
    (
        "gateway",
        &[
            "clock",
            "error",
            "file_schema",
            "files",
            "identity",
            "keys",
            "mtls",
            "revocation",
            "secret",
            "serving",
            "terminal",
            "tokens",
            "x509",
            "yaml",
        ],
    ),
    (
        "cli",
        &[
            "accounts",
            "api_client",
            "audit",
            "ca",
            "clock",
            "distribute",
            "error",
            "file_schema",
            "files",
            "gateway_client",
            "identity",
            "keys",
            "mtls",
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
    (
        "server",
        &[
            "accounts",
            "audit",
            "ca",
            "clock",
            "error",
            "file_schema",
            "files",
            "identity",
            "keys",
            "mtls",
            "profile",
            "revocation",
            "secret",
            "serving",
            "store",
            "terminal",
            "x509",
            "yaml",
        ],
    ),
    ("bin", &["cli", "clock", "gateway", "server"]),
];

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
fn imports_point_downward() {
    judge("imports", &offences(source()));
}

#[test]
fn modules_have_their_line() {
    let tree = source();
    for (_, module) in tree.shipped().filter(|(_, module)| !module.path.is_empty()) {
        let top = top(module);
        assert!(
            MODULES.iter().any(|(name, _)| *name == top),
            "the module `{top}` has no line in MODULES (tests/layers/modules.rs): add it to its layer with what it \
             may import, and to the table in src/lib.rs"
        );
    }
}

#[test]
fn lines_have_their_module() {
    let tree = source();
    let stale = MODULES.iter().filter(|(name, _)| !tree.shipped().any(|(_, module)| top(module) == *name));
    let offences = stale.map(|(name, _)| {
        Offence::new(
            "src",
            format!("MODULES (tests/layers/modules.rs) has a line for `{name}`, which is no module"),
        )
    });
    judge("lines", &offences.collect::<Vec<_>>());
}

fn top(module: &Module) -> &str {
    module.path.first().map_or("", String::as_str)
}

fn offences(tree: &Tree) -> Vec<Offence> {
    let mut found = Vec::new();
    for (index, module) in tree.shipped().filter(|(_, module)| !module.path.is_empty()) {
        let own = top(module);
        let allowed = MODULES.iter().find(|(name, _)| *name == own).map_or(&[][..], |(_, imports)| imports);
        for mention in &module.mentions {
            let Some(Resolved { target, passed, .. }) = tree.resolve(index, mention) else { continue };
            let (Target::Module(end) | Target::Item(end)) = target;
            let is_whole_crate = target == Target::Module(end) && tree.modules[end].path.is_empty();
            let mut tops: Vec<&str> =
                passed.iter().chain([&end]).map(|module| top(&tree.modules[*module])).collect();
            tops.dedup();
            let wrong = tops.into_iter().find(|top| !top.is_empty() && *top != own && !allowed.contains(top));
            let wrong = wrong.or(is_whole_crate.then_some("*"));
            if let Some(import) = wrong {
                found.push(Offence::new(
                    "src",
                    format!(
                        "src/{}:{}: `{}`: `{own}` may not import `{import}`",
                        tree.path_of(index),
                        mention.line,
                        mention.segments.join("::"),
                    ),
                ));
            }
        }
    }
    found
}

fn offences_of(source: &str) -> usize {
    let root = "pub mod x509; pub mod ca; pub mod cli; pub mod clock; pub mod gateway; pub mod keys;";
    offences(&Tree::of(&[
        ("lib.rs", root),
        ("x509/mod.rs", "pub mod certificate; pub mod pem;"),
        ("x509/certificate.rs", source),
        ("x509/pem.rs", ""),
        ("ca.rs", "pub struct Authority; pub use crate::clock::Clock;"),
        ("cli.rs", ""),
        ("clock.rs", "pub struct Clock;"),
        ("gateway.rs", "pub struct Gateway;"),
        ("keys.rs", "pub struct Key;"),
    ]))
    .len()
}

#[test]
fn an_upward_import_is_an_offence_however_it_is_written() {
    for source in [
        "use crate::ca::Authority;",
        "use crate::ca::Clock;",
        "use crate::{clock, ca::Authority};",
        "pub use crate::cli;",
        "fn f() -> crate::gateway::Gateway { start() }",
        "fn f() { println!(\"{}\", crate::gateway::Gateway); }",
        "use super::super::keys::Key;",
        "use crate::*;",
        "use crate as everything;",
        "use crate::{self as everything};",
    ] {
        assert_eq!(offences_of(source), 1, "{source}");
    }
    for source in [
        "use crate::clock;",
        "use super::pem;",
        "use crate::x509::pem;",
        "#[cfg(test)] use crate::ca;",
        "use ca::A;",
    ] {
        assert_eq!(offences_of(source), 0, "{source}");
    }
    let binary = [
        ("lib.rs", "pub mod store; pub mod cli;"),
        ("store.rs", "pub struct Inventory;"),
        ("cli.rs", "pub fn run() {}"),
        ("bin/cluster-ca.rs", "use cluster_ca::store::Inventory; fn main() { cluster_ca::cli::run() }"),
    ];
    assert_eq!(offences(&Tree::of(&binary)).len(), 1);
}
