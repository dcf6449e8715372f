//! Secrets of services: tokens, secret ids, PINs and client keys.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::KmsError;
use super::pkcs11::Pkcs11Error;
use crate::files;
use crate::keys::private_key::PrivateKey;
use crate::secret::Secret;

/// A secret of a service: zeroized on drop, hidden in `Debug`, serialized to `kms.json` (0600) alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Credential(Zeroizing<String>);

/// Kind of secret that a command may supply instead of storing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretKind {
    /// Name in messages: `token`, `secret id`.
    pub name: &'static str,
    /// Environment variable that supplies it to `cluster-ca`.
    pub variable: &'static str,
    /// Variables of other programs that supply it where that one is not set, the first one first.
    pub others: &'static [&'static str],
}

/// A secret that is needed and not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingSecret {
    /// Kind of the secret.
    pub kind: SecretKind,
    /// Address of the service.
    pub address: String,
}

/// Place of a secret in the configuration of a service; empty if the secret is not stored.
#[derive(Debug)]
pub struct SecretSlot<'a> {
    /// Kind of the secret.
    pub kind: SecretKind,
    /// The place.
    pub value: &'a mut Option<Credential>,
}

impl<'a> SecretSlot<'a> {
    /// The missing secret and its place; `None` if it is stored.
    #[must_use]
    pub fn missing(self, address: String) -> Option<(MissingSecret, &'a mut Option<Credential>)> {
        self.value.is_none().then_some((MissingSecret { kind: self.kind, address }, self.value))
    }
}

impl MissingSecret {
    /// Error for a secret that nothing supplied.
    #[must_use]
    pub fn error(&self) -> KmsError {
        KmsError::CredentialMissing { what: self.kind.name, address: self.address.clone() }
    }
}

impl Credential {
    /// Take over the text of a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// True if the text is valid as a token or secret id: printable ASCII without spaces, since it may be
    /// sent in a header.
    #[must_use]
    pub fn is_valid(text: &str) -> bool {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic())
    }

    /// Read a token or secret id from the first line of a private file (0600).
    ///
    /// # Errors
    /// [`KmsError::File`], and [`KmsError::CredentialUnreadable`] if the line is not such a secret.
    pub fn from_file(path: &Path) -> Result<Self, KmsError> {
        let contents = files::read_private(path)?;
        let line = contents.expose().split(|byte| *byte == b'\n').next().unwrap_or_default();
        match std::str::from_utf8(line.trim_ascii()) {
            Ok(text) if Self::is_valid(text) => Ok(Self::new(text.to_owned())),
            _ => Err(KmsError::CredentialUnreadable { path: path.to_owned() }),
        }
    }

    /// Take the PIN of a token.
    ///
    /// # Errors
    /// [`Pkcs11Error::PinUnreadable`] for a PIN that is not UTF-8.
    pub fn from_pin(pin: &Secret) -> Result<Self, KmsError> {
        match std::str::from_utf8(pin.expose()) {
            Ok(text) => Ok(Self::new(text.to_owned())),
            Err(_) => Err(Pkcs11Error::PinUnreadable { from: "the given PIN".to_owned() }.into()),
        }
    }

    /// Read a private key in PEM from a private file (0600).
    ///
    /// # Errors
    /// [`KmsError::File`], and [`KmsError::ClientCertificate`] unless it is exactly one private key.
    pub fn from_pem_file(path: &Path) -> Result<Self, KmsError> {
        let contents = files::read_private(path)?;
        let bad = |why: String| KmsError::ClientCertificate { why };
        PrivateKey::from_pem(&contents).map_err(|error| bad(error.to_string()))?;
        let text = std::str::from_utf8(contents.expose()).map_err(|error| bad(error.to_string()))?;
        Ok(Self::new(text.to_owned()))
    }

    /// The secret, for the call that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}
