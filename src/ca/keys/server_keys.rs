//! Keys of the home that are no root and no leaf: one signs access tokens, one encrypts passwords for directories.

use std::path::Path;

use crate::audit::Action;
use crate::ca::error::CaError;
use crate::files::{self, Access, Placement, Staged};
use crate::keys::{KeyFile, NewProtection, PrivateKey, Protection};
use crate::x509::KeyAlgorithm;

use super::protection::{KeyProtection, remove_leftover};

/// Tag in the name of the temporary file.
const TAG: &str = "server-key";

impl KeyProtection {
    /// Open the key that signs access tokens. A new one is created first if there is none, and protected as the root
    /// key is: wrapped by the cluster's key management service, or with the same passphrase.
    ///
    /// A backup does not contain it: tokens that were issued before a loss of the home stay invalid.
    ///
    /// # Errors
    /// Errors of the key, of its service, or of the inventory.
    pub fn token_key(&mut self) -> Result<PrivateKey, CaError> {
        self.server_key(&self.cluster.home.token_key(), Action::TokenKey)
    }

    /// Open the key under which passwords for directories are encrypted; see [`KeyProtection::token_key`].
    ///
    /// # Errors
    /// Errors of the key, of its service, or of the inventory.
    pub fn ldap_key(&mut self) -> Result<PrivateKey, CaError> {
        self.server_key(&self.cluster.home.ldap_key(), Action::LdapKey)
    }

    fn server_key(&mut self, path: &Path, created: Action) -> Result<PrivateKey, CaError> {
        if files::occupied(path) {
            return Ok(PrivateKey::unlock(path, self.cluster.context.unlock.as_ref())?);
        }
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?;
        let (staged, protection) = self.stage_server_key(&key, path)?;
        let details = serde_json::json!({ "key_id": key.key_id(), "protection": protection });
        self.record(created, path.display().to_string(), details)?;
        staged.place(Placement::New)?;
        files::sync_directory(files::parent(path))?;
        Ok(key)
    }

    /// Write a key under a temporary name, protected as the root key is.
    pub(super) fn stage_server_key(
        &self,
        key: &PrivateKey,
        path: &Path,
    ) -> Result<(Staged, Protection), CaError> {
        let sealed = self.seal_like_root(key, path)?;
        drop(Staged::adopt(path, TAG));
        remove_leftover(path)?;
        let protection = sealed.protection();
        let staged = Staged::create(path, TAG, Access::Private, sealed.into_contents()?.expose())?;
        staged.sync()?;
        Ok((staged, protection))
    }

    fn seal_like_root(&self, key: &PrivateKey, path: &Path) -> Result<KeyFile, CaError> {
        let (home, unlock) = (&self.cluster.home, self.cluster.context.unlock.as_ref());
        let uuid = self.cluster.facts.uuid;
        let configuration = unlock.kms()?;
        if let Some(service) = &configuration.cluster {
            let wrap = configuration.connect(service)?;
            return Ok(KeyFile::seal(key, uuid, NewProtection::Kms(wrap.as_ref()))?);
        }
        let root = match files::occupied(&home.key()) {
            true => KeyFile::read(&home.key())?.protection(),
            false => Protection::None,
        };
        Ok(match root {
            Protection::Passphrase => {
                let passphrase = unlock.passphrase(path)?;
                KeyFile::seal(key, uuid, NewProtection::Passphrase(&passphrase))?
            }
            _ => KeyFile::seal(key, uuid, NewProtection::None)?,
        })
    }
}
