//! Check shared by all kinds of names.

use super::error::IdentityError;
use crate::error::excerpt;

pub(super) fn is_name_character(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '_')
}

pub(super) fn check_length(what: &'static str, text: &str, at_most: usize) -> Result<(), IdentityError> {
    if text.is_empty() {
        Err(IdentityError::Empty { what })
    } else if text.len() > at_most {
        Err(IdentityError::TooLong { what, length: text.len(), at_most })
    } else {
        Ok(())
    }
}

pub(super) fn check_characters(
    what: &'static str,
    text: &str,
    allowed: &'static str,
    is_allowed: impl Fn(char) -> bool,
) -> Result<(), IdentityError> {
    match text.chars().find(|c| !is_allowed(*c)) {
        Some(found) => Err(IdentityError::Character { what, given: excerpt(text), found, allowed }),
        None => Ok(()),
    }
}

/// Require a letter or digit at both ends, and refuse `..`: names become parts of paths, file names and
/// arguments.
pub(super) fn check_edges(what: &'static str, text: &str) -> Result<(), IdentityError> {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if edge(text.chars().next()) && edge(text.chars().next_back()) && !text.contains("..") {
        Ok(())
    } else {
        Err(IdentityError::Edges { what, given: excerpt(text) })
    }
}
