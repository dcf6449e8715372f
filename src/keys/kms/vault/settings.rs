//! Part of `kms.json`: a key of a Transit engine.

use serde::{Deserialize, Serialize};

use super::names::{KeyName, MountPath, Namespace, VaultAddress};
use crate::keys::kms::credential::{Credential, SecretKind, SecretSlot};

/// Token of a Vault.
pub const TOKEN: SecretKind = SecretKind {
    name: "token",
    variable: "CLUSTER_CA_KMS_TOKEN",
    // Those of the command lines of OpenBao and Vault, in the order in which OpenBao reads them.
    others: &["BAO_TOKEN", "VAULT_TOKEN"],
};

/// Secret id of an AppRole.
pub const SECRET_ID: SecretKind =
    SecretKind { name: "secret id", variable: "CLUSTER_CA_KMS_SECRET_ID", others: &[] };

/// A key of a Transit engine, with address and login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultService {
    /// Address of the Vault.
    pub address: VaultAddress,
    /// Name of the key.
    pub key: KeyName,
    /// Namespace of the engine and of the login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// Mount path of the Transit engine.
    pub transit_path: MountPath,
    /// Login method and its secret.
    pub credentials: VaultCredentials,
}

/// Login method of a Vault. A secret that is not stored is `None` here and supplied at each use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VaultCredentials {
    /// AppRole; each run logs in.
    AppRole(AppRole),
    /// A token, renewed after half of its lifetime.
    Token(Option<Credential>),
}

/// A role of the AppRole method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppRole {
    /// Mount path of the method, below `auth/`.
    pub auth_path: MountPath,
    /// Name of the AppRole login, not secret.
    pub role_id: String,
    /// Password of the AppRole login; `None` if it is supplied at each use.
    pub secret_id: Option<Credential>,
}

impl VaultService {
    /// The token or secret id.
    pub(in crate::keys::kms) fn secret_slot(&mut self) -> SecretSlot<'_> {
        match &mut self.credentials {
            VaultCredentials::AppRole(AppRole { secret_id, .. }) => {
                SecretSlot { kind: SECRET_ID, value: secret_id }
            }
            VaultCredentials::Token(token) => SecretSlot { kind: TOKEN, value: token },
        }
    }
}
