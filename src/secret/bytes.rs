//! Bytes that are zeroized on drop and never printed.

use std::fmt;

use zeroize::Zeroizing;

/// Secret bytes: a private key's PEM, a passphrase, a token.
///
/// `Debug` prints `…`. There is no `Display`, no `Serialize` and no `Clone`, so every copy is explicit.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Take ownership of `bytes`; the caller must not keep another copy.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes. Do not store or print them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The first line without its line ending, for secrets read from files; `None` when it is empty.
    #[must_use]
    pub fn first_line(&self) -> Option<Self> {
        // Editors on Windows begin a file with a byte order mark.
        let text = self.0.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.0);
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        (!line.is_empty()).then(|| Self::new(line.to_vec()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_secret() {
        assert_eq!(format!("{:?}", Secret::new(b"hunter2".to_vec())), "Secret(…)");
    }

    #[test]
    fn the_first_line_ends_at_the_line_break() {
        let line = |text: &str| Secret::new(text.as_bytes().to_vec()).first_line();
        for text in ["hunter2", "hunter2\n", "hunter2\r\n", "hunter2\nsecond", "\u{feff}hunter2\n"] {
            assert_eq!(line(text).unwrap().expose(), b"hunter2", "{text:?}");
        }
        assert_eq!(line(" a b ").unwrap().expose(), b" a b ", "blanks are kept");
        for text in ["", "\n", "\r\n", "\nhunter2", "\u{feff}\n"] {
            assert!(line(text).is_none(), "{text:?}");
        }
    }
}
