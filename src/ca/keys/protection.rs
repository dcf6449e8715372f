//! Passphrase protection of private keys, and write access to protection in general.
//!
//! A key is encrypted in its new form and tested, the change is recorded, and then the new file
//! replaces the old one.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use crate::audit::{Action, Outcome};
use crate::ca::cluster::Cluster;
use crate::ca::context::Context;
use crate::ca::error::CaError;
use crate::ca::home::directory::Home;
use crate::files::{self, Access, DirectoryLock, Placement, Staged};
use crate::identity::TrustDomain;
use crate::keys::{KeyError, KeyFile, NewProtection, PrivateKey, Protection};
use crate::secret::Secret;

/// Tag in the name of the temporary file.
const TAG: &str = "protect";

/// Exclusive access for changing the protection of a home's keys. Holds the lock of the home, and opens
/// the root key only to change its own protection.
pub struct KeyProtection {
    pub(in crate::ca) cluster: Cluster,
    /// CA for the server certificates of services, if none is set.
    pub(super) default_service_ca: Option<String>,
    _lock: DirectoryLock,
}

/// A change of a key's protection.
#[derive(Debug, Serialize)]
pub struct ProtectionChange {
    /// Path of the key.
    #[serde(serialize_with = "crate::files::as_text")]
    pub key: PathBuf,
    /// Protection before the change.
    pub before: Protection,
    /// Protection after the change.
    pub after: Protection,
}

impl KeyProtection {
    /// Take the lock of the home.
    ///
    /// # Errors
    /// The errors of [`Cluster::open`].
    pub fn open(home: &Home, context: &Context) -> Result<Self, CaError> {
        home.check(&*context.clock)?;
        let lock = home.lock(&*context.clock)?;
        remove_leftover(&home.key())?;
        let cluster = Cluster::open_writer(home, context)?;
        Ok(Self { cluster, default_service_ca: None, _lock: lock })
    }

    /// Trust domain of every identity in the cluster.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        self.cluster.trust_domain()
    }

    /// Encrypt the unprotected key in `path` with a passphrase.
    ///
    /// # Errors
    /// [`CaError::UnexpectedProtection`] if the key is already protected, [`CaError::Key`], or an error of
    /// the file or the inventory. The key is unchanged then.
    pub fn protect(&mut self, path: &Path, passphrase: &Secret) -> Result<ProtectionChange, CaError> {
        self.refuse_unless(path, &Protection::None)?;
        self.change_protection(path, NewProtection::Passphrase(passphrase), Action::KeyProtect)
    }

    /// Remove the passphrase of the key in `path`, or unwrap a key other than the root's that a key management
    /// service wraps.
    ///
    /// # Errors
    /// See [`KeyProtection::protect`]; [`CaError::UnexpectedProtection`] if the key is not protected, or is the root's
    /// and wrapped.
    pub fn unprotect(&mut self, path: &Path) -> Result<ProtectionChange, CaError> {
        self.refuse_remote_key(path)?;
        match KeyFile::read(path)? {
            KeyFile::Envelope(envelope) if !self.is_root_key(path)? => self.unwrap_key(path, &envelope),
            _ => {
                self.refuse_unless(path, &Protection::Passphrase)?;
                self.change_protection(path, NewProtection::None, Action::KeyUnprotect)
            }
        }
    }

    /// Change the passphrase of the key in `path`.
    ///
    /// # Errors
    /// See [`KeyProtection::protect`]; [`CaError::UnexpectedProtection`] if the key has no passphrase.
    pub fn change_passphrase(
        &mut self,
        path: &Path,
        passphrase: &Secret,
    ) -> Result<ProtectionChange, CaError> {
        self.refuse_unless(path, &Protection::Passphrase)?;
        self.change_protection(path, NewProtection::Passphrase(passphrase), Action::KeyProtect)
    }

    /// Refuse a root key that a service or token holds, since there is no file to protect.
    ///
    /// # Errors
    /// [`KeyError::NotExportable`].
    pub fn refuse_remote_key(&self, path: &Path) -> Result<(), CaError> {
        if self.is_root_key(path)? && self.cluster.remote_signer()?.is_some() {
            return Err(KeyError::NotExportable.into());
        }
        Ok(())
    }

    /// Open the key in `path` and change its protection.
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

    /// Record the change, then replace the key file atomically.
    pub(in crate::ca) fn replace(
        &mut self,
        path: &Path,
        old: &KeyFile,
        new: KeyFile,
        action: Action,
    ) -> Result<ProtectionChange, CaError> {
        // Replacing a symbolic link would leave the old key at its target.
        let path = files::absolute(path)?;
        let (before, after) = (old.protection(), new.protection());
        remove_leftover(&path)?;
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

/// Remove the temporary file of an interrupted run, which may contain the key unprotected. The caller
/// holds the lock of the home.
pub(in crate::ca) fn remove_leftover(path: &Path) -> Result<(), CaError> {
    // Dropping a staged file removes it.
    drop(Staged::adopt(&files::absolute(path)?, TAG));
    Ok(())
}
