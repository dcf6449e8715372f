//! The tables at the head of the crate, of the gateway and of every large folder name each module exactly once.

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

/// Files of a folder that is understood without a table.
const FEW_FILES: usize = 6;

#[test]
fn large_folders_have_a_table_of_their_files() {
    let tree = source();
    let folders = tree.shipped().filter(|(index, _)| tree.path_of(*index).ends_with("/mod.rs"));
    let large = folders.filter(|(_, module)| module.children.len() > FEW_FILES && module.path != ["gateway"]);
    let offences: Vec<Offence> = large
        .flat_map(|(index, module)| differences(tree.path_of(index), module, &first_cells(module)))
        .collect();
    judge("maps", &offences);
}

/// Names between backquotes in the first cell of each row.
fn first_cells(module: &Module) -> Vec<&str> {
    let rows = module.head.iter().filter_map(|line| line.strip_prefix('|'));
    let cells = rows.filter_map(|row| row.split('|').next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

/// Modules that the table at the head of `module` names not once, and links in it to no module.
fn offences(file: &str, module: &Module) -> Vec<Offence> {
    let rows = module.head.iter().filter(|line| line.starts_with('|'));
    let named: Vec<&str> = rows
        .flat_map(|row| row.split("[`").skip(1))
        .filter_map(|link| link.split_once("`]"))
        .map(|(name, _)| name)
        .collect();
    differences(file, module, &named)
}

/// Children of `module` that are not among `named` exactly once, and names that are no children.
fn differences(file: &str, module: &Module, named: &[&str]) -> Vec<Offence> {
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

#[test]
fn a_file_that_the_table_of_its_folder_lacks_is_found() {
    let count = |head: &str| {
        let folder = format!("{head}\nmod b; mod c;");
        let tree = Tree::of(&[("lib.rs", "mod a;"), ("a/mod.rs", &folder), ("a/b.rs", ""), ("a/c.rs", "")]);
        let (_, module) = tree.shipped().find(|(_, module)| module.path == ["a"]).unwrap();
        differences("a/mod.rs", module, &first_cells(module)).len()
    };
    assert_eq!(count("//! | `b`, [`c`] | with `d` |"), 0);
    assert_eq!(count("//! `c`\n//! | `b` | `c` |"), 1);
    assert_eq!(count("//! | `b` | x |\n//! | `b` | y |\n//! | `c`, `d` | z |"), 2);
    assert_eq!(count("//! Nothing."), 2);
}
