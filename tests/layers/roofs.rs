//! A `mod.rs` only declares, re-exports and explains; its children never import through it.

use std::collections::BTreeSet;

use crate::graph::Resolved;
use crate::offence::{Offence, judge};
use crate::source;
use crate::tree::Tree;

#[test]
fn mod_files_define_nothing() {
    judge("definitions", &definitions(source()));
}

#[test]
fn children_import_from_their_siblings() {
    judge("roofs", &roofs(source()));
}

#[test]
fn folders_have_one_style() {
    judge("folders", &folders(source()));
}

#[test]
fn files_are_part_of_the_crate() {
    let lost: Vec<&str> =
        source().files.iter().filter(|file| !file.is_reached).map(|file| file.path.as_str()).collect();
    assert_eq!(lost, [""; 0], "declared by no module");
}

#[test]
fn files_for_tests_are_named_so() {
    judge("tests", &unmarked_tests(source()));
}

/// Files that only tests reach, under a name that a shipped file could have.
fn unmarked_tests(tree: &Tree) -> Vec<Offence> {
    let is_marked = |part: &str| ["tests", "testing"].contains(&part) || part.ends_with("_tests");
    let files = tree.files.iter().filter(|file| file.for_tests);
    let names = files.map(|file| file.path.as_str());
    names
        .filter(|path| !path.trim_end_matches(".rs").split('/').any(is_marked))
        .map(|path| Offence::new("src", format!("src/{path}: call it {}", path.replace(".rs", "_tests.rs"))))
        .collect()
}

fn is_mod_file(path: &str) -> bool {
    path == "lib.rs" || path == "mod.rs" || path.ends_with("/mod.rs")
}

fn definitions(tree: &Tree) -> Vec<Offence> {
    let mut found = Vec::new();
    for file in tree.files.iter().filter(|file| is_mod_file(&file.path) && !file.for_tests) {
        for (line, item) in &file.other_items {
            found.push(Offence::new(
                "src",
                format!("src/{}:{line}: {item} belongs into a file of its own", file.path),
            ));
        }
    }
    found
}

/// Paths that reach a sibling through what an ancestor re-exports.
fn roofs(tree: &Tree) -> Vec<Offence> {
    let mut found = Vec::new();
    for (index, module) in tree.shipped() {
        for mention in &module.mentions {
            let Some(Resolved { re_exported_by: Some(roof), .. }) = tree.resolve(index, mention) else {
                continue;
            };
            let above = &tree.modules[roof];
            let is_above = above.path.len() < module.path.len()
                && module.path.starts_with(&above.path)
                && above.root == module.root
                && !above.path.is_empty()
                && above.file != module.file;
            if is_above {
                found.push(Offence::new(
                    "src",
                    format!(
                        "src/{}:{}: `{}` is only re-exported by src/{}: name the file that defines it",
                        tree.path_of(index),
                        mention.line,
                        mention.segments.join("::"),
                        tree.path_of(roof),
                    ),
                ));
            }
        }
    }
    found
}

/// Files `x.rs` beside a folder `x/`.
fn folders(tree: &Tree) -> Vec<Offence> {
    let folders: BTreeSet<&str> =
        tree.files.iter().filter_map(|file| file.path.rsplit_once('/').map(|(folder, _)| folder)).collect();
    let beside = tree
        .files
        .iter()
        .filter(|file| file.path.strip_suffix(".rs").is_some_and(|stem| folders.contains(stem)));
    beside
        .map(|file| {
            let stem = file.path.strip_suffix(".rs").unwrap();
            Offence::new("src", format!("src/{} belongs to src/{stem}/mod.rs", file.path))
        })
        .collect()
}

#[test]
fn definitions_in_a_mod_file_are_found() {
    let count = |text: &str| {
        definitions(&Tree::of(&[("lib.rs", "mod a;"), ("a/mod.rs", text), ("a/b.rs", "pub struct B;")])).len()
    };
    for text in [
        "struct A;",
        "fn f() {}",
        "impl B {}",
        "mod c { }",
        "const C: u8 = 1;",
        "macro_rules! m { () => {} }",
    ] {
        assert_eq!(count(text), 1, "{text}");
    }
    for text in [
        "//! Head.\npub mod b; pub use b::B;",
        "#[cfg(test)] mod tests { fn f() {} }",
        "#![deny(x)] use self::b::*;",
    ] {
        assert_eq!(count(text), 0, "{text}");
    }
}

#[test]
fn an_import_through_the_roof_is_found() {
    let count = |text: &str| {
        roofs(&Tree::of(&[
            ("lib.rs", "mod a; mod z; pub use z::Z;"),
            ("z.rs", "use crate::a::B; pub struct Z;"),
            ("a/mod.rs", "mod b; mod c; pub use b::B;"),
            ("a/b.rs", "pub struct B;"),
            ("a/c.rs", text),
        ]))
        .len()
    };
    for text in ["use super::B;", "use crate::a::B;", "fn f(b: super::B) {}"] {
        assert_eq!(count(text), 1, "{text}");
    }
    for text in [
        "use super::b::B;",
        "use crate::a::b::B; fn f(b: B) {}",
        "use crate::Z;",
        "#[cfg(test)] use super::B;",
    ] {
        assert_eq!(count(text), 0, "{text}");
    }
}

#[test]
fn a_file_beside_its_folder_is_found() {
    let count = |files: &[(&str, &str)]| folders(&Tree::of(files)).len();
    assert_eq!(count(&[("lib.rs", "mod a;"), ("a.rs", "mod b;"), ("a/b.rs", "")]), 1);
    assert_eq!(count(&[("lib.rs", "mod a;"), ("a/mod.rs", "mod b;"), ("a/b.rs", "")]), 0);
}

#[test]
fn a_test_that_looks_shipped_is_found() {
    let count = |name: &str| {
        let root = format!("#[cfg(test)] mod {name}; mod shipped;");
        let file = format!("{name}.rs");
        unmarked_tests(&Tree::of(&[("lib.rs", root.as_str()), (file.as_str(), ""), ("shipped.rs", "")])).len()
    };
    assert_eq!(count("random"), 1);
    for name in ["tests", "testing", "random_tests"] {
        assert_eq!(count(name), 0, "{name}");
    }
}
