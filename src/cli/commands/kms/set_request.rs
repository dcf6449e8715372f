//! Arguments of `kms set`, for any kind of service.

use std::path::PathBuf;

use crate::ca::SecretStorage;
use crate::keys::kms::KmsService;

/// A service to be set.
pub(super) struct SetRequest {
    pub(super) service: KmsService,
    pub(super) secrets: SecretStorage,
    /// The only key file to be wrapped by the service; `None` for the keys of the cluster.
    pub(super) key_file: Option<PathBuf>,
    /// Also move the keys that have a service of their own.
    pub(super) convert: bool,
    /// CA for the certificates of all services, in PEM, if none is set.
    pub(super) ca_certificate: Option<String>,
}
