//! Part of an envelope: a data key wrapped by the Transit engine.

use serde::{Deserialize, Serialize};

use crate::keys::kms::service::WrappedForm;

/// A data key encrypted by Vault's Transit engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransitCiphertext {
    /// Name of the wrapping key.
    pub key: String,
    /// `vault:vN:…`, as Vault returned it; `N` is the version of the key.
    pub ciphertext: String,
}

impl WrappedForm for TransitCiphertext {
    fn key(&self) -> &str {
        &self.key
    }

    fn version(&self) -> Option<u64> {
        self.ciphertext.strip_prefix("vault:v")?.split_once(':')?.0.parse().ok()
    }
}
