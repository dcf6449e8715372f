//! A mistake with file and line.

use serde::Serialize;

/// A mistake in a file, displayed as `FILE:LINE: MESSAGE`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, thiserror::Error)]
#[error("{file}{}: {message}", line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct YamlProblem {
    /// Path as the caller gave it, or the label of a built-in document.
    pub file: String,
    /// The line, counted from one; `None` for a mistake that concerns the whole file.
    pub line: Option<usize>,
    /// The violated rule, with the offending value.
    pub message: String,
}

impl YamlProblem {
    /// Create a problem of `file`. The message may quote the file, so it is truncated and its control
    /// characters are escaped.
    #[must_use]
    pub fn new(file: &str, line: Option<usize>, message: &str) -> Self {
        const MAX_CHARACTERS: usize = 500;
        let mut shown = String::new();
        for c in message.chars().take(MAX_CHARACTERS) {
            if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
        }
        if message.chars().nth(MAX_CHARACTERS).is_some() {
            shown.push('…');
        }
        Self { file: file.to_owned(), line, message: shown }
    }
}
