//! Reads Rust source as far as the house rules need: words, `::` and punctuation with their lines,
//! the paths they form, and which of them are test code.
//!
//! Comments and the contents of literals are gone after [`tokens`], so a word in a message or in
//! documentation is never taken for an import.

use std::collections::HashSet;
use std::iter::Peekable;
use std::str::Chars;

/// A piece of source that can take part in a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Word(String),
    /// `::`
    Separator,
    Mark(char),
}

impl Token {
    pub(crate) fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    fn is(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }
}

/// Splits `source` into tokens, without comments, lifetimes and the contents of literals.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { rest: source.chars().peekable(), line: 1, found: Vec::new() };
    while let Some(c) = lexer.next() {
        match c {
            '/' if lexer.rest.peek() == Some(&'/') => lexer.skip_line(),
            '/' if lexer.rest.peek() == Some(&'*') => lexer.skip_block_comment(),
            '"' => lexer.skip_string(),
            '\'' => lexer.skip_character_or_lifetime(),
            ':' if lexer.rest.peek() == Some(&':') => {
                lexer.next();
                lexer.push(Kind::Separator);
            }
            c if c.is_alphanumeric() || c == '_' => lexer.word(c),
            c if c.is_whitespace() => {}
            c => lexer.push(Kind::Mark(c)),
        }
    }
    lexer.found
}

struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
    found: Vec<Token>,
}

impl Lexer<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn push(&mut self, kind: Kind) {
        self.found.push(Token { line: self.line, kind });
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.next();
        }
    }

    fn skip_line(&mut self) {
        while self.next().is_some_and(|c| c != '\n') {}
    }

    fn skip_block_comment(&mut self) {
        self.next();
        let (mut depth, mut last) = (1, ' ');
        while depth > 0 {
            let Some(c) = self.next() else { return };
            match (last, c) {
                ('/', '*') => (depth, last) = (depth + 1, ' '),
                ('*', '/') => (depth, last) = (depth - 1, ' '),
                _ => last = c,
            }
        }
    }

    fn skip_string(&mut self) {
        while let Some(c) = self.next() {
            match c {
                '\\' => self.skip(1),
                '"' => return,
                _ => {}
            }
        }
    }

    /// After `r`, `br` or `cr`; false when no raw string begins here but a raw identifier.
    fn skip_raw_string(&mut self) -> bool {
        let hashes = self.rest.clone().take_while(|c| *c == '#').count();
        if self.rest.clone().nth(hashes) != Some('"') {
            return false;
        }
        let end = format!("\"{}", "#".repeat(hashes));
        let mut text = String::new();
        self.skip(hashes + 1);
        while !text.ends_with(&end) {
            match self.next() {
                Some(c) => text.push(c),
                None => break,
            }
        }
        true
    }

    fn skip_character_or_lifetime(&mut self) {
        let second = self.rest.clone().nth(1);
        match self.rest.peek() {
            Some('\\') => {
                self.next();
                self.next();
                while self.next().is_some_and(|c| c != '\'') {}
            }
            Some(_) if second == Some('\'') => self.skip(2),
            _ => while self.rest.next_if(|c| c.is_alphanumeric() || *c == '_').is_some() {},
        }
    }

    fn word(&mut self, first: char) {
        let mut word = String::from(first);
        while let Some(c) = self.rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
            word.push(c);
        }
        if matches!(word.as_str(), "r" | "br" | "cr") {
            if self.skip_raw_string() {
                return;
            }
            if self.rest.next_if_eq(&'#').is_some() {
                return;
            }
        }
        self.push(Kind::Word(word));
    }
}

/// Parts `all` into what ships and what is compiled for tests only.
pub(crate) fn part_tests(all: Vec<Token>) -> (Vec<Token>, Vec<Token>) {
    let (mut shipped, mut tests) = (Vec::new(), Vec::new());
    let mut rest = all.as_slice();
    while let Some((first, after)) = rest.split_first() {
        if opens_test_item(rest) {
            let (item, after) = rest.split_at(item_length(rest));
            tests.extend_from_slice(item);
            rest = after;
        } else {
            shipped.push(first.clone());
            rest = after;
        }
    }
    (shipped, tests)
}

/// Whether `#[cfg(test)]` or `#[cfg(all(test, …))]` stands here.
fn opens_test_item(tokens: &[Token]) -> bool {
    let text: String = tokens.iter().take(7).map(text_of).collect();
    text.starts_with("#[cfg(test)]") || text.starts_with("#[cfg(all(test")
}

fn text_of(token: &Token) -> String {
    match &token.kind {
        Kind::Word(word) => word.clone(),
        Kind::Separator => "::".to_owned(),
        Kind::Mark(mark) => mark.to_string(),
    }
}

/// How many tokens the item at the start has: attributes, then up to its `;` or closing brace.
fn item_length(tokens: &[Token]) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Mark('(' | '[' | '{') => depth += 1,
            Kind::Mark(')' | ']' | '}') => depth -= 1,
            _ => {}
        }
        let ends = (token.is(';') || token.is('}')) && depth == 0;
        if ends {
            return at + 1;
        }
        if depth < 0 {
            return at;
        }
    }
    tokens.len()
}

/// The files that `tokens` declares as its modules (`mod NAME;`).
pub(crate) fn declared_modules(tokens: &[Token]) -> Vec<String> {
    tokens
        .windows(3)
        .filter(|window| window[0].word() == Some("mod") && window[2].is(';'))
        .filter_map(|window| window[1].word().map(str::to_owned))
        .collect()
}

/// A path as written, `use` trees spelled out: `use a::{b, c::d}` is `a::b` and `a::c::d`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
}

/// Every path in `tokens` whose first segment is the outside's or the crate's, not a name that the
/// same file has imported or declared.
pub(crate) fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut imported = Vec::new();
    let mut bound: HashSet<String> = declared_modules(tokens).into_iter().collect();
    let mut inline = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let next = tokens.get(at + 1);
        let begins = next.is_some_and(|t| t.word().is_some() || t.kind == Kind::Separator);
        match token.word() {
            Some("use") if begins => {
                at = use_tree(tokens, at + 1, &[], &mut imported, &mut bound);
                continue;
            }
            Some("extern") if next.and_then(Token::word) == Some("crate") => {
                let segments = tokens.get(at + 2).and_then(Token::word).map(str::to_owned);
                imported.push(Path { line: token.line, segments: segments.into_iter().collect() });
            }
            Some(_) if next.is_some_and(|t| t.kind == Kind::Separator) && starts_path(tokens, at) => {
                inline.push(inline_path(tokens, at));
            }
            _ => {}
        }
        at += 1;
    }
    inline.retain(|path: &Path| !bound.contains(&path.segments[0]));
    imported.extend(inline);
    imported
}

/// Whether the word at `at` is the head of its path, `::head` included.
fn starts_path(tokens: &[Token], at: usize) -> bool {
    let before = |n: usize| at.checked_sub(n).and_then(|i| tokens.get(i));
    match before(1) {
        Some(token) if token.kind == Kind::Separator => {
            !before(2).is_some_and(|t| t.word().is_some() || t.is('>'))
        }
        Some(token) => !token.is('.'),
        None => true,
    }
}

fn inline_path(tokens: &[Token], at: usize) -> Path {
    let mut segments = Vec::new();
    let mut i = at;
    while let Some(word) = tokens.get(i).and_then(Token::word) {
        segments.push(word.to_owned());
        if tokens.get(i + 1).is_none_or(|t| t.kind != Kind::Separator) {
            break;
        }
        i += 2;
    }
    Path { line: tokens[at].line, segments }
}

/// Reads one tree of a `use`, beginning at `at`; returns where it ends.
fn use_tree(
    tokens: &[Token],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<Path>,
    bound: &mut HashSet<String>,
) -> usize {
    let mut segments = prefix.to_vec();
    let mut alias = None;
    let mut line = 0;
    while let Some(token) = tokens.get(at) {
        line = token.line;
        match &token.kind {
            Kind::Word(word) if word == "as" => {
                at += 1;
                alias = tokens.get(at).and_then(Token::word).map(str::to_owned);
            }
            Kind::Word(word) => segments.push(word.clone()),
            Kind::Mark('*') => segments.push("*".to_owned()),
            Kind::Mark('{') => {
                at += 1;
                while tokens.get(at).is_some_and(|t| !t.is('}')) {
                    at = use_tree(tokens, at, &segments, found, bound);
                    at += usize::from(tokens.get(at).is_some_and(|t| t.is(',')));
                }
                return at + 1;
            }
            Kind::Mark(',' | '}' | ';') => break,
            _ => {}
        }
        at += 1;
    }
    // `use rcgen;` binds the crate's own name; everything else shadows what it binds.
    if segments.len() > 1 {
        bound.extend(alias.or_else(|| segments.iter().rfind(|s| *s != "self").cloned()));
    }
    found.push(Path { line, segments });
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str) -> Vec<String> {
        paths(&part_tests(tokens(source)).0).iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn use_trees_are_spelled_out() {
        assert_eq!(
            found("pub use crate::{ca::Authority, store::{self, Row as R}}; use rcgen as r;"),
            ["crate::ca::Authority", "crate::store::self", "crate::store::Row", "rcgen"],
        );
        assert_eq!(found("use std::{io, time::Duration};"), ["std::io", "std::time::Duration"]);
    }

    #[test]
    fn a_path_without_an_import_is_found() {
        assert_eq!(
            found("fn f(x: Option<crate::ca::A>) { ::rcgen::sign(); }"),
            ["crate::ca::A", "rcgen::sign"]
        );
        assert_eq!(found("#[derive(clap::Parser)] struct S;"), ["clap::Parser"]);
        assert_eq!(found("extern crate hyper;"), ["hyper"]);
    }

    #[test]
    fn the_middle_of_a_path_is_not_its_head() {
        assert_eq!(found("std::time::now(); x.pem::<u8>(); Vec::<u8>::pem();"), ["std::time::now", "Vec"]);
    }

    #[test]
    fn an_imported_name_is_not_a_crate() {
        assert_eq!(found("use super::pem; fn f() { pem::read() }"), ["super::pem"]);
        assert_eq!(found("mod pem; fn f() { pem::read() }"), [""; 0]);
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        for source in [
            "// use crate::ca;",
            "/* a /* b */ use crate::ca; */",
            "/// [`crate::ca::Authority`]",
            r#"const A: &str = "crate::ca \" crate::ca";"#,
            r###"const A: &str = r#"crate::ca" crate::ca"#;"###,
            r#"const A: &[u8] = b"crate::ca";"#,
        ] {
            assert_eq!(found(source), [""; 0], "{source}");
        }
    }

    #[test]
    fn quotes_and_lifetimes_do_not_hide_code() {
        for source in [
            "fn f<'a>(x: &'a str) { crate::ca() }",
            r"const Q: char = '\''; fn f() { crate::ca() }",
            r#"const Q: char = '"'; fn f() { crate::ca() }"#,
            r"const Q: u8 = b'\\'; fn f() { crate::ca() }",
            "fn f() { r#try(); crate::ca() }",
        ] {
            assert_eq!(found(source), ["crate::ca"], "{source}");
        }
    }

    #[test]
    fn test_code_is_parted_from_what_ships() {
        let source =
            "use a::b; #[cfg(test)] use c::d; #[cfg(test)] #[allow(x)] mod tests { use e::f; } use g::h;";
        assert_eq!(found(source), ["a::b", "g::h"]);
        let (_, tests) = part_tests(tokens("#[cfg(test)] pub(crate) mod testing; mod kept;"));
        assert_eq!(declared_modules(&tests), ["testing"]);
    }

    #[test]
    fn lines_are_those_of_the_source() {
        let found = paths(&tokens("/*\n*/ \"\n\";\nuse a::b;"));
        assert_eq!(found[0].line, 4);
    }
}
