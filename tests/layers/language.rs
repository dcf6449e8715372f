//! Plain technical English in documentation, help texts, messages, README and guides.

use std::fs;

use crate::offence::{Offence, judge};
use crate::tree::{Doc, Module, SourceFile, Tree};
use crate::{root, source};

/// First words of a clause where a noun or a verb belongs.
const CLAUSES: &[&str] = &["how", "what", "when", "where", "whether", "which", "who", "whom", "whose", "why"];

/// Doc comments that may open with a clause, in percent of all.
const MOST_CLAUSES: usize = 3;

/// Words and phrases that puzzle a reader, and what to write instead.
const PHRASES: &[(&str, &str)] = &[
    ("anew", "again, new"),
    ("anybody", "any client, any user"),
    ("believe", "trust, accept, verify"),
    ("believed", "trusted, accepted, verified"),
    ("believes", "trusts, accepts, verifies"),
    ("cut off", "close"),
    ("cuts off", "closes"),
    ("for the time being", "suspend, while, until"),
    ("fresh list", "new CRL"),
    ("good for", "name the purpose"),
    ("has run out", "has expired"),
    ("hold again", "lift the hold"),
    ("holds again", "lift the hold"),
    ("keep out", "refuse, reject, deny"),
    ("keeps out", "refuses, rejects, denies"),
    ("kept out", "refused, rejected, denied"),
    ("load again", "reload"),
    ("loaded again", "reloaded"),
    ("loads again", "reloads"),
    ("make the request", "create the CSR"),
    ("no longer holds", "expired, revoked"),
    ("nobody", "name the component or the user"),
    ("out for it", "revoked, rejected"),
    ("passphrase opens", "encrypted with a passphrase"),
    ("password opens", "encrypted with a password"),
    ("put out", "suspend"),
    ("puts out", "suspends"),
    ("request a certificate", "submit a CSR"),
    ("revocation list", "CRL"),
    ("somebody", "name the component or the user"),
    ("take in", "add, import"),
    ("take the place of", "replace"),
    ("taken in", "added, imported"),
    ("takes in", "adds, imports"),
    ("takes the place of", "replaces"),
    ("the own", "name the component"),
    ("the service behind", "upstream"),
    ("turn away", "refuse, reject, deny"),
    ("turned away", "refused, rejected, denied"),
    ("turns away", "refuses, rejects, denies"),
    ("under way", "in flight, pending, idle"),
    ("what it was started with", "configuration file, option, flag"),
    ("whoever", "name the component or the user"),
    ("whom", "name the component or the user"),
    ("whomever", "name the component or the user"),
];

/// Words in the longest sentence of README and guides.
const MOST_WORDS: usize = 25;

/// Words in an average sentence of README and of each guide.
const AVERAGE_WORDS: usize = 25;

#[test]
fn heads_open_with_a_noun_or_a_verb() {
    judge("heads", &heads(source()));
}

#[test]
fn docs_open_with_a_noun_or_a_verb() {
    judge("openings", &openings(source()));
}

#[test]
fn docs_say_more_than_the_name() {
    judge("repeated", &repeated(source()));
}

#[test]
fn phrases_are_standard_terms() {
    let code = source().files.iter().filter(|file| !file.for_tests).flat_map(|file| {
        let name = format!("src/{}", file.path);
        phrases(area(&file.path), &name, &shipped_lines(file))
    });
    let pages = pages().into_iter().flat_map(|(name, text)| phrases(&name, &name, &numbered(&text)));
    judge("phrases", &code.chain(pages).collect::<Vec<_>>());
}

#[test]
fn headings_open_with_a_noun_or_a_verb() {
    let pages = pages();
    judge("headings", &pages.iter().flat_map(|(name, text)| headings(name, text)).collect::<Vec<_>>());
}

#[test]
fn sentences_are_short() {
    let pages = pages();
    judge("sentences", &pages.iter().flat_map(|(name, text)| sentences(name, text)).collect::<Vec<_>>());
}

/// README, the guides and the pages for contributors, by name and text.
fn pages() -> Vec<(String, String)> {
    let guides = fs::read_dir(root().join("src/guide")).into_iter().flatten();
    let mut names: Vec<String> = guides
        .map(|entry| format!("src/guide/{}", entry.unwrap().file_name().into_string().unwrap()))
        .filter(|name| name.ends_with(".md"))
        .collect();
    names.extend(["CONTRIBUTING.md", "README.md", "SECURITY.md"].map(str::to_owned));
    names.sort();
    let read = |name: String| (fs::read_to_string(root().join(&name)).unwrap(), name);
    names.into_iter().map(read).map(|(text, name)| (name, text)).collect()
}

/// The top-level module that a file counts under.
fn area(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap_or(file)
}

/// Whether `text` opens with a clause.
fn is_clause(text: &str) -> bool {
    let word: String = text.trim_start().chars().take_while(|c| c.is_alphabetic()).collect();
    CLAUSES.contains(&word.to_lowercase().as_str())
}

fn opening(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Module heads that open with a clause.
fn heads(tree: &Tree) -> Vec<Offence> {
    let offence = |(index, module): (usize, &Module)| {
        let first = module.head.first().filter(|line| is_clause(line))?;
        let file = tree.path_of(index);
        Some(Offence::new(area(file), format!("src/{file}: the head opens with a clause: {first}")))
    };
    tree.shipped().filter_map(offence).collect()
}

/// Headings and first cells of tables that open with a clause.
fn headings(name: &str, text: &str) -> Vec<Offence> {
    let mut found = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    let mut is_code = false;
    for (at, line) in lines.iter().enumerate() {
        is_code ^= line.trim_start().starts_with("```");
        let below = lines.get(at + 1).copied().unwrap_or_default();
        let heading = match line.strip_prefix('|') {
            Some(row) if below.starts_with("|--") => row,
            None if line.starts_with('#') => line.trim_start_matches('#'),
            _ => continue,
        };
        if !is_code && is_clause(heading) {
            found.push(Offence::new(
                name,
                format!("{name}:{}: a heading opens with a clause: {line}", at + 1),
            ));
        }
    }
    found
}

/// Help texts that open with a clause; other doc comments too as soon as they are more than [`MOST_CLAUSES`].
fn openings(tree: &Tree) -> Vec<Offence> {
    let (mut help, mut others, mut all) = (Vec::new(), Vec::new(), 0);
    for (index, module) in tree.shipped() {
        let file = tree.path_of(index);
        all += module.docs.len();
        for doc in module.docs.iter().filter(|doc| is_clause(&doc.text)) {
            let kind = if doc.is_help { "help text" } else { "doc comment" };
            let text =
                format!("src/{file}:{}: the {kind} opens with a clause: {}", doc.line, opening(&doc.text));
            let found = if doc.is_help { &mut help } else { &mut others };
            found.push(Offence::new(area(file), text));
        }
    }
    println!("openings: {} of {all} doc comments open with a clause", help.len() + others.len());
    if others.len() * 100 > all * MOST_CLAUSES {
        help.extend(others);
    }
    help
}

/// Doc comments that only repeat the name of what they document.
fn repeated(tree: &Tree) -> Vec<Offence> {
    let mut found = Vec::new();
    for (index, module) in tree.shipped() {
        let file = tree.path_of(index);
        for doc in module.docs.iter().filter(|doc| !doc.is_help && repeats_name(doc)) {
            let text = format!(
                "src/{file}:{}: the doc comment of `{}` only repeats it: {}",
                doc.line, doc.name, doc.text
            );
            found.push(Offence::new(area(file), text));
        }
    }
    found
}

fn repeats_name(doc: &Doc) -> bool {
    const FILLERS: &[&str] =
        &["a", "an", "as", "for", "get", "gets", "its", "of", "return", "returns", "the", "this"];
    let name: Vec<String> = name_words(&doc.name);
    let words = doc.text.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
    let mut said = words.filter(|word| !word.is_empty() && !FILLERS.contains(&word.as_str())).peekable();
    said.peek().is_some() && said.all(|word| name.iter().any(|known| singular(known) == singular(&word)))
}

fn singular(word: &str) -> &str {
    word.strip_suffix('s').unwrap_or(word)
}

/// The words of `snake_case` and `CamelCase`, in lower case.
fn name_words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if c == '_' || c.is_uppercase() {
            words.push(String::new());
        }
        if c != '_' {
            words.iter_mut().last().unwrap().extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Lines with their numbers, up to the file's tests.
fn shipped_lines(file: &SourceFile) -> Vec<(usize, String)> {
    let lines = numbered(&file.text);
    lines.into_iter().take_while(|(_, line)| !line.starts_with("#[cfg(test)]")).collect()
}

fn numbered(text: &str) -> Vec<(usize, String)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line.to_owned())).collect()
}

fn phrases(area: &str, file: &str, lines: &[(usize, String)]) -> Vec<Offence> {
    let mut found = Vec::new();
    for (at, (number, line)) in lines.iter().enumerate() {
        // A phrase may be broken over two lines.
        let rest = lines.get(at + 1).map(|(_, line)| line.as_str()).unwrap_or_default();
        let here = words(line);
        let text = [here.as_slice(), &words(rest)].concat();
        for (phrase, instead) in PHRASES {
            let phrase_words: Vec<&str> = phrase.split(' ').collect();
            let starts = text.windows(phrase_words.len()).take(here.len());
            let times = starts.filter(|window| *window == phrase_words).count();
            for _ in 0..times {
                found.push(Offence::new(area, format!("{file}:{number}: `{phrase}`: write {instead}")));
            }
        }
    }
    found
}

/// The words of a line of prose or code, in lower case and without `'s`; an identifier is one word.
fn words(line: &str) -> Vec<String> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '\'')
        .map(|word| word.trim_matches('\'').to_lowercase())
        .map(|word| match word.strip_suffix("'s") {
            Some(bare) => bare.to_owned(),
            None => word,
        })
        .filter(|word| !word.is_empty())
        .collect()
}

/// Sentences of `text` that are too long, code blocks and tables left out.
fn sentences(name: &str, text: &str) -> Vec<Offence> {
    let mut found = Vec::new();
    let (mut all, mut words) = (0, 0);
    for (line, sentence) in split(text) {
        let count =
            sentence.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).count();
        all += 1;
        words += count;
        if count > MOST_WORDS {
            found.push(Offence::new(name, format!("{name}:{line}: a sentence of {count} words: {sentence}")));
        }
    }
    if words > AVERAGE_WORDS * all {
        found.push(Offence::new(name, format!("{name}: sentences of {} words on average", words / all)));
    }
    found
}

/// The sentences of a Markdown text with the lines that they begin on.
fn split(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let (mut is_code, mut is_open) = (false, false);
    for (at, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("```") {
            (is_code, is_open) = (!is_code, false);
            continue;
        }
        let text = without_marker(trimmed);
        let is_item = text.len() < trimmed.len();
        if is_code || trimmed.is_empty() || trimmed.starts_with('|') {
            is_open = false;
            continue;
        }
        is_open &= !is_item;
        for word in text.split_whitespace() {
            match found.last_mut().filter(|_| is_open) {
                Some((_, sentence)) => {
                    sentence.push(' ');
                    sentence.push_str(word);
                }
                None => found.push((at + 1, word.to_owned())),
            }
            let bare = word.trim_end_matches(['`', ')', '"', '*']);
            is_open = !bare.ends_with(['.', '?', '!', ':']) || ["e.g.", "i.e.", "etc."].contains(&bare);
        }
        is_open &= !trimmed.starts_with('#');
    }
    found
}

/// A line without the mark of a heading, a quotation or a list item.
fn without_marker(line: &str) -> &str {
    let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
    let is_number = mark.strip_suffix('.').is_some_and(|number| number.parse::<u8>().is_ok());
    let is_mark = ["-", "*", ">"].contains(&mark) || mark.bytes().all(|byte| byte == b'#');
    if is_number || is_mark { rest.trim_start() } else { line }
}

#[test]
fn clauses_at_the_head_are_found() {
    let tree = |text: &str| Tree::of(&[("lib.rs", text)]);
    for text in ["//! What is kept.", "//! Whose turn it is.", "//! How it works: slowly."] {
        assert_eq!(heads(&tree(text)).len(), 1, "{text}");
    }
    for text in
        ["//! Whatever.", "//! Registry.\n//! What it holds is listed.", "#[cfg(test)] mod t { //! What\n }"]
    {
        assert_eq!(heads(&tree(text)).len(), 0, "{text}");
    }
    for text in [
        "/// What it is.\npub struct A;",
        "pub struct A { /// Whether it is open.\n open: bool }",
        "impl A { /// How many there are.\n fn f() {} }",
        "pub enum A { /** Which. */ B }",
        "#[derive(clap::Args)] struct A { /// Where it is kept.\n open: bool }",
    ] {
        assert_eq!(openings(&tree(text)).len(), 1, "{text}");
    }
    let one_in_forty = "/// What it is.\nfn f() {}\n".to_owned() + &"/// Count.\nfn g() {}\n".repeat(39);
    assert_eq!(openings(&tree(&one_in_forty)).len(), 0);
    let help = one_in_forty + "#[derive(clap::Parser)] struct A { /// Where it is kept.\n open: bool }";
    assert_eq!(openings(&tree(&help)).len(), 1);
}

#[test]
fn a_repeated_name_is_found() {
    let count = |text: &str| repeated(&Tree::of(&[("lib.rs", text)])).len();
    for text in [
        "/// The address.\npub struct Address;",
        "pub struct A { /// The trust bundle.\n pub trust_bundle: u8 }",
        "impl A { /// Returns the serial numbers.\n fn serial_number() {} }",
    ] {
        assert_eq!(count(text), 1, "{text}");
    }
    for text in [
        "/// The address that cannot be bound.\npub struct Address;",
        "impl A { /// Serial number, big-endian.\n fn serial_number() {} }",
        "#[derive(Args)] struct A { /// Name.\n name: u8 }",
    ] {
        assert_eq!(count(text), 0, "{text}");
    }
}

#[test]
fn phrases_are_found_across_lines() {
    let count = |text: &str| phrases("src", "a.rs", &numbered(text)).len();
    assert_eq!(count("// Nobody knows.\n"), 1);
    assert_eq!(count("/// Asks the service\n/// behind it, and closes.\n"), 1);
    assert_eq!(count("let text = \"suspended for the time being\";"), 1);
    assert_eq!(count("// signed by the cluster's root, or nobody's"), 1);
    assert_eq!(count("let nobody_knows = whomsoever(); // newly made\n"), 0);
}

#[test]
fn long_sentences_are_found() {
    let long = "word ".repeat(26);
    let text = |prose: &str| sentences("a.md", prose).len();
    // One offence for the sentence, one for the average.
    assert_eq!(text(&format!("{long}.")), 2);
    assert_eq!(text(&format!("Short. Short. {long}. Short.")), 1);
    assert_eq!(text(&format!("A line\nthat goes on {long}")), 2);
    assert_eq!(text(&format!("```\n{long}\n```\n\n| {long} |\n")), 0);
    let items = "- word word word word word word word\n".repeat(20);
    assert_eq!(text(&items), 0);
    assert_eq!(text("See `a.b`: e.g. this one. Then\nthat."), 0);
    let found: Vec<usize> =
        split("# Title\nOne. Two\nthree.\n\n1. Four\n2. Five").iter().map(|(line, _)| *line).collect();
    assert_eq!(found, [1, 2, 2, 5, 6]);
}

#[test]
fn headings_that_open_with_a_clause_are_found() {
    let count = |text: &str| headings("a.md", text).len();
    for text in ["# What counts\n", "## How it works\n", "| What | Limit |\n|---|---|\n| a | 1 |\n"] {
        assert_eq!(count(text), 1, "{text}");
    }
    for text in
        ["# Scope\nWhat counts.\n", "```sh\n# What it prints\n```\n", "| Limit |\n|---|\n| What it is |\n"]
    {
        assert_eq!(count(text), 0, "{text}");
    }
}
