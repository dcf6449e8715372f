//! Colors of states in tables and texts, on a terminal that has them.
//!
//! A text is colored by marks, which the writer of standard output replaces by control sequences. A mark contains a
//! random number of this process, so that text from outside cannot contain one.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use crate::clock::{Entropy, SystemEntropy};

/// First character of a mark: a noncharacter, which no text contains.
const MARK: char = '\u{fdd0}';

/// Color by meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Color {
    /// In order.
    Good,
    /// Needs attention.
    Warning,
    /// Failed or refused.
    Bad,
    /// Of less interest.
    Faint,
}

impl Color {
    const ALL: [Self; 4] = [Self::Good, Self::Warning, Self::Bad, Self::Faint];

    const fn letter(self) -> char {
        match self {
            Self::Good => 'g',
            Self::Warning => 'w',
            Self::Bad => 'b',
            Self::Faint => 'f',
        }
    }

    /// Control sequence (ECMA-48, SGR).
    const fn sequence(self) -> &'static str {
        match self {
            Self::Good => "\u{1b}[32m",
            Self::Warning => "\u{1b}[33m",
            Self::Bad => "\u{1b}[31m",
            Self::Faint => "\u{1b}[2m",
        }
    }
}

const END: char = '.';
const END_SEQUENCE: &str = "\u{1b}[0m";

/// Text in a color. Without colors, it is the text alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Painted<T>(pub(crate) T, pub(crate) Option<Color>);

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.1, secret()) {
            // A mark is written at once, so that the writer finds it whole.
            (Some(color), Some(secret)) => {
                f.write_str(&mark(secret, color.letter()))?;
                self.0.fmt(f)?;
                f.write_str(&mark(secret, END))
            }
            _ => self.0.fmt(f),
        }
    }
}

fn mark(secret: u64, letter: char) -> String {
    format!("{MARK}{secret:016x}{letter}")
}

/// Replace the marks of this process by control sequences, or remove them.
pub(super) fn resolve(text: &str, with_colors: bool) -> Cow<'_, str> {
    match secret() {
        Some(secret) if text.contains(MARK) => Cow::Owned(resolve_marks(text, secret, with_colors)),
        _ => Cow::Borrowed(text),
    }
}

fn resolve_marks(text: &str, secret: u64, with_colors: bool) -> String {
    let all = Color::ALL.map(|color| (color.letter(), color.sequence()));
    all.into_iter().chain([(END, END_SEQUENCE)]).fold(text.to_owned(), |text, (letter, sequence)| {
        text.replace(&mark(secret, letter), if with_colors { sequence } else { "" })
    })
}

/// Secret of the marks. `None` without colors: standard output is not a terminal, the terminal has none, or `NO_COLOR`
/// is set (no-color.org).
fn secret() -> Option<u64> {
    static SECRET: OnceLock<Option<u64>> = OnceLock::new();
    *SECRET.get_or_init(|| {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let has_none = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        if is_set("NO_COLOR") || has_none || !io::stdout().is_terminal() {
            return None;
        }
        let mut bytes = [0; 8];
        SystemEntropy.fill(&mut bytes).ok()?;
        Some(u64::from_ne_bytes(bytes))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marks_of_this_process_become_colors() {
        let text = format!("{}valid{} {MARK}0000000000000001g", mark(7, 'g'), mark(7, END));
        assert_eq!(
            resolve_marks(&text, 7, true),
            format!("\u{1b}[32mvalid\u{1b}[0m {MARK}0000000000000001g")
        );
        assert_eq!(resolve_marks(&text, 7, false), format!("valid {MARK}0000000000000001g"));
    }

    #[test]
    fn text_has_no_marks_where_standard_output_is_no_terminal() {
        if !io::stdout().is_terminal() {
            assert_eq!(Painted("valid", Some(Color::Good)).to_string(), "valid");
        }
    }
}
