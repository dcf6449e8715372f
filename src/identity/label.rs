//! Labels of machines.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::error::IdentityError;
use super::text_rules::{check_characters, check_length};

/// Text that tells people which machine an identity belongs to, such as its host name or its place in a rack.
///
/// The inventory keeps it; no certificate contains it, and nothing is decided by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct MachineLabel(String);

impl MachineLabel {
    /// Label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MachineLabel {
    type Err = IdentityError;

    /// Accept 1 to 64 bytes of letters, digits, ASCII punctuation and spaces. Spaces at the ends are dropped.
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        const WHAT: &str = "label";
        let text = text.trim_matches(' ');
        check_length(WHAT, text, 64)?;
        check_characters(WHAT, text, "letters, digits, punctuation and spaces", |c| {
            c.is_alphanumeric() || c.is_ascii_graphic() || c == ' '
        })?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for MachineLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Coded;

    #[test]
    fn a_label_is_one_short_line_without_invisible_characters() {
        for text in ["web-1", "rack 4, unit 12 (left)", "Düsseldorf/db1", "6f1b1d3c"] {
            assert_eq!(text.parse::<MachineLabel>().unwrap().as_str(), text);
        }
        assert_eq!(" web-1 ".parse::<MachineLabel>().unwrap().as_str(), "web-1");
        let long = "a".repeat(65);
        for (text, code) in [
            ("", "name.empty"),
            ("  ", "name.empty"),
            (long.as_str(), "name.too_long"),
            ("a\nb", "name.character"),
            ("a\tb", "name.character"),
            ("a\u{1b}[31m", "name.character"),
            ("a\u{202e}b", "name.character"),
            ("a\u{a0}b", "name.character"),
            ("a\u{200b}b", "name.character"),
        ] {
            assert_eq!(text.parse::<MachineLabel>().unwrap_err().code(), code, "{text:?}");
        }
    }
}
