//! Traits of a kind of key management service.

use super::credential::SecretSlot;
use super::error::KmsError;
use super::key_wrap::KeyWrap;
use super::trust_anchors::KmsTrustAnchors;

/// Configuration of one kind of key management service: its part of `kms.json`.
///
/// The type is serialized with serde. Its secrets are [`Credential`](super::Credential)s.
pub trait ServiceKind {
    /// Data key wrapped by this kind of service: its part of an envelope.
    type Wrapped: WrappedForm
    where
        Self: Sized;

    /// Client of the service. Nothing is sent yet.
    ///
    /// # Errors
    /// [`KmsError`] for credentials that are missing or unusable.
    fn connect(&self, anchors: &KmsTrustAnchors) -> Result<Box<dyn KeyWrap<Self::Wrapped>>, KmsError>
    where
        Self: Sized;

    /// Connect to the service, and does not log in.
    ///
    /// # Errors
    /// [`KmsError::CertificateUntrusted`], or another failure of the connection.
    fn reach(&self, anchors: &KmsTrustAnchors) -> Result<(), KmsError>;

    /// URL or `HOST:PORT` of the service.
    fn address(&self) -> &str;

    /// Name or identifier of the wrapping key.
    fn key(&self) -> &str;

    /// Select another wrapping key.
    ///
    /// # Errors
    /// [`KmsError::Name`] for text that cannot name a key of this kind of service.
    fn set_key(&mut self, key: &str) -> Result<(), KmsError>;

    /// Login method, for reports: `token`, `client certificate`.
    fn login(&self) -> &'static str;

    /// Effect of a rotation on the wrapping key.
    fn rotation(&self) -> Rotation;

    /// Namespace of the service, if it has any.
    fn namespace(&self) -> Option<&str> {
        None
    }

    /// CA of this server alone, in PEM; by default the one common to all services.
    fn ca_certificate(&self) -> Option<&str> {
        None
    }

    /// True if every secret is stored in the configuration.
    fn has_secrets(&self) -> bool {
        true
    }

    /// The secret that need not be stored, if there is one.
    fn secret(&mut self) -> Option<SecretSlot<'_>> {
        None
    }
}

/// Effect of a rotation in the service on the wrapping key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The key gets a new version under its name.
    NewVersion {
        /// Command that rotates `KEY`.
        command: &'static str,
    },
    /// A new key with another identifier replaces the old one.
    NewKey,
}

/// Wrapped data key of one kind of service.
pub trait WrappedForm {
    /// Name or identifier of the wrapping key.
    fn key(&self) -> &str;

    /// Version of the wrapping key, where the form shows it.
    fn version(&self) -> Option<u64> {
        None
    }
}
