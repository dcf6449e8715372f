//! Text received from a gateway, made fit to be shown.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// A few words of a gateway, fit to be shown: bounded, control characters escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Text(String);

impl Text {
    /// More than this is not shown.
    const MOST: usize = 300;
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let mut shown = String::new();
        for c in text.chars().take(Self::MOST) {
            if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
        }
        Self(shown)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::from(text.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_gateway_says_cannot_reach_the_terminal() {
        let text = Text::from("a\u{1b}[31mb\nc");
        assert_eq!(text.to_string(), "a\\u{1b}[31mb\\nc");
        assert_eq!(Text::from("x".repeat(10_000).as_str()).to_string().len(), Text::MOST);
    }
}
