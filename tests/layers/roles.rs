//! Lists of roles in help texts, schemas and guides name every role of the table.

use std::fs;

use crate::offence::{Offence, judge};
use crate::{root, source};

/// The file of the table of roles.
const TABLE: &str = "identity/role.rs";

#[test]
fn lists_of_roles_are_complete() {
    let table = &source().files.iter().find(|file| file.path == TABLE).unwrap().text;
    let roles = names(table);
    assert!(roles.len() > 2, "the table in src/{TABLE} is not found: {roles:?}");
    let code = source().files.iter().filter(|file| !file.for_tests);
    let mut texts: Vec<(String, String)> =
        code.map(|file| (format!("src/{}", file.path), file.text.clone())).collect();
    for entry in fs::read_dir(root().join("src/guide")).unwrap() {
        let path = entry.unwrap().path();
        texts.push((path.display().to_string(), fs::read_to_string(path).unwrap()));
    }
    texts.push(("README.md".to_owned(), fs::read_to_string(root().join("README.md")).unwrap()));
    let found: Vec<Offence> = texts.iter().flat_map(|(file, text)| incomplete(&roles, file, text)).collect();
    judge("roles", &found);
}

/// The names in the rows of the table.
fn names(table: &str) -> Vec<String> {
    let rows = table.lines().filter_map(|line| line.strip_prefix("    name: \""));
    rows.filter_map(|rest| rest.strip_suffix("\",")).map(str::to_owned).collect()
}

/// Lists such as `A, B or C` in which a role is missing. Two roles are a list from the third on: `A or B` may be a
/// choice.
fn incomplete(roles: &[String], file: &str, text: &str) -> Vec<Offence> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let mut listed: Vec<&str> = Vec::new();
        let mut is_list = false;
        let words = line.split_whitespace().chain(["."]);
        for word in words {
            let bare = word.trim_matches(|c: char| !c.is_ascii_lowercase());
            if roles.iter().any(|role| role == bare) {
                is_list |= !listed.is_empty() && word.ends_with(',');
                listed.push(bare);
                continue;
            }
            if ["or", "and"].contains(&word) && !listed.is_empty() {
                is_list |= listed.len() > 1;
                continue;
            }
            if is_list && roles.iter().any(|role| !listed.contains(&role.as_str())) {
                let text = format!("{file}:{}: a list of roles has only {listed:?}", at + 1);
                found.push(Offence::new("src", text));
            }
            (listed, is_list) = (Vec::new(), false);
        }
    }
    found
}

#[test]
fn a_list_that_lacks_a_role_is_found() {
    let roles: Vec<String> = ["root-a", "leaf-b", "leaf-c", "leaf-d"].map(str::to_owned).to_vec();
    let count = |text: &str| incomplete(&roles, "a.rs", text).len();
    assert_eq!(count("/// Only this role: root-a, leaf-b or leaf-c"), 1);
    assert_eq!(count("/// `root-a`, `leaf-b` or `leaf-c`."), 1);
    assert_eq!(count("\"root-a, leaf-b, leaf-c and leaf-d\""), 0);
    assert_eq!(count("/// Show one: all, root-a, leaf-b, leaf-c or leaf-d"), 0);
    assert_eq!(count("A root-a or leaf-b reads it. The leaf-c, too."), 0);
    assert_eq!(names("    name: \"root-a\",\n    name: Form::Fixed,\n        name: \"x\","), ["root-a"]);
}
