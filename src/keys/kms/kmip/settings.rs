//! Part of `kms.json`: a KMIP server.

use serde::{Deserialize, Serialize};

use super::names::{KmipAddress, UniqueIdentifier};
use crate::keys::kms::credential::Credential;

/// A KMIP server and its wrapping key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KmipService {
    /// Address of the server.
    pub address: KmipAddress,
    /// UID of the wrapping key.
    pub key: UniqueIdentifier,
    /// Client certificate chain, in PEM.
    pub client_certificate: String,
    /// Private key of the client certificate, in PEM.
    pub client_key: Credential,
    /// CA for this server's certificate, in PEM; by default the one common to all services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificate: Option<String>,
}
