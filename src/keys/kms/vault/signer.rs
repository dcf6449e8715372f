//! Signatures with one version of a Transit key.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::api::{KeyType, SignRequest, Signature, SigningKey};
use super::settings::VaultService;
use super::transit::Transit;
use crate::clock::IoDeadline;
use crate::keys::kms::error::KmsError;
use crate::keys::kms::key_wrap::KeyWrap;
use crate::keys::kms::trust_anchors::KmsTrustAnchors;
use crate::keys::remote_key::DigestSigner;
use crate::x509::pem::only_block;

/// Time until the next look at a token that needs no renewal, or whose renewal failed.
const NEXT_LOOK: Duration = Duration::from_secs(60);

/// One version of an ECDSA P-256 key of a Transit engine.
pub(in crate::keys::kms) struct TransitSigner {
    transit: Transit,
    version: u64,
    /// Time until the token has to be renewed; `None` before the first signature.
    renewal: Mutex<Option<IoDeadline>>,
}

impl TransitSigner {
    /// Signer with the given version of the key. Nothing is sent yet.
    pub(in crate::keys::kms) fn new(
        service: &VaultService,
        anchors: &KmsTrustAnchors,
        version: u64,
    ) -> Result<Self, KmsError> {
        Ok(Self { transit: Transit::new(service, anchors)?, version, renewal: Mutex::default() })
    }

    /// Signer with the newest version of the key.
    pub(in crate::keys::kms) fn newest(
        service: &VaultService,
        anchors: &KmsTrustAnchors,
    ) -> Result<Self, KmsError> {
        let transit = Transit::new(service, anchors)?;
        let version = transit.signing_key()?.latest_version;
        Ok(Self { transit, version, renewal: Mutex::default() })
    }

    pub(in crate::keys::kms) fn version(&self) -> u64 {
        self.version
    }

    /// Renew a token that would expire, at the first signature and whenever half of its lifetime is over. A failed
    /// renewal does not fail the signature: the token is valid for the other half of its lifetime.
    fn renew_token(&self) {
        let mut renewal = self.renewal.lock().unwrap_or_else(PoisonError::into_inner);
        if renewal.as_ref().is_some_and(|renewal| renewal.remaining().is_some()) {
            return;
        }
        let next = self.transit.renew_login().ok().flatten().unwrap_or(NEXT_LOOK);
        *renewal = Some(IoDeadline::after(next));
    }
}

impl Transit {
    fn signing_key(&self) -> Result<SigningKey, KmsError> {
        // Two reads: a key of another type has no public halves, so that its properties do not parse.
        if self.key_properties::<KeyType>()?.key_type == "ecdsa-p256" {
            return self.key_properties();
        }
        let why = "sign as the root: its type is not ecdsa-p256";
        Err(KmsError::KeyUnfit { address: self.address(), key: self.service.key.to_string(), why })
    }
}

impl DigestSigner for TransitSigner {
    fn public_key_info(&self) -> Result<Vec<u8>, KmsError> {
        let transit = &self.transit;
        let mut key = transit.signing_key()?;
        let missing = || KmsError::KeyMissing {
            address: transit.address(),
            key: format!("{}, version {}", transit.service.key, self.version),
        };
        let pem = key.keys.remove(&self.version.to_string()).ok_or_else(missing)?.public_key;
        let unreadable =
            |_| KmsError::Protocol { address: transit.address(), why: "its public key cannot be parsed" };
        Ok(only_block(pem.as_bytes()).map_err(unreadable)?.der().to_vec())
    }

    fn sign_digest(&self, digest: &[u8]) -> Result<Vec<u8>, KmsError> {
        let request = SignRequest {
            input: &BASE64_STANDARD.encode(digest),
            prehashed: true,
            hash_algorithm: "sha2-256",
            marshaling_algorithm: "asn1",
            key_version: self.version,
        };
        let signed = self.transit.post::<Signature>("sign", &request)?.signature;
        self.renew_token();
        // `vault:vN:BASE64`.
        let text = signed.rsplit(':').next().unwrap_or_default();
        let why = "its signature is not base64";
        BASE64_STANDARD.decode(text).map_err(|_| KmsError::Protocol { address: self.transit.address(), why })
    }
}
