//! Key that signs tokens and the statement about them.

use super::error::AccountError;
use crate::ca::{CaError, Context, Home};
use crate::keys::PrivateKey;
use crate::tokens::AccessTokenSigner;

/// Key that signs tokens, opened.
#[derive(Debug)]
pub struct TokenKeyHolder {
    pub(super) signer: AccessTokenSigner,
    public_key_info: Vec<u8>,
}

impl TokenKeyHolder {
    /// Use a key that is open.
    ///
    /// # Errors
    /// [`AccountError::Token`] unless it is an ECDSA key on P-256 in a file.
    pub(super) fn new(key: &PrivateKey) -> Result<Self, AccountError> {
        let signer = AccessTokenSigner::from_pkcs8(key.der().map_err(CaError::from)?)?;
        Ok(Self { signer, public_key_info: key.public_key_info() })
    }

    pub(super) fn open(home: &Home, context: &Context) -> Result<Self, AccountError> {
        let key = PrivateKey::unlock(&home.token_key(), context.unlock.as_ref()).map_err(CaError::from)?;
        Self::new(&key)
    }

    /// Public key (SubjectPublicKeyInfo).
    #[must_use]
    pub fn public_key_info(&self) -> &[u8] {
        &self.public_key_info
    }
}
