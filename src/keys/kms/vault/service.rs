//! Vault as a kind of key management service.

use super::https::{Https, HttpsRequest};
use super::settings::{AppRole, VaultCredentials, VaultService};
use super::transit::Transit;
use super::wrapped::TransitCiphertext;
use crate::keys::kms::credential::SecretSlot;
use crate::keys::kms::error::KmsError;
use crate::keys::kms::key_wrap::KeyWrap;
use crate::keys::kms::service::{Rotation, ServiceKind};
use crate::keys::kms::trust_anchors::KmsTrustAnchors;

impl ServiceKind for VaultService {
    type Wrapped = TransitCiphertext;

    fn connect(&self, anchors: &KmsTrustAnchors) -> Result<Box<dyn KeyWrap<TransitCiphertext>>, KmsError> {
        Ok(Box::new(Transit::new(self, anchors)?))
    }

    fn reach(&self, anchors: &KmsTrustAnchors) -> Result<(), KmsError> {
        // Every status will do, that of a sealed Vault included.
        Https::new(self.address.as_str(), anchors)?.call("sys/health", &[], &HttpsRequest::Get).map(drop)
    }

    fn address(&self) -> &str {
        self.address.as_str()
    }

    fn key(&self) -> &str {
        self.key.as_str()
    }

    fn set_key(&mut self, key: &str) -> Result<(), KmsError> {
        self.key = key.parse()?;
        Ok(())
    }

    fn login(&self) -> &'static str {
        match self.credentials {
            VaultCredentials::AppRole(_) => "approle",
            VaultCredentials::Token(_) => "token",
        }
    }

    fn rotation(&self) -> Rotation {
        Rotation::NewVersion { command: "bao write -f transit/keys/KEY/rotate" }
    }

    fn namespace(&self) -> Option<&str> {
        self.namespace.as_ref().map(|namespace| namespace.as_str())
    }

    fn has_secrets(&self) -> bool {
        match &self.credentials {
            VaultCredentials::AppRole(AppRole { secret_id, .. }) => secret_id.is_some(),
            VaultCredentials::Token(token) => token.is_some(),
        }
    }

    fn secret(&mut self) -> Option<SecretSlot<'_>> {
        Some(self.secret_slot())
    }
}
