//! Wrapping of data keys by a Transit engine.
//!
//! `encrypt` creates a missing key, so the key is always read first. `rewrap` fails on ciphertexts with
//! associated data; the context is bound by the envelope instead.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::api::{
    Ciphertext, CiphertextRequest, EncryptRequest, NoFields, Plaintext, TokenLifetime, WrappingKey,
};
use super::settings::VaultCredentials;
use super::transit::{LOOKUP_SELF, RENEW_SELF, Transit};
use super::wrapped::TransitCiphertext;
use crate::keys::data_key::DataKey;
use crate::keys::kms::error::KmsError;
use crate::keys::kms::key_wrap::{KeyWrap, Rewrap};
use crate::keys::kms::login_end::{LoginEnd, LoginEndReason};
use crate::keys::kms::service::WrappedForm;

impl Transit {
    fn wrapped(&self, ciphertext: String) -> TransitCiphertext {
        TransitCiphertext { key: self.service.key.to_string(), ciphertext }
    }
}

impl KeyWrap<TransitCiphertext> for Transit {
    fn check(&self) -> Result<(), KmsError> {
        let key = self.key_properties::<WrappingKey>()?;
        let unfit =
            |why| Err(KmsError::KeyUnfit { address: self.address(), key: self.service.key.to_string(), why });
        match key {
            WrappingKey { supports_encryption: false, .. } => {
                unfit("wrap data keys: its type does not encrypt")
            }
            WrappingKey { supports_decryption: false, .. } => {
                unfit("wrap data keys: its type does not decrypt")
            }
            WrappingKey { derived: true, .. } => {
                unfit("wrap data keys: it is derived, so that every call needs a context")
            }
            _ => Ok(()),
        }
    }

    fn wrap_key(&self, data_key: &DataKey, _context: &[u8]) -> Result<TransitCiphertext, KmsError> {
        self.check()?;
        let plaintext = Zeroizing::new(BASE64_STANDARD.encode(data_key.expose()));
        let encrypted: Ciphertext = self.post("encrypt", &EncryptRequest { plaintext: &plaintext })?;
        Ok(self.wrapped(encrypted.ciphertext))
    }

    fn unwrap_key(&self, wrapped: &TransitCiphertext, _context: &[u8]) -> Result<DataKey, KmsError> {
        let request = CiphertextRequest { ciphertext: &wrapped.ciphertext };
        let text = self.post::<Plaintext>("decrypt", &request)?.plaintext;
        let bytes = BASE64_STANDARD.decode(text.as_bytes()).map(Zeroizing::new);
        let data_key = bytes.ok().and_then(|bytes| DataKey::from_bytes(&bytes));
        let data_key = data_key.ok_or_else(|| KmsError::DataKey { address: self.address() })?;
        // A failed renewal does not fail the unwrapping: the token stays valid for the other half of its
        // lifetime, and the next use renews again.
        let _ = self.renew_login();
        Ok(data_key)
    }

    fn rewrap_key(&self, wrapped: &TransitCiphertext) -> Result<Rewrap<TransitCiphertext>, KmsError> {
        if wrapped.version() == Some(self.key_properties::<WrappingKey>()?.latest_version) {
            return Ok(Rewrap::Current);
        }
        let request = CiphertextRequest { ciphertext: &wrapped.ciphertext };
        Ok(Rewrap::Done(self.wrapped(self.post::<Ciphertext>("rewrap", &request)?.ciphertext)))
    }

    /// Renew a token after half of its lifetime. An AppRole needs no renewal: each run logs in.
    fn renew_login(&self) -> Result<Option<Duration>, KmsError> {
        if !matches!(self.service.credentials, VaultCredentials::Token(_)) {
            return Ok(None);
        }
        let TokenLifetime { mut ttl, creation_ttl, renewable, .. } = self.get(LOOKUP_SELF)?;
        if !renewable || ttl == 0 {
            return Ok(None);
        }
        let half = creation_ttl / 2;
        if ttl < half.max(1) {
            self.post_to(RENEW_SELF, &NoFields {})?;
            ttl = creation_ttl;
        }
        Ok(Some(Duration::from_secs(ttl.saturating_sub(half) + 1)))
    }

    /// A token without an end of its own, such as that of an AppRole, is open: each run logs in, or renews it.
    fn login_end(&self) -> Result<LoginEnd, KmsError> {
        if !matches!(self.service.credentials, VaultCredentials::Token(_)) {
            return Ok(LoginEnd::Open);
        }
        let token: TokenLifetime = match self.get(LOOKUP_SELF) {
            Err(KmsError::Denied { .. } | KmsError::TokenRefused { .. }) if self.check().is_ok() => {
                return Ok(LoginEnd::Unknown);
            }
            found => found?,
        };
        let Some(expires) = token.expire_time else { return Ok(LoginEnd::Open) };
        if !token.renewable {
            return Ok(LoginEnd::At { at: expires, why: LoginEndReason::NotRenewable });
        }
        if self.post_to(RENEW_SELF, &NoFields {}).is_err() {
            return Ok(LoginEnd::At { at: expires, why: LoginEndReason::RenewalDenied });
        }
        let maximum = token.creation_time.checked_add(token.explicit_max_ttl);
        let at = maximum.and_then(|end| OffsetDateTime::from_unix_timestamp(end).ok());
        Ok(match at.filter(|_| token.explicit_max_ttl > 0) {
            Some(at) => LoginEnd::At { at, why: LoginEndReason::ExplicitMaximum },
            None => LoginEnd::Open,
        })
    }
}
