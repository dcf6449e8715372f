//! KMIP as a kind of key management service.

use super::client::KmipClient;
use super::settings::KmipService;
use super::wrapped::KmipCiphertext;
use crate::keys::kms::error::KmsError;
use crate::keys::kms::key_wrap::KeyWrap;
use crate::keys::kms::service::{Rotation, ServiceKind};
use crate::keys::kms::trust_anchors::KmsTrustAnchors;

/// The client key counts as stored: a client certificate is useless without it.
impl ServiceKind for KmipService {
    type Wrapped = KmipCiphertext;

    fn connect(&self, anchors: &KmsTrustAnchors) -> Result<Box<dyn KeyWrap<KmipCiphertext>>, KmsError> {
        Ok(Box::new(KmipClient::new(self, anchors)?))
    }

    fn reach(&self, anchors: &KmsTrustAnchors) -> Result<(), KmsError> {
        KmipClient::new(self, anchors)?.open().map(drop)
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
        "client certificate"
    }

    fn rotation(&self) -> Rotation {
        Rotation::NewKey
    }

    fn ca_certificate(&self) -> Option<&str> {
        self.ca_certificate.as_deref()
    }
}
