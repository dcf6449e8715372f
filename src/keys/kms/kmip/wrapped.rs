//! Part of an envelope: a data key wrapped by a KMIP server.

use serde::{Deserialize, Serialize};

use crate::keys::base64_text;
use crate::keys::kms::service::WrappedForm;

/// A data key encrypted by a KMIP server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KmipCiphertext {
    /// UID of the wrapping key.
    pub key: String,
    /// KMIP version under which it was encrypted, such as `1.4`.
    pub protocol: String,
    /// Block cipher mode.
    pub mode: KmipMode,
    /// Initialization vector or nonce.
    #[serde(with = "base64_text")]
    pub iv: Vec<u8>,
    /// The encrypted data key.
    #[serde(with = "base64_text")]
    pub ciphertext: Vec<u8>,
}

/// Block cipher mode of a wrapped data key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KmipMode {
    /// AES-CBC with PKCS #5 padding. Unauthenticated: the envelope's own AEAD detects changes.
    Cbc,
    /// AES-GCM, with the envelope's context as associated data.
    Gcm {
        /// Authentication tag.
        #[serde(with = "base64_text")]
        tag: Vec<u8>,
    },
}

impl WrappedForm for KmipCiphertext {
    fn key(&self) -> &str {
        &self.key
    }
}
