//! Codes of errors: one class each, and no hint for a code that does not exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use proc_macro2::{TokenStream, TokenTree};

use crate::offence::{Offence, judge};
use crate::tree::{Tree, tokens};
use crate::{root, source};

/// The file of the hint table.
const HINTS: &[&str] = &["terminal/hints.rs"];

/// The file of the table of findings.
const FINDINGS: &str = "ca/doctor/codes.rs";

/// The guide with the table of the areas of codes.
const NAMESPACES: &str = "src/guide/json.md";

/// Constructors of `Code`, named after the classes, in the order of their exit codes from 1 on.
const CLASSES: &[&str] = &["refused", "usage", "environment", "unavailable"];

#[test]
fn each_code_has_one_class() {
    judge("classes", &mixed_classes(source()));
}

#[test]
fn hints_are_for_codes_that_exist() {
    let hinted = hinted(source());
    assert!(hinted.len() > 150, "the tables in {HINTS:?} are not found: {hinted:?}");
    judge("hints", &without_code(source(), &hinted));
}

#[test]
fn codes_of_the_gateway_are_typed() {
    judge("codes", &untyped(source()));
}

#[test]
fn the_guide_lists_every_namespace_with_its_exit_codes() {
    let guide = fs::read_to_string(root().join(NAMESPACES)).unwrap();
    judge("namespaces", &differing_rows(&namespaces(&codes(source())), &guide));
}

/// Exit codes of the classes, by the area of the codes; none for findings.
fn namespaces(codes: &BTreeMap<String, BTreeSet<String>>) -> BTreeMap<String, BTreeSet<usize>> {
    let mut found: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for (code, classes) in codes {
        let area = code.split('.').next().unwrap_or(code).to_owned();
        let exits = classes.iter().filter_map(|class| CLASSES.iter().position(|name| name == class));
        found.entry(area).or_default().extend(exits.map(|at| at + 1));
    }
    found
}

/// Rows that the table in `guide` lacks, and rows that it should not have.
fn differing_rows(namespaces: &BTreeMap<String, BTreeSet<usize>>, guide: &str) -> Vec<Offence> {
    let table = guide.split("| Prefix |").nth(1).unwrap_or_default();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut listed: BTreeMap<String, String> = BTreeMap::new();
    let mut found = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, prefix, _, exits, _] = cells[..] else { continue };
        if listed.insert(prefix.trim_matches('`').to_owned(), exits.to_owned()).is_some() {
            found.push(Offence::new("guide", format!("{NAMESPACES}: {prefix} is listed twice")));
        }
    }
    for (area, exits) in namespaces {
        let exits: Vec<String> = exits.iter().map(ToString::to_string).collect();
        let expected = if exits.is_empty() { "-".to_owned() } else { exits.join(", ") };
        if listed.remove(area).is_none_or(|stated| stated != expected) {
            let text = format!("{NAMESPACES}: write a row | `{area}` | SUBJECT | {expected} |");
            found.push(Offence::new("guide", text));
        }
    }
    found.extend(
        listed.keys().map(|area| Offence::new("guide", format!("{NAMESPACES}: no code begins `{area}.`"))),
    );
    found
}

/// Literals in the form of a code that no constructor of `Code` has classified. Keys of the configuration look alike.
fn untyped(tree: &Tree) -> Vec<Offence> {
    let of_gateway = |path: &str| {
        (path.starts_with("gateway/") && !path.starts_with("gateway/config/")) || path.starts_with("mtls/")
    };
    let known = codes(tree);
    let areas: BTreeSet<_> = known.keys().filter_map(|code| code.split('.').next()).collect();
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    each_run(shipped_code(tree, of_gateway), &mut |run| {
        for (at, token) in run.iter().enumerate() {
            if let TokenTree::Literal(text) = token
                && let Some(code) = code_in(text)
                    .filter(|code| code.split('.').next().is_some_and(|area| areas.contains(area)))
            {
                counts.entry(code).or_default().0 += 1;
            }
            if let Some(code) = constructed(token, &run[..at]) {
                counts.entry(code).or_default().1 += 1;
            }
        }
    });
    let untyped = counts.into_iter().filter(|(_, (written, typed))| written > typed);
    untyped.map(|(code, _)| Offence::new("src", format!("`{code}` is a literal: make it a `Code`"))).collect()
}

#[test]
fn codes_of_findings_stand_in_one_table() {
    let (listed, elsewhere) = findings(source());
    assert!(listed.len() > 20, "the table in src/{FINDINGS} is not found: {listed:?}");
    let unique: BTreeSet<&String> = listed.iter().collect();
    assert_eq!(unique.len(), listed.len(), "a code stands twice in src/{FINDINGS}: {listed:?}");
    judge("findings", &elsewhere);
}

/// The codes of the table, and each code of a finding that is written out elsewhere.
fn findings(tree: &Tree) -> (Vec<String>, Vec<Offence>) {
    let (mut listed, mut elsewhere) = (Vec::new(), Vec::new());
    for file in tree
        .files
        .iter()
        .filter(|file| file.is_reached && !file.for_tests && !HINTS.contains(&file.path.as_str()))
    {
        each_run(vec![tokens(&file.path, &file.text)], &mut |run| {
            for token in run {
                let TokenTree::Literal(text) = token else { continue };
                let Some(code) = code_in(text).filter(|code| code.starts_with("doctor.")) else { continue };
                match file.path == FINDINGS {
                    true => listed.push(code),
                    false => elsewhere.push(Offence::new(
                        "src",
                        format!("src/{}: `{code}` is written out; use `DoctorCode`", file.path),
                    )),
                }
            }
        });
    }
    (listed, elsewhere)
}

fn mixed_classes(tree: &Tree) -> Vec<Offence> {
    let codes = codes(tree).into_iter().filter(|(_, classes)| classes.len() > 1);
    codes
        .map(|(code, classes)| Offence::new("src", format!("`{code}` is of the classes {classes:?}")))
        .collect()
}

fn without_code(tree: &Tree, hinted: &[String]) -> Vec<Offence> {
    let codes = codes(tree);
    let missing = hinted.iter().filter(|code| !codes.contains_key(*code));
    missing.map(|code| Offence::new("src", format!("{HINTS:?}: no error has the code `{code}`"))).collect()
}

/// The code of each row of the hint table.
fn hinted(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    each_run(shipped_code(tree, |path| HINTS.contains(&path)), &mut |run| {
        if let [TokenTree::Literal(code), TokenTree::Punct(_), TokenTree::Ident(_), TokenTree::Punct(_), ..] =
            run
        {
            found.extend(code_in(code).filter(|_| run.len() <= 6));
        }
    });
    found
}

/// Each code with the classes that it is made with. A finding of `doctor` has a severity in place of a class, and its
/// code in one table.
fn codes(tree: &Tree) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    each_run(shipped_code(tree, |path| !HINTS.contains(&path)), &mut |run| {
        for (at, token) in run.iter().enumerate() {
            if let Some(code) = constructed(token, &run[..at])
                && let Some(TokenTree::Ident(class)) = run[..at].last()
            {
                found.entry(code).or_default().insert(class.to_string());
            }
            if let TokenTree::Literal(text) = token
                && let Some(code) = code_in(text).filter(|code| code.starts_with("doctor."))
            {
                found.entry(code).or_default();
            }
        }
    });
    found
}

/// The code that `token`, the arguments of a constructor of `Code`, makes.
fn constructed(token: &TokenTree, before: &[TokenTree]) -> Option<String> {
    let (TokenTree::Group(arguments), [.., TokenTree::Ident(owner), _, _, TokenTree::Ident(class)]) =
        (token, before)
    else {
        return None;
    };
    if owner != "Code" || !CLASSES.iter().any(|name| class == name) {
        return None;
    }
    match arguments.stream().into_iter().next() {
        Some(TokenTree::Literal(name)) => code_in(&name),
        _ => None,
    }
}

/// `area.reason` in lower case, in quotes.
fn code_in(literal: &proc_macro2::Literal) -> Option<String> {
    let text = literal.to_string();
    let code = text.strip_prefix('"')?.strip_suffix('"')?;
    let (area, reason) = code.split_once('.')?;
    let is_word = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    (is_word(area) && is_word(reason)).then(|| code.to_owned())
}

fn shipped_code(tree: &Tree, wanted: impl Fn(&str) -> bool) -> Vec<TokenStream> {
    let files = tree.files.iter().filter(|file| file.is_reached && !file.for_tests && wanted(&file.path));
    files.map(|file| tokens(&file.path, &file.text)).collect()
}

/// Calls `visit` with the tokens of each file and of each group in them, bodies of `mod tests` left out.
fn each_run(files: Vec<TokenStream>, visit: &mut dyn FnMut(&[TokenTree])) {
    let mut open = files;
    while let Some(next) = open.pop() {
        let run: Vec<TokenTree> = next.into_iter().collect();
        visit(&run);
        for (at, token) in run.iter().enumerate() {
            let is_test = matches!(&run[..at], [.., TokenTree::Ident(keyword), TokenTree::Ident(name)]
                if keyword == "mod" && name == "tests");
            if let TokenTree::Group(group) = token
                && !is_test
            {
                open.push(group.stream());
            }
        }
    }
}

#[test]
fn a_code_of_two_classes_or_a_hint_without_a_code_is_an_offence() {
    let tree = |source: &str| {
        Tree::of(&[
            ("lib.rs", "mod a; mod terminal;"),
            ("a.rs", source),
            ("terminal/mod.rs", "mod hints;"),
            ("terminal/hints.rs", "const HINTS: &[Row] = &[(\"a.b\", Ca, \"c.d\")];"),
        ])
    };
    let check = |source: &str| {
        let tree = tree(source);
        (mixed_classes(&tree).len(), without_code(&tree, &hinted(&tree)).len())
    };
    assert_eq!(check("const A: Code = Code::refused(\"a.b\");"), (0, 0));
    assert_eq!(check("fn f() { [Code::refused(\"a.b\"), Code::usage(\"a.b\")] }"), (1, 0));
    assert_eq!(check("const A: Code = Code::refused(\"c.d\");"), (0, 1));
    assert_eq!(check("mod tests { const A: Code = Code::refused(\"a.b\"); }"), (0, 1));
    assert_eq!(hinted(&tree("")), ["a.b"]);
}

#[test]
fn a_code_without_a_class_is_an_offence() {
    let count = |source: &str| {
        let tree =
            Tree::of(&[("lib.rs", "mod gateway;"), ("gateway/mod.rs", "mod a;"), ("gateway/a.rs", source)]);
        untyped(&tree).len()
    };
    assert_eq!(count("const A: Code = Code::refused(\"a.b\"); const D: &str = \"other.c\";"), 0);
    assert_eq!(count("const A: Code = Code::refused(\"a.b\"); const D: &str = \"a.c\";"), 1);
    assert_eq!(count("const A: Code = Code::refused(\"a.b\"); const D: &str = \"a.b\";"), 1);
    assert_eq!(count("const A: Code = Code::refused(\"a.b\"); mod tests { const D: &str = \"a.c\"; }"), 0);
}

#[test]
fn a_code_of_a_finding_outside_of_the_table_is_an_offence() {
    let tree = Tree::of(&[
        ("lib.rs", "mod a; mod ca;"),
        ("a.rs", "fn f() { warn(\"doctor.b\") }"),
        ("ca/mod.rs", "mod doctor;"),
        ("ca/doctor/mod.rs", "mod codes;"),
        ("ca/doctor/codes.rs", "doctor_codes! { B => \"doctor.b\", C => \"doctor.c\", }"),
    ]);
    let (listed, elsewhere) = findings(&tree);
    assert_eq!((listed, elsewhere.len()), (vec!["doctor.b".to_owned(), "doctor.c".to_owned()], 1));
}

#[test]
fn a_namespace_with_another_row_is_an_offence() {
    let tree = Tree::of(&[
        ("lib.rs", "mod a;"),
        ("a.rs", "fn f() { [Code::refused(\"a.b\"), Code::environment(\"a.c\"), Code::usage(\"b.c\")] }"),
    ]);
    let namespaces = namespaces(&codes(&tree));
    let count = |rows: &str| {
        differing_rows(
            &namespaces,
            &format!("| Prefix | Subject | Exit codes |\n|---|---|---|\n{rows}\ntext"),
        )
        .len()
    };
    assert_eq!(count("| `a` | x | 1, 3 |\n| `b` | y | 2 |"), 0);
    assert_eq!(count("| `a` | x | 1 |\n| `b` | y | 2 |"), 1);
    assert_eq!(count("| `a` | x | 1, 3 |"), 1);
    assert_eq!(count("| `a` | x | 1, 3 |\n| `b` | y | 2 |\n| `b` | y | 2 |\n| `c` | z | 1 |"), 2);
}
