//! Text received from a gateway, made safe to display.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// Text of a gateway with a bounded length and escaped control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SanitizedText(String);

impl SanitizedText {
    /// Characters kept; the rest is dropped.
    const MAX_CHARS: usize = 300;
}

impl From<&str> for SanitizedText {
    fn from(text: &str) -> Self {
        let mut shown = String::new();
        for c in text.chars().take(Self::MAX_CHARS) {
            if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
        }
        Self(shown)
    }
}

impl fmt::Display for SanitizedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for SanitizedText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::from(text.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_a_gateway_never_reach_the_terminal() {
        let text = SanitizedText::from("a\u{1b}[31mb\nc");
        assert_eq!(text.to_string(), "a\\u{1b}[31mb\\nc");
        let long = SanitizedText::from("x".repeat(10_000).as_str());
        assert_eq!(long.to_string().len(), SanitizedText::MAX_CHARS);
    }
}
