//! Protecting a private key anew: sealed in its new form and tried, recorded, and only then put in
//! the place of the old one.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use crate::audit::{Action, Outcome};
use crate::files::{self, Access, Placement, Staged};
use crate::keys::{KeyFile, NewProtection, Protection};
use crate::secret::Secret;

use super::{Authority, CaError};

/// What marks the temporary file of a key that is being protected anew.
const TAG: &str = "protect";

/// A key whose protection was changed.
#[derive(Debug, Serialize)]
pub struct Protected {
    /// The key's file.
    pub key: PathBuf,
    /// What protected it.
    pub before: Protection,
    /// What protects it now.
    pub after: Protection,
}

impl Authority {
    /// Protects the key in `path`, which only its file's mode protects, with a passphrase.
    ///
    /// # Errors
    /// [`CaError::Protected`] when it is protected by more already, or as [`Authority::seal`].
    pub fn protect_key(&mut self, path: &Path, passphrase: &Secret) -> Result<Protected, CaError> {
        refuse_unless(path, &Protection::None)?;
        self.seal(path, NewProtection::Passphrase(passphrase), Action::KeyProtect)
    }

    /// Takes the passphrase off the key in `path`.
    ///
    /// # Errors
    /// [`CaError::Protected`] when it has none, or as [`Authority::seal`].
    pub fn unprotect_key(&mut self, path: &Path) -> Result<Protected, CaError> {
        refuse_unless(path, &Protection::Passphrase)?;
        self.seal(path, NewProtection::None, Action::KeyUnprotect)
    }

    /// Gives the key in `path` another passphrase.
    ///
    /// # Errors
    /// [`CaError::Protected`] when it has none, or as [`Authority::seal`].
    pub fn change_passphrase(&mut self, path: &Path, passphrase: &Secret) -> Result<Protected, CaError> {
        refuse_unless(path, &Protection::Passphrase)?;
        self.seal(path, NewProtection::Passphrase(passphrase), Action::KeyProtect)
    }

    /// Gives the key in `path` another protection. The file holds either the old form or the new one,
    /// whole, at every moment.
    ///
    /// # Errors
    /// [`CaError::Key`] when the key does not open or cannot be sealed, or what the files and the
    /// inventory say; the key is then as it was.
    pub(super) fn seal(
        &mut self,
        path: &Path,
        protection: NewProtection<'_>,
        action: Action,
    ) -> Result<Protected, CaError> {
        // To replace a symbolic link would leave the old key where the link points to.
        let path = files::absolute(path)?;
        let old = KeyFile::read(&path)?;
        let cluster = self.cluster.facts.uuid;
        let new = if files::absolute(&self.cluster.home.key())? == path {
            KeyFile::seal(self.signer.key(), cluster, protection)?
        } else {
            let key = old.open(&path, self.cluster.context.unlock.as_ref())?;
            KeyFile::seal(&key, cluster, protection)?
        };
        let (before, after) = (old.protection(), new.protection());
        self.replace_key_file(&path, new, action, json!({ "before": &before, "after": &after }))?;
        Ok(Protected { key: path, before, after })
    }

    /// Puts a key file in the place of the one at `path`, recorded first.
    pub(super) fn replace_key_file(
        &mut self,
        path: &Path,
        new: KeyFile,
        action: Action,
        details: Value,
    ) -> Result<(), CaError> {
        // A run that ended early may have left its file; the lock of the home keeps others away.
        drop(Staged::adopt(path, TAG));
        let staged = Staged::create(path, TAG, Access::Private, new.into_contents()?.expose())?;
        staged.sync()?;
        let provenance = self.cluster.context.provenance(None);
        let transaction = self.cluster.inventory.begin(&provenance)?;
        transaction.record(action, path.display().to_string(), Outcome::Success, details)?.commit()?;
        staged.place(Placement::Replace)?;
        Ok(files::sync_directory(files::parent(path))?)
    }
}

fn refuse_unless(path: &Path, expected: &Protection) -> Result<(), CaError> {
    let found = KeyFile::read(path)?.protection();
    if found == *expected { Ok(()) } else { Err(CaError::Protected { path: path.to_owned(), by: found }) }
}
