//! Text from outside, without effect on a terminal.
//!
//! A field of a log, a subject or a file name can hold control characters, which move the cursor and change what was
//! printed, and characters that change the direction of text. All output of both programs passes this writer.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::terminal::color;

/// Form of an escaped character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EscapeForm {
    /// Text for people: `\u{1b}`.
    Text,
    /// [`EscapeForm::Text`] for standard output, with colors where the terminal has them.
    Colored,
    /// JSON, where such characters occur in strings only: `\u001b`.
    Json,
}

/// Writer that escapes every character with an effect on a terminal, apart from the ends of lines.
#[derive(Debug)]
pub(crate) struct EscapingWriter<W> {
    inner: W,
    form: EscapeForm,
}

impl<W: Write> EscapingWriter<W> {
    pub(crate) const fn new(inner: W, form: EscapeForm) -> Self {
        Self { inner, form }
    }
}

impl<W: Write> Write for EscapingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let safe = escape(&text, self.form);
        let colored = match self.form {
            EscapeForm::Json => safe,
            EscapeForm::Text | EscapeForm::Colored => {
                match color::resolve(&safe, self.form == EscapeForm::Colored) {
                    Cow::Borrowed(_) => safe,
                    Cow::Owned(resolved) => Cow::Owned(resolved),
                }
            }
        };
        self.inner.write_all(colored.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn escape(text: &str, form: EscapeForm) -> Cow<'_, str> {
    let has_effect = |c: char| c != '\n' && has_effect(c);
    if !text.contains(has_effect) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match (has_effect(c), form) {
            (false, _) => safe.push(c),
            (true, EscapeForm::Text | EscapeForm::Colored) => safe.extend(c.escape_default()),
            (true, EscapeForm::Json) => safe.push_str(&format!("\\u{:04x}", u32::from(c))),
        }
    }
    Cow::Owned(safe)
}

/// Text without effect on a terminal, in one line: ends of lines are escaped, too.
pub(crate) fn one_line(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if has_effect(c) { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    safe
}

/// Return true for control characters, and for invisible characters that order or separate text (Unicode Standard
/// Annex 9).
pub(crate) fn has_effect(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, form: EscapeForm) -> String {
        let mut bytes = Vec::new();
        write!(EscapingWriter::new(&mut bytes, form), "{text}").unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn no_character_with_an_effect_passes() {
        let forged = "a\u{1b}[2J\u{9b}31m\r\u{7f}\u{8}\0\u{202e}b\u{2066}\u{200f}\u{2028}";
        let escaped = "a\\u{1b}[2J\\u{9b}31m\\r\\u{7f}\\u{8}\\u{0}\\u{202e}b\\u{2066}\\u{200f}\\u{2028}";
        assert_eq!(written(forged, EscapeForm::Text), escaped);
        assert_eq!(one_line(&format!("{forged}\n")), format!("{escaped}\\n"));
        let plain = "error: \u{e4} \u{2192} \u{4e2d}\n  second line\n";
        assert_eq!(written(plain, EscapeForm::Text), plain);
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({ "a": "\u{1b}[2J\u{9b}\u{7f}\u{202e}\"\\\n\u{e4}" });
        let text = written(&value.to_string(), EscapeForm::Json);
        assert!(!text.contains(has_effect), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
