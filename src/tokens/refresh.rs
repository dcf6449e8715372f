//! Refresh tokens: random, and stored as hashes.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};

use super::error::TokenError;
use crate::clock::Entropy;
use crate::secret::Secret;
use crate::x509::Sha256;

/// Bytes of the part that all refresh tokens of a session share.
const SELECTOR: usize = 16;

/// Bytes of the part that changes at each use.
const SECRET: usize = 32;

/// A refresh token: the selector of its session, and a secret that is valid once.
///
/// A token with the right selector and a wrong secret was used before, or is made from one that was: only holders of
/// a token of the session know the selector.
#[derive(Debug)]
pub struct RefreshToken(Secret);

impl RefreshToken {
    /// A token of a new session.
    ///
    /// # Errors
    /// [`TokenError::Entropy`].
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, TokenError> {
        let mut bytes = vec![0; SELECTOR + SECRET];
        entropy.fill(&mut bytes)?;
        Ok(Self(Secret::new(bytes)))
    }

    /// The next token of the same session.
    ///
    /// # Errors
    /// [`TokenError::Entropy`].
    pub fn successor(&self, entropy: &dyn Entropy) -> Result<Self, TokenError> {
        let mut bytes = self.0.expose().to_vec();
        entropy.fill(bytes.get_mut(SELECTOR..).unwrap_or_default())?;
        Ok(Self(Secret::new(bytes)))
    }

    /// Read the text of a token.
    ///
    /// # Errors
    /// [`TokenError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Malformed)?;
        match bytes.len() {
            length if length == SELECTOR + SECRET => Ok(Self(Secret::new(bytes))),
            _ => Err(TokenError::Malformed),
        }
    }

    /// Text for the client.
    #[must_use]
    pub fn text(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0.expose())
    }

    /// SHA-256 of the selector.
    #[must_use]
    pub fn selector_hash(&self) -> Sha256 {
        Sha256::of(self.0.expose().get(..SELECTOR).unwrap_or_default())
    }

    /// SHA-256 of the secret.
    #[must_use]
    pub fn secret_hash(&self) -> Sha256 {
        Sha256::of(self.0.expose().get(SELECTOR..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemEntropy;

    #[test]
    fn a_successor_has_the_selector_and_another_secret() {
        let first = RefreshToken::generate(&SystemEntropy).unwrap();
        let next = first.successor(&SystemEntropy).unwrap();
        assert_eq!(next.selector_hash(), first.selector_hash());
        assert_ne!(next.secret_hash(), first.secret_hash());
        let read = RefreshToken::parse(&next.text()).unwrap();
        assert_eq!((read.selector_hash(), read.secret_hash()), (next.selector_hash(), next.secret_hash()));
    }

    #[test]
    fn only_the_exact_text_of_a_token_is_read() {
        let text = RefreshToken::generate(&SystemEntropy).unwrap().text();
        assert_eq!(text.len(), 64);
        for wrong in
            [&text[1..], &format!("{text}A"), &format!("{text}="), &text.replace(&text[..1], "*"), ""]
        {
            assert_eq!(RefreshToken::parse(wrong).unwrap_err(), TokenError::Malformed, "{wrong}");
        }
    }
}
