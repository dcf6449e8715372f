//! Rules of text shared by names.

/// Text from outside as it may stand in a message: bounded, control characters escaped.
pub(super) fn shown(text: &str) -> String {
    let mut safe: String = text.chars().take(80).flat_map(char::escape_default).collect();
    if text.chars().nth(80).is_some() {
        safe.push('…');
    }
    safe
}
