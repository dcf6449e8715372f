//! Foreign text in messages.

/// Most characters of a text that a message quotes.
const LIMIT: usize = 80;

/// Escape and shorten foreign text for a message: 80 characters and `…`, no control characters.
#[must_use]
pub fn excerpt(text: &str) -> String {
    let mut safe: String = text.chars().take(LIMIT).flat_map(char::escape_debug).collect();
    if text.chars().nth(LIMIT).is_some() {
        safe.push('…');
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_quotes_eighty_characters_and_no_control_character() {
        assert_eq!(excerpt("plain"), "plain");
        assert_eq!(excerpt("a\n\u{1b}[31mb"), "a\\n\\u{1b}[31mb");
        assert_eq!(excerpt(&"ä".repeat(80)), "ä".repeat(80));
        assert_eq!(excerpt(&"x".repeat(1 << 20)), format!("{}…", "x".repeat(80)));
    }
}
