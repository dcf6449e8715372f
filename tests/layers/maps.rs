//! The tables at the head of the crate and of the gateway name every module exactly once.

use crate::offence::{Offence, judge};
use crate::source;
use crate::tree::{Module, Tree};

#[test]
fn maps_name_every_module_once() {
    let tree = source();
    let maps = tree.shipped().filter(|(_, module)| module.path.is_empty() || module.path == ["gateway"]);
    let offences: Vec<Offence> =
        maps.flat_map(|(index, module)| offences(tree.path_of(index), module)).collect();
    assert!(!offences.is_empty() || tree.library().is_some());
    judge("maps", &offences);
}

/// Modules that the table at the head of `module` names not once, and names in it that are no module.
fn offences(file: &str, module: &Module) -> Vec<Offence> {
    let rows = module.head.iter().filter(|line| line.starts_with('|'));
    let named: Vec<&str> = rows
        .flat_map(|row| row.split("[`").skip(1))
        .filter_map(|link| link.split_once("`]"))
        .map(|(name, _)| name)
        .collect();
    let mut found = Vec::new();
    for child in module.children.keys() {
        let times = named.iter().filter(|name| *name == child).count();
        if times != 1 {
            found.push(Offence::new("src", format!("src/{file}: its table names `{child}` {times} times")));
        }
    }
    for name in named.iter().filter(|name| !module.children.contains_key(**name)) {
        found.push(Offence::new(
            "src",
            format!("src/{file}: its table names `{name}`, which is no module of it"),
        ));
    }
    found
}

#[test]
fn a_module_missing_twice_there_or_gone_is_found() {
    let count = |head: &str| {
        let tree =
            Tree::of(&[("lib.rs", &format!("{head}\npub mod a; pub mod b;")), ("a.rs", ""), ("b.rs", "")]);
        offences("lib.rs", &tree.modules[tree.library().unwrap()]).len()
    };
    assert_eq!(count("//! | x | [`a`] first, [`b`] |"), 0);
    assert_eq!(count("//! [`a`] comes first.\n//! | x | [`a`] |\n//! | y | [`b`] |"), 0);
    assert_eq!(count("//! | x | [`a`] |"), 1);
    assert_eq!(count("//! [`b`]\n//! | x | [`a`] |"), 1);
    assert_eq!(count("//! | x | [`a`], [`b`], [`a`] |"), 1);
    assert_eq!(count("//! | x | [`a`], [`b`], [`c`] |"), 1);
}
