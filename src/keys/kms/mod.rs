//! Key management services (KMS) that wrap the data keys of envelopes, and signers that hold the root key.
//!
//! A kind of service is one folder here that implements [`ServiceKind`], and one line in `registry`. Its options for
//! `kms set` are one file and one line beside that command. Everything else uses [`KmsService`], [`WrappedKey`] and
//! [`KeyWrap`].
//!
//! | module | contents |
//! |---|---|
//! | `service`, `key_wrap` | traits of a kind of service: its configuration, its connection |
//! | `registry` | every kind of service, and the two enums made from them |
//! | [`vault`] | Transit engine of HashiCorp Vault and OpenBao, over HTTPS |
//! | [`kmip`] | KMIP servers, over mutual TLS |
//! | `pkcs11` | non-exportable root keys in PKCS#11 tokens |
//! | `signing_service` | non-exportable root key, in a Vault or a token |
//! | `configuration` | `kms.json`: the services in use |
//! | `credential`, `checked_text` | secrets and validated names of all services |
//! | `trust_anchors`, `tls` | trusted server certificates, and TLS connections |
//! | `login_end` | end of a login to a service |
//! | `secret_variables`, `error` | environment variables with secrets; errors |

mod checked_text;
mod configuration;
mod credential;
mod error;
mod key_wrap;
pub mod kmip;
mod login_end;
mod pkcs11;
mod registry;
mod secret_variables;
mod service;
mod signing_service;
mod tls;
mod trust_anchors;
pub mod vault;

pub use configuration::{Configuration, ServiceLogin};
pub use credential::{Credential, MissingSecret, SecretKind, SecretSlot};
pub use error::{KmsError, ServiceStatus};
pub use key_wrap::{KeyWrap, Rewrap, test_round_trip};
pub use login_end::{LoginEnd, LoginEndReason};
pub use pkcs11::{PIN_VARIABLE, PinProvider, Pkcs11Error, Pkcs11Uri, TokenKey};
pub use registry::{KmsService, WrappedKey};
pub use secret_variables::secret_variables;
pub use service::{Rotation, ServiceKind, WrappedForm};
pub use signing_service::SigningService;
pub use tls::{ClientPair, client_config};
pub use trust_anchors::{KmsTrustAnchors, trusted_certificates, trusted_fingerprints};
