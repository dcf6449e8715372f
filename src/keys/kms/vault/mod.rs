//! The Transit engine of HashiCorp Vault and OpenBao, which encrypts data keys and signs digests.
//!
//! | module | contents |
//! |---|---|
//! | `settings`, `names` | the engine's part of `kms.json` |
//! | `wrapped` | its part of an envelope |
//! | `service` | the kind of service |
//! | `transit` | client of one key: login, requests, refusals |
//! | `wrap`, `signer` | wrapping of data keys; signatures with the root key |
//! | `api` | bodies of the HTTP API, in JSON |
//! | `https` | transport: deadlines, size limits, retries |
//! | `tls_connector` | TLS of the transport |

mod api;
mod https;
mod names;
mod service;
mod settings;
mod signer;
mod tls_connector;
mod transit;
mod wrap;
mod wrapped;

pub use names::{KeyName, MountPath, Namespace, VaultAddress};
pub use settings::{AppRole, SECRET_ID, TOKEN, VaultCredentials, VaultService};
pub(super) use signer::TransitSigner;
pub use wrapped::TransitCiphertext;
