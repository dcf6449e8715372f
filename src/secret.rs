//! Bytes that must not outlive their use: zeroized when dropped, never shown.

use std::fmt;

use zeroize::Zeroizing;

/// Secret bytes: a private key's PEM, a passphrase, a token.
///
/// `Debug` prints `…`; there is no `Display`, no `Serialize` and no `Clone`, so that each copy is a
/// decision that a reader can see.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over `bytes`; the caller must not hold another copy.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The secret itself, for the call that needs it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The first line, without its end: what a file that was written by hand holds.
    #[must_use]
    pub fn first_line(&self) -> Self {
        let line = self.0.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Self::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
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
    fn a_secret_is_never_shown() {
        assert_eq!(format!("{:?}", Secret::new(b"hunter2".to_vec())), "Secret(…)");
    }

    #[test]
    fn the_first_line_is_all_but_its_end() {
        for (text, line) in
            [("", ""), ("\n1234", ""), ("1234", "1234"), ("1234\r\nmore\n", "1234"), (" 1 2\t\n", " 1 2\t")]
        {
            assert_eq!(Secret::new(text.into()).first_line().expose(), line.as_bytes(), "{text:?}");
        }
    }
}
