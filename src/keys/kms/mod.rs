//! Key management services (KMS) that wrap the data keys of envelopes, and signers that hold the root key.
//!
//! A kind of service is one folder here that implements [`ServiceKind`], and one line in `registry`. Everything
//! else uses [`KmsService`], [`WrappedKey`] and [`KeyWrap`].
//!
//! | module | contents |
//! |---|---|
//! | `service`, `key_wrap` | traits of a kind of service: its configuration, its connection |
//! | `registry` | every kind of service, and the two enums made from them |
//! | `vault` | Transit engine of HashiCorp Vault and OpenBao, over HTTPS |
//! | `kmip` | KMIP servers, over mutual TLS |
//! | `pkcs11` | non-exportable root keys in PKCS#11 tokens |
//! | `signing_service` | non-exportable root key, in a Vault or a token |
//! | `configuration` | `kms.json`: the services in use |
//! | `credential`, `checked_text`, `trust_anchors` | secrets, validated names and server trust of all services |
//! | `secret_variables`, `error` | environment variables with secrets; errors |

mod checked_text;
mod configuration;
mod credential;
mod error;
mod key_wrap;
mod kmip;
mod pkcs11;
mod registry;
mod secret_variables;
mod service;
mod signing_service;
mod trust_anchors;
mod vault;

pub use configuration::Configuration;
pub use credential::{Credential, MissingSecret, SecretKind, SecretSlot};
pub use error::KmsError;
pub use key_wrap::{KeyWrap, Rewrap, test_round_trip};
pub use kmip::{KmipAddress, KmipCiphertext, KmipMode, KmipService, UniqueIdentifier, is_kmip_response};
pub use pkcs11::{PIN_VARIABLE, PinProvider, Pkcs11Error, Pkcs11Uri, TokenKey};
pub use registry::{KmsService, WrappedKey};
pub use secret_variables::SECRET_VARIABLES;
pub use service::{Rotation, ServiceKind, WrappedForm};
pub use signing_service::SigningService;
pub use trust_anchors::{KmsTrustAnchors, ca_fingerprints};
pub use vault::{
    AppRole, KeyName, MountPath, Namespace, SECRET_ID, TOKEN, TransitCiphertext, VaultAddress,
    VaultCredentials, VaultService,
};
