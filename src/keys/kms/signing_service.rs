//! Services and tokens that hold the root key and sign with it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::credential::{Credential, MissingSecret};
use super::error::KmsError;
use super::pkcs11::{PinProvider, TokenKey};
use super::trust_anchors::KmsTrustAnchors;
use super::vault::{TransitSigner, VaultService};
use crate::keys::remote_key::DigestSigner;

/// Service or token that holds the root key as a non-exportable key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SignerFields", into = "SignerFields")]
#[non_exhaustive]
pub enum SigningService {
    /// A key in a PKCS#11 token.
    Pkcs11(TokenKey),
    /// A key of a Transit engine.
    Vault {
        /// The engine and its key.
        vault: VaultService,
        /// Version of the key. Pinned, since a rotation in Vault creates another key pair.
        version: u64,
    },
}

impl SigningService {
    /// Select the newest version of a Vault key.
    ///
    /// # Errors
    /// [`KmsError`] if the key cannot be read or does not sign as a root.
    pub(super) fn newest(vault: VaultService, anchors: &KmsTrustAnchors) -> Result<Self, KmsError> {
        let version = TransitSigner::newest(&vault, anchors)?.version();
        Ok(Self::Vault { vault, version })
    }

    /// Signer of the key. A token is logged in to at once, with a PIN from `pins`.
    ///
    /// # Errors
    /// [`KmsError`].
    pub(super) fn connect(
        &self,
        anchors: impl FnOnce() -> Result<KmsTrustAnchors, KmsError>,
        pins: &dyn PinProvider,
    ) -> Result<Box<dyn DigestSigner>, KmsError> {
        Ok(match self {
            Self::Pkcs11(key) => Box::new(key.open(pins)?),
            Self::Vault { vault, version } => Box::new(TransitSigner::new(vault, &anchors()?, *version)?),
        })
    }

    /// The secret that is needed and not stored, with its place. The PIN of a token is none: the token
    /// asks for it at login, and only then.
    pub(super) fn missing_secret(&mut self) -> Option<(MissingSecret, &mut Option<Credential>)> {
        match self {
            Self::Pkcs11(_) => None,
            Self::Vault { vault, .. } => {
                let address = vault.address.to_string();
                vault.secret_slot().missing(address)
            }
        }
    }
}

/// Serialized form of [`SigningService`]: the kind follows from the fields present. Without a tag, as in the
/// first format, and because serde buffers tagged enums: their secrets would pass through memory that is not
/// zeroized.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignerFields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pkcs11: Option<TokenKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vault: Option<VaultService>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

impl TryFrom<SignerFields> for SigningService {
    type Error = &'static str;

    fn try_from(fields: SignerFields) -> Result<Self, Self::Error> {
        match fields {
            SignerFields { pkcs11: Some(key), vault: None, version: None } => Ok(Self::Pkcs11(key)),
            SignerFields { pkcs11: None, vault: Some(vault), version: Some(version) } => {
                Ok(Self::Vault { vault, version })
            }
            _ => Err("a signer is either a pkcs11 key or a vault with a version"),
        }
    }
}

impl From<SigningService> for SignerFields {
    fn from(service: SigningService) -> Self {
        match service {
            SigningService::Pkcs11(key) => Self { pkcs11: Some(key), vault: None, version: None },
            SigningService::Vault { vault, version } => {
                Self { pkcs11: None, vault: Some(vault), version: Some(version) }
            }
        }
    }
}

impl fmt::Display for SigningService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pkcs11(key) => key.uri.fmt(f),
            Self::Vault { vault, version } => {
                write!(f, "vault key {}, version {version}, at {}", vault.key, vault.address)
            }
        }
    }
}
