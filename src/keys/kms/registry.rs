//! Registry of the kinds of key management services: the only place outside of their folders that names
//! them all.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::credential::{Credential, MissingSecret, SecretSlot};
use super::error::KmsError;
use super::key_wrap::{KeyWrap, Rewrap};
use super::login_end::LoginEnd;
use super::service::{Rotation, ServiceKind, WrappedForm};
use super::trust_anchors::KmsTrustAnchors;
use crate::keys::data_key::DataKey;

/// Make the enums over all kinds of services from one line for each: its name in `kms.json`, envelopes and
/// reports, its variant, and its implementation of [`ServiceKind`].
macro_rules! registry {
    ($($name:literal => $variant:ident($service:ty),)*) => {
        /// A configured key management service of any kind, with its wrapping key.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "kms")]
        #[non_exhaustive]
        pub enum KmsService {
            $(
                #[doc = concat!("Service of kind `", $name, "`.")]
                #[serde(rename = $name)]
                $variant($service),
            )*
        }

        /// A data key wrapped by a service of any kind, as an envelope stores it.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "kms")]
        #[non_exhaustive]
        pub enum WrappedKey {
            $(
                #[doc = concat!("Wrapped by a service of kind `", $name, "`.")]
                #[serde(rename = $name)]
                $variant(<$service as ServiceKind>::Wrapped),
            )*
        }

        impl KmsService {
            /// Kind of the service, such as `vault`.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                }
            }

            fn kms(&self) -> &dyn ServiceKind {
                match self {
                    $(Self::$variant(service) => service,)*
                }
            }

            fn kms_mut(&mut self) -> &mut dyn ServiceKind {
                match self {
                    $(Self::$variant(service) => service,)*
                }
            }

            /// Client of the service, whose server certificate must chain to `anchors`. Nothing is sent yet.
            ///
            /// # Errors
            /// [`KmsError`] for credentials that are missing or unusable.
            pub fn connect(
                &self,
                anchors: &KmsTrustAnchors,
            ) -> Result<Box<dyn KeyWrap<WrappedKey>>, KmsError> {
                let key = self.key().to_owned();
                Ok(match self {
                    $(Self::$variant(service) => Box::new(Client { client: service.connect(anchors)?, key }),)*
                })
            }
        }

        impl WrappedKey {
            /// Kind of the service that wrapped it, such as `vault`.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                }
            }

            fn form(&self) -> &dyn WrappedForm {
                match self {
                    $(Self::$variant(form) => form,)*
                }
            }
        }

        $(
            impl From<$service> for KmsService {
                fn from(service: $service) -> Self {
                    Self::$variant(service)
                }
            }

            impl Registered for <$service as ServiceKind>::Wrapped {
                fn into_wrapped_key(self) -> WrappedKey {
                    WrappedKey::$variant(self)
                }

                fn of(wrapped: &WrappedKey) -> Option<&Self> {
                    match wrapped {
                        WrappedKey::$variant(form) => Some(form),
                        #[allow(unreachable_patterns, reason = "unless there is only one kind")]
                        _ => None,
                    }
                }
            }
        )*
    };
}

registry! {
    "kmip" => Kmip(super::kmip::KmipService),
    "vault" => Vault(super::vault::VaultService),
}

impl KmsService {
    /// URL or `HOST:PORT` of the service.
    #[must_use]
    pub fn address(&self) -> &str {
        self.kms().address()
    }

    /// Name or identifier of the wrapping key.
    #[must_use]
    pub fn key(&self) -> &str {
        self.kms().key()
    }

    /// Login method, for reports.
    #[must_use]
    pub fn login(&self) -> &'static str {
        self.kms().login()
    }

    /// Namespace of the service, if it has any.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.kms().namespace()
    }

    /// Effect of a rotation on the wrapping key.
    #[must_use]
    pub fn rotation(&self) -> Rotation {
        self.kms().rotation()
    }

    /// CA of this server alone, in PEM; `None` for the one common to all services.
    #[must_use]
    pub fn ca_certificate(&self) -> Option<&str> {
        self.kms().ca_certificate()
    }

    /// Connect to the service without a login, to test that its certificate is trusted.
    ///
    /// # Errors
    /// [`KmsError::CertificateUntrusted`], or another failure of the connection.
    pub fn reach(&self, anchors: &KmsTrustAnchors) -> Result<(), KmsError> {
        self.kms().reach(anchors)
    }

    /// True if `wrapped` names the key of this service. Judged by kind and key; the address may differ.
    #[must_use]
    pub fn has_wrapped(&self, wrapped: &WrappedKey) -> bool {
        self.kind() == wrapped.kind() && self.key() == wrapped.key()
    }

    /// True if every secret is stored in the configuration.
    #[must_use]
    pub fn has_secrets(&self) -> bool {
        self.kms().has_secrets()
    }

    /// A copy with another wrapping key.
    ///
    /// # Errors
    /// [`KmsError::Name`].
    pub fn with_key(&self, key: &str) -> Result<Self, KmsError> {
        let mut copy = self.clone();
        copy.kms_mut().set_key(key)?;
        Ok(copy)
    }

    /// A copy without the secrets that need not be stored.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        let mut copy = self.clone();
        if let Some(SecretSlot { value, .. }) = copy.kms_mut().secret() {
            *value = None;
        }
        copy
    }

    /// The secret that is needed and not stored, with its place.
    pub(super) fn missing_secret(&mut self) -> Option<(MissingSecret, &mut Option<Credential>)> {
        let address = self.address().to_owned();
        self.kms_mut().secret().and_then(|slot| slot.missing(address))
    }
}

impl WrappedKey {
    /// Name or identifier of the wrapping key.
    #[must_use]
    pub fn key(&self) -> &str {
        self.form().key()
    }

    /// Version of the wrapping key, where the wrapped form shows it.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.form().version()
    }

    /// Error for a key whose service is not configured.
    #[must_use]
    pub fn not_configured(&self) -> KmsError {
        KmsError::NotConfigured { kms: self.kind(), key: self.key().to_owned() }
    }
}

/// Conversion between the wrapped form of one kind of service and [`WrappedKey`].
trait Registered: Sized {
    fn into_wrapped_key(self) -> WrappedKey;
    fn of(wrapped: &WrappedKey) -> Option<&Self>;
}

/// Client of one kind of service, for wrapped keys of any kind: refuses those of another service or key.
struct Client<W> {
    client: Box<dyn KeyWrap<W>>,
    key: String,
}

impl<W: Registered + WrappedForm> Client<W> {
    fn form<'a>(&self, wrapped: &'a WrappedKey) -> Result<&'a W, KmsError> {
        W::of(wrapped).filter(|form| form.key() == self.key).ok_or_else(|| wrapped.not_configured())
    }
}

impl<W: Registered + WrappedForm> KeyWrap<WrappedKey> for Client<W> {
    fn check(&self) -> Result<(), KmsError> {
        self.client.check()
    }

    fn wrap_key(&self, data_key: &DataKey, context: &[u8]) -> Result<WrappedKey, KmsError> {
        self.client.wrap_key(data_key, context).map(W::into_wrapped_key)
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<DataKey, KmsError> {
        self.client.unwrap_key(self.form(wrapped)?, context)
    }

    fn rewrap_key(&self, wrapped: &WrappedKey) -> Result<Rewrap<WrappedKey>, KmsError> {
        Ok(match self.client.rewrap_key(self.form(wrapped)?)? {
            Rewrap::Current => Rewrap::Current,
            Rewrap::Done(form) => Rewrap::Done(form.into_wrapped_key()),
        })
    }

    fn renew_login(&self) -> Result<Option<Duration>, KmsError> {
        self.client.renew_login()
    }

    fn login_end(&self) -> Result<LoginEnd, KmsError> {
        self.client.login_end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn services() -> [Value; 3] {
        [
            json!({
                "kms": "kmip",
                "address": "kms.example.com:5696",
                "key": "42",
                "client_certificate": "CERTIFICATE",
                "client_key": "KEY",
            }),
            json!({
                "kms": "vault",
                "address": "https://vault.example.com:8200",
                "key": "ca-key",
                "transit_path": "transit",
                "credentials": { "token": "s.token" },
            }),
            json!({
                "kms": "vault",
                "address": "https://vault.example.com:8200",
                "key": "ca-key",
                "namespace": "team",
                "transit_path": "transit",
                "credentials": {
                    "app-role": { "auth_path": "approle", "role_id": "role", "secret_id": "secret" },
                },
            }),
        ]
    }

    fn wrapped_keys() -> [Value; 3] {
        let kmip = |mode: Value| json!({ "kms": "kmip", "key": "42", "protocol": "1.4", "mode": mode, "iv": "AAA=", "ciphertext": "AQI=" });
        [
            kmip(json!("cbc")),
            kmip(json!({ "gcm": { "tag": "AwQ=" } })),
            json!({ "kms": "vault", "key": "ca-key", "ciphertext": "vault:v3:AAAA" }),
        ]
    }

    #[test]
    fn serialized_forms_do_not_change() {
        for form in services() {
            let service: KmsService = serde_json::from_value(form.clone()).unwrap();
            assert_eq!(service.kind(), form["kms"]);
            assert_eq!(serde_json::to_value(&service).unwrap(), form);
        }
        for form in wrapped_keys() {
            let wrapped: WrappedKey = serde_json::from_value(form.clone()).unwrap();
            assert_eq!(wrapped.kind(), form["kms"]);
            assert_eq!(serde_json::to_value(&wrapped).unwrap(), form);
        }
    }

    #[test]
    fn unknown_kinds_and_fields_are_refused() {
        for mut form in services() {
            form["more"] = json!(1);
            assert!(serde_json::from_value::<KmsService>(form.clone()).is_err());
            form["kms"] = json!("other");
            assert!(serde_json::from_value::<KmsService>(form).is_err());
        }
        for mut form in wrapped_keys() {
            form["more"] = json!(1);
            assert!(serde_json::from_value::<WrappedKey>(form.clone()).is_err());
            form["kms"] = json!("other");
            assert!(serde_json::from_value::<WrappedKey>(form).is_err());
        }
    }

    #[test]
    fn a_service_has_wrapped_only_keys_of_its_kind_and_name() {
        let services = services().map(|form| serde_json::from_value::<KmsService>(form).unwrap());
        let wrapped = wrapped_keys().map(|form| serde_json::from_value::<WrappedKey>(form).unwrap());
        let matches = |service: &KmsService| [0, 1, 2].map(|at: usize| service.has_wrapped(&wrapped[at]));
        assert_eq!(matches(&services[0]), [true, true, false]);
        assert_eq!(matches(&services[1]), [false, false, true]);
        assert_eq!(matches(&services[1].with_key("other").unwrap()), [false; 3]);
        assert_eq!([wrapped[0].version(), wrapped[2].version()], [None, Some(3)]);
    }

    #[test]
    fn only_secrets_that_need_not_be_stored_are_removed() {
        for (form, missing) in services().into_iter().zip([None, Some("token"), Some("secret id")]) {
            let service: KmsService = serde_json::from_value(form).unwrap();
            assert!(service.has_secrets());
            let mut without = service.without_secrets();
            assert_eq!(without.has_secrets(), missing.is_none());
            let found = without.missing_secret().map(|(secret, _)| secret.kind.name);
            assert_eq!(found, missing);
        }
    }
}
