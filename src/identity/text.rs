//! Text in messages.

/// Escapes and shortens untrusted text for a message: 80 characters, no control characters.
pub(super) fn shown(text: &str) -> String {
    let mut safe: String = text.chars().take(80).flat_map(char::escape_default).collect();
    if text.chars().nth(80).is_some() {
        safe.push('…');
    }
    safe
}

/// Joins items with commas, the last one with `conjunction`.
pub(super) fn listed(items: impl IntoIterator<Item = String>, conjunction: &str) -> String {
    let mut items: Vec<String> = items.into_iter().collect();
    match items.pop() {
        Some(last) if items.is_empty() => last,
        Some(last) => format!("{} {conjunction} {last}", items.join(", ")),
        None => String::new(),
    }
}
