//! What protects private keys: the right to change it, and passphrases put on, changed, taken off.
//!
//! A key is sealed in its new form and tried, the change is recorded, and only then the new file
//! takes the place of the old one.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use crate::audit::{Action, Outcome};
use crate::ca::cluster::Cluster;
use crate::ca::context::Context;
use crate::ca::error::CaError;
use crate::ca::home::directory::Home;
use crate::files::{self, Access, DirectoryLock, Placement, Staged};
use crate::keys::{KeyError, KeyFile, NewProtection, PrivateKey, Protection};
use crate::secret::Secret;
use crate::store::Inventory;

/// What marks the temporary file of a key that is being protected anew.
const TAG: &str = "protect";

/// The right to change what protects the keys of a home. One process at a time has it. The root's
/// key is opened only when it is the one to be changed.
pub struct KeyProtection {
    pub(in crate::ca) cluster: Cluster,
    _lock: DirectoryLock,
}

/// A key whose protection was changed.
#[derive(Debug, Serialize)]
pub struct ProtectionChange {
    /// The key's file.
    #[serde(serialize_with = "crate::files::as_text")]
    pub key: PathBuf,
    /// What protected it.
    pub before: Protection,
    /// What protects it now.
    pub after: Protection,
}

impl KeyProtection {
    /// Takes the lock of the home.
    ///
    /// # Errors
    /// [`CaError`], as [`Cluster::open`].
    pub fn open(home: &Home, context: &Context) -> Result<Self, CaError> {
        home.check(&*context.clock)?;
        let lock = home.lock(&*context.clock)?;
        sweep(&home.key());
        let cluster = Cluster::with_inventory(home, context, Inventory::open_writer(&home.database())?)?;
        Ok(Self { cluster, _lock: lock })
    }

    /// Protects the key in `path`, which only its file's mode protects, with a passphrase.
    ///
    /// # Errors
    /// [`CaError::UnexpectedProtection`] when it is protected by more already, [`CaError::Key`], or what the files
    /// and the inventory say; the key is then as it was.
    pub fn protect(&mut self, path: &Path, passphrase: &Secret) -> Result<ProtectionChange, CaError> {
        self.refuse_unless(path, &Protection::None)?;
        self.change_protection(path, NewProtection::Passphrase(passphrase), Action::KeyProtect)
    }

    /// Takes the passphrase off the key in `path`.
    ///
    /// # Errors
    /// As [`KeyProtection::protect`]; [`CaError::UnexpectedProtection`] when it has none.
    pub fn unprotect(&mut self, path: &Path) -> Result<ProtectionChange, CaError> {
        self.refuse_unless(path, &Protection::Passphrase)?;
        self.change_protection(path, NewProtection::None, Action::KeyUnprotect)
    }

    /// Gives the key in `path` another passphrase.
    ///
    /// # Errors
    /// As [`KeyProtection::protect`]; [`CaError::UnexpectedProtection`] when it has none.
    pub fn change_passphrase(
        &mut self,
        path: &Path,
        passphrase: &Secret,
    ) -> Result<ProtectionChange, CaError> {
        self.refuse_unless(path, &Protection::Passphrase)?;
        self.change_protection(path, NewProtection::Passphrase(passphrase), Action::KeyProtect)
    }

    /// Refuses the root's key where a service or a token holds it: there is no file to protect.
    ///
    /// # Errors
    /// [`KeyError::NotExportable`].
    pub fn refuse_remote_key(&self, path: &Path) -> Result<(), CaError> {
        if self.is_root_key(path)? && self.cluster.remote_signer()?.is_some() {
            return Err(KeyError::NotExportable.into());
        }
        Ok(())
    }

    /// Opens the key in `path` and gives it another protection.
    pub(in crate::ca) fn change_protection(
        &mut self,
        path: &Path,
        protection: NewProtection<'_>,
        action: Action,
    ) -> Result<ProtectionChange, CaError> {
        let old = KeyFile::read(path)?;
        let key = old.open(path, self.cluster.context.unlock.as_ref())?;
        self.check_root_key(path, &key)?;
        let new = KeyFile::seal(&key, self.cluster.facts.uuid, protection)?;
        self.replace(path, &old, new, action)
    }

    /// Puts a key file in the place of the old one, recorded first. The file holds either the old form
    /// or the new one, whole, at every moment.
    pub(in crate::ca) fn replace(
        &mut self,
        path: &Path,
        old: &KeyFile,
        new: KeyFile,
        action: Action,
    ) -> Result<ProtectionChange, CaError> {
        // To replace a symbolic link would leave the old key where the link points to.
        let path = files::absolute(path)?;
        let (before, after) = (old.protection(), new.protection());
        sweep(&path);
        let staged = Staged::create(&path, TAG, Access::Private, new.into_contents()?.expose())?;
        staged.sync()?;
        self.record(action, path.display().to_string(), json!({ "before": &before, "after": &after }))?;
        staged.place(Placement::Replace)?;
        files::sync_directory(files::parent(&path))?;
        Ok(ProtectionChange { key: path, before, after })
    }

    pub(in crate::ca) fn record(
        &mut self,
        action: Action,
        target: String,
        details: Value,
    ) -> Result<(), CaError> {
        let provenance = self.cluster.context.provenance(None);
        let transaction = self.cluster.inventory.begin(&provenance)?;
        transaction.record(action, target, Outcome::Success, details)?.commit()?;
        Ok(())
    }

    fn refuse_unless(&self, path: &Path, expected: &Protection) -> Result<(), CaError> {
        self.refuse_remote_key(path)?;
        let by = KeyFile::read(path)?.protection();
        if by == *expected {
            Ok(())
        } else {
            Err(CaError::UnexpectedProtection { path: path.to_owned(), by })
        }
    }

    fn is_root_key(&self, path: &Path) -> Result<bool, CaError> {
        Ok(files::absolute(path)? == files::absolute(&self.cluster.home.key())?)
    }

    fn check_root_key(&self, path: &Path, key: &PrivateKey) -> Result<(), CaError> {
        let home = &self.cluster.home;
        if self.is_root_key(path)? && key.public_key_info() != self.cluster.root.public_key_info {
            return Err(CaError::KeyMismatch { key: home.key(), certificate: home.certificate() });
        }
        Ok(())
    }
}

/// Removes what a run that ended early left beside a key: it may hold the key unprotected. The lock of
/// the home keeps everybody else from being at work there.
pub(in crate::ca) fn sweep(path: &Path) {
    if let Ok(path) = files::absolute(path) {
        drop(Staged::adopt(&path, TAG));
    }
}
