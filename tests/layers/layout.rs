//! Top level of the repository, length of files, and what must not stand in finished work.

use std::collections::BTreeSet;
use std::fs;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::tree::{read_sources, tokens};
use crate::{root, source};

/// Contents of the repository's top level, besides dot-files and the build's `target`.
const TOP_LEVEL: &[&str] = &[
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "ca-templates",
    "scripts",
    "src",
    "tests",
];

/// The longest a source file may be, so that a reader can hold it in the head.
const MOST_LINES: usize = 900;

/// The one file that may wait for time to pass, between two looks at a condition.
const WAITING_ROOM: &str = "tests/common/eventually.rs";

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
        for (file, text) in read_sources(&root().join(directory)) {
            let lines = text.lines().count();
            assert!(lines <= MOST_LINES, "{directory}/{file} has {lines} lines; split it below {MOST_LINES}");
        }
    }
}

#[test]
fn tests_neither_sleep_nor_are_skipped() {
    let mut found = Vec::new();
    for file in &source().files {
        let name = format!("src/{}", file.path);
        found.extend(file.test_code.iter().flat_map(|code| waits(&name, tokens(&name, code))));
        found.extend(gaps(&name, tokens(&name, &file.text)));
    }
    // A measurement waits until its machine has come to rest.
    for (file, text) in
        read_sources(&root().join("tests")).into_iter().filter(|(file, _)| !file.starts_with("bench/"))
    {
        let name = format!("tests/{file}");
        found.extend(waits(&name, tokens(&name, &text)));
        found.extend(gaps(&name, tokens(&name, &text)));
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// Calls of `sleep` and tests that are skipped. Clocks of tests may implement `sleep` and are not waited for.
fn waits(file: &str, tokens: TokenStream) -> Vec<String> {
    offences(tokens, None, &|word, before, after| match (word, before) {
        ("sleep", [.., TokenTree::Ident(keyword)]) if keyword == "fn" => None,
        ("sleep", [.., clock, TokenTree::Punct(dot)])
            if dot.as_char() == '.' && clock.to_string() != "SystemClock" =>
        {
            None
        }
        ("sleep", _) if matches!(after, Some(TokenTree::Group(_))) && file != WAITING_ROOM => {
            Some(format!("{file}: a test waits for an event, not for time"))
        }
        ("ignore", [TokenTree::Punct(mark)]) if mark.as_char() == '#' => {
            Some(format!("{file}: a skipped test promises nothing"))
        }
        _ => None,
    })
}

/// Macros that stand for work to be done.
fn gaps(file: &str, tokens: TokenStream) -> Vec<String> {
    offences(tokens, None, &|word, _, after| {
        let is_macro = matches!(after, Some(TokenTree::Punct(mark)) if mark.as_char() == '!');
        (is_macro && ["todo", "unimplemented", "dbg"].contains(&word))
            .then(|| format!("{file}: `{word}!` is not finished"))
    })
}

/// Complaint about an identifier, given the tokens before it and the one after it.
type Judge<'a> = dyn Fn(&str, &[TokenTree], Option<&TokenTree>) -> Option<String> + 'a;

/// Complaints of `judge` about each identifier. The tokens before an attribute's name are its `#`.
fn offences(tokens: TokenStream, opening: Option<TokenTree>, judge: &Judge<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let tokens: Vec<TokenTree> = opening.into_iter().chain(tokens).collect();
    for (at, token) in tokens.iter().enumerate() {
        match (token, &tokens[..at]) {
            // The body of a clock's `sleep` forwards to another clock.
            (
                TokenTree::Group(_),
                [.., TokenTree::Ident(keyword), TokenTree::Ident(name), TokenTree::Group(_)],
            ) if keyword == "fn" && name == "sleep" => {}
            (TokenTree::Group(group), before) => {
                let opening = before.last().filter(|_| group.delimiter() == Delimiter::Bracket).cloned();
                found.extend(offences(group.stream(), opening, judge));
            }
            (TokenTree::Ident(word), before) => {
                let complaint = judge(&word.to_string(), before, tokens.get(at + 1));
                found.extend(complaint.map(|text| format!("{text} (line {})", word.span().start().line)));
            }
            _ => {}
        }
    }
    found
}

#[test]
fn unfinished_work_is_found() {
    for source in [
        "fn f() { std::thread::sleep(d) }",
        "fn f() { SystemClock.sleep(d) }",
        "#[ignore] fn f() {}",
        "fn f() { todo!() }",
        "dbg!(x)",
    ] {
        let found =
            [waits("tests/a.rs", tokens("", source)), gaps("tests/a.rs", tokens("", source))].concat();
        assert_eq!(found.len(), 1, "{source}");
    }
    let clock =
        "impl Clock for C { fn sleep(&self, d: D) { SystemClock.sleep(d) } } fn f() { manual.sleep(d) }";
    assert_eq!(waits("tests/a.rs", tokens("", clock)), [""; 0]);
    let source = "// todo!()\nfn ignore(ignore: [u8; 1]) { \"sleep(1)\" }";
    assert_eq!(waits("tests/a.rs", tokens("", source)), [""; 0]);
    assert_eq!(gaps("tests/a.rs", tokens("", source)), [""; 0]);
}
