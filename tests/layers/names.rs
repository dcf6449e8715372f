//! A public type's name stands for one thing in the whole tree.

use std::collections::BTreeMap;

use crate::offence::{Offence, judge};
use crate::source;
use crate::tree::{Kind, Tree};

/// Names that may stand for several things, each with the reason.
const SHARED: &[(&str, &str)] = &[];

#[test]
fn names_of_types_are_unique() {
    judge("names", &offences(source()));
}

fn offences(tree: &Tree) -> Vec<Offence> {
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (index, module) in tree.shipped() {
        let types = module.items.iter().filter(|(_, item)| item.kind == Kind::Type && item.is_public);
        for (name, item) in types.filter(|(name, _)| !SHARED.iter().any(|(shared, _)| shared == name)) {
            places.entry(name).or_default().push(format!("src/{}:{}", tree.path_of(index), item.line));
        }
    }
    let several = places.into_iter().filter(|(_, places)| places.len() > 1);
    several
        .map(|(name, places)| {
            Offence::new("src", format!("`{name}` is defined {} times: {}", places.len(), places.join(", ")))
        })
        .collect()
}

#[test]
fn a_name_for_two_things_is_found() {
    let count = |a: &str, b: &str| {
        offences(&Tree::of(&[("lib.rs", "mod a; mod b;"), ("a.rs", a), ("b.rs", b)])).len()
    };
    assert_eq!(count("pub struct Status;", "pub(crate) enum Status {}"), 1);
    assert_eq!(count("pub trait Status {}", "pub type Status = u8;"), 1);
    assert_eq!(count("pub struct Status;", "struct Status;"), 0);
    assert_eq!(count("pub struct Status;", "pub use crate::a::Status;"), 0);
    assert_eq!(count("pub struct Status;", "#[cfg(test)] pub struct Status;"), 0);
    assert_eq!(count("pub fn status() {}", "pub fn status() {}"), 0);
}
