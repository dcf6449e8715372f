//! A root key in a token: its part of `kms.json`, and its signer.

use std::sync::{Mutex, PoisonError};

use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use serde::{Deserialize, Serialize};

use super::encoding::{COORDINATE, public_key_info, signature};
use super::error::Pkcs11Error;
use super::module::Module;
use super::pin::PinProvider;
use super::token::{Token, is_gone};
use super::uri::Pkcs11Uri;
use crate::files;
use crate::keys::kms::credential::Credential;
use crate::keys::kms::error::KmsError;
use crate::keys::remote_key::DigestSigner;
use crate::secret::Secret;

/// A key in a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenKey {
    /// URI of the key, its token and its module.
    pub uri: Pkcs11Uri,
    /// PIN of the token; `None` if it is not stored and supplied at each use.
    pub pin: Option<Credential>,
}

impl TokenKey {
    /// Log in to the token. An unusable module, token or key is detected here, not at the first signature.
    pub(in crate::keys::kms) fn open(&self, pins: &dyn PinProvider) -> Result<TokenSigner, KmsError> {
        let module = Module::load(self.uri.module())?;
        let token = Token::open(&module, &self.uri, &|| self.stored_pin(), pins)?;
        let key = token.find_key(&self.uri)?;
        let public_key_info = public_key_info(&key.point).ok_or_else(|| Pkcs11Error::KeyUnfit {
            token: token.name.clone(),
            key: key.name,
            why: "its public key object has no point of P-256",
        })?;
        Ok(TokenSigner {
            open: Mutex::new(OpenToken { token, gone: false }),
            _module: module,
            key: key.handle,
            public_key_info,
        })
    }

    /// The stored PIN: from the file that the URI names, or from the configuration.
    fn stored_pin(&self) -> Result<Option<Secret>, KmsError> {
        match (self.uri.pin_source(), &self.pin) {
            (Some(file), _) => {
                let pin = files::read_private(file)?.first_line();
                let unreadable = || Pkcs11Error::PinUnreadable { from: file.display().to_string() };
                Ok(Some(pin.ok_or_else(unreadable)?))
            }
            (None, pin) => Ok(pin.as_ref().map(|pin| Secret::new(pin.expose().as_bytes().to_vec()))),
        }
    }
}

/// A key of a token, after login.
pub(in crate::keys::kms) struct TokenSigner {
    // Declared before the module, so that it is dropped first.
    open: Mutex<OpenToken>,
    _module: Module,
    key: ObjectHandle,
    public_key_info: Vec<u8>,
}

/// A token with a session, shared between the signing threads.
struct OpenToken {
    token: Token,
    /// True after a call has found the token or the session gone. Every later call would fail with an error of
    /// its own (such as CKR_OPERATION_ACTIVE), and a thread would report that one instead of the cause.
    gone: bool,
}

impl DigestSigner for TokenSigner {
    fn public_key_info(&self) -> Result<Vec<u8>, KmsError> {
        Ok(self.public_key_info.clone())
    }

    fn sign_digest(&self, digest: &[u8]) -> Result<Vec<u8>, KmsError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.gone {
            return Err(open.token.gone().into());
        }
        let raw = open.token.session.sign(&Mechanism::Ecdsa, self.key, digest).map_err(|error| {
            open.gone = is_gone(&error);
            open.token.failed("sign", &error)
        })?;
        let why = || format!("the signature has {} octets instead of {}", raw.len(), 2 * COORDINATE);
        Ok(signature(&raw).ok_or_else(|| Pkcs11Error::Failed { doing: "sign", why: why() })?)
    }
}
