//! Codes of errors: one class each, and no hint for a code that does not exist.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};

use crate::known::{Offence, judge};
use crate::source;
use crate::tree::{Tree, tokens};

/// The file of the hint table.
const HINTS: &str = "terminal/hints.rs";

/// Constructors of `Code`, named after the classes.
const CLASSES: &[&str] = &["refused", "usage", "environment", "unavailable"];

#[test]
fn each_code_has_one_class() {
    judge("classes", &mixed_classes(source()));
}

#[test]
fn hints_are_for_codes_that_exist() {
    let hinted = hinted(source());
    assert!(hinted.len() > 150, "the table in src/{HINTS} is not found: {hinted:?}");
    judge("hints", &without_code(source(), &hinted));
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
    missing.map(|code| Offence::new("src", format!("src/{HINTS}: no error has the code `{code}`"))).collect()
}

/// The code of each row of the hint table.
fn hinted(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    each_run(shipped_code(tree, |path| path == HINTS), &mut |run| {
        if let [TokenTree::Literal(code), TokenTree::Punct(_), TokenTree::Ident(_), TokenTree::Punct(_), ..] =
            run
        {
            found.extend(code_in(code).filter(|_| run.len() <= 6));
        }
    });
    found
}

/// Each code with the classes that it is made with. A finding of `doctor` has a severity in place of a class.
fn codes(tree: &Tree) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    each_run(shipped_code(tree, |path| path != HINTS), &mut |run| {
        for (at, token) in run.iter().enumerate() {
            match (token, &run[..at]) {
                (
                    TokenTree::Group(arguments),
                    [.., TokenTree::Ident(owner), _, _, TokenTree::Ident(class)],
                ) if owner == "Code" && CLASSES.iter().any(|name| class == name) => {
                    if let Some(TokenTree::Literal(name)) = arguments.stream().into_iter().next() {
                        let code = code_in(&name);
                        code.map(|code| found.entry(code).or_default().insert(class.to_string()));
                    }
                }
                (TokenTree::Literal(text), _) => {
                    if let Some(code) = code_in(text).filter(|code| code.starts_with("doctor.")) {
                        found.entry(code).or_default();
                    }
                }
                _ => {}
            }
        }
    });
    found
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
