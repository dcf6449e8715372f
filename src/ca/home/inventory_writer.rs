//! What became of issued files, noted without the root's key.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::directory::Home;
use crate::audit::{Action, Outcome};
use crate::ca::cluster::Cluster;
use crate::ca::context::Context;
use crate::ca::error::CaError;
use crate::files::{self, DirectoryLock, FileError};
use crate::keys::PrivateKey;
use crate::store::{Inventory, Record, StoreError};
use crate::x509::Sha256;

/// The right to write to the inventory, without the root's key. One process at a time has it, so it
/// is taken for a note and given back.
pub struct InventoryWriter {
    cluster: Cluster,
    _lock: DirectoryLock,
}

impl InventoryWriter {
    /// Takes the lock and opens the inventory.
    ///
    /// # Errors
    /// [`CaError`]: no cluster there, another process at work, or the inventory not writable.
    pub fn open(home: &Home, context: &Context) -> Result<Self, CaError> {
        home.check(&*context.clock)?;
        let lock = home.lock(&*context.clock)?;
        let cluster = Cluster::with_inventory(home, context, Inventory::open_writer(&home.database())?)?;
        Ok(Self { cluster, _lock: lock })
    }

    /// Writes into the audit chain what happened to a certificate.
    ///
    /// # Errors
    /// What the inventory says.
    pub fn note(
        &mut self,
        action: Action,
        record: &Record,
        outcome: Outcome,
        details: Value,
        reason: Option<&str>,
    ) -> Result<(), CaError> {
        let provenance = self.cluster.context.provenance(reason);
        self.cluster.inventory.begin(&provenance)?.note(action, record, outcome, details)?.commit()?;
        Ok(())
    }

    /// Removes the private key of a certificate from this machine and records it; the answer is where
    /// it was.
    ///
    /// The file goes right before the record is committed: a crash in between leaves no key behind
    /// that the record denies.
    ///
    /// # Errors
    /// [`StoreError::NoKey`] when there is none, [`CaError::FileMismatch`] when the file has another
    /// key by now, or what the file and the inventory say.
    pub fn forget_key(
        &mut self,
        record: &Record,
        details: Value,
        reason: Option<&str>,
    ) -> Result<PathBuf, CaError> {
        let serial_number = record.intent.serial_number;
        let path = record.intent.key_path.as_deref().ok_or(StoreError::NoKey { serial_number })?;
        let path = self.cluster.locate(path);
        // Under the lock: what was read earlier may have been replaced by a newer pair since.
        let public_key = Sha256::of(&PrivateKey::open(&path)?.public_key_info());
        if record.issue.is_none_or(|issue| issue.public_key != public_key) {
            return Err(CaError::FileMismatch { path, serial_number });
        }
        let provenance = self.cluster.context.provenance(reason);
        let transaction = self.cluster.inventory.begin(&provenance)?;
        let transaction = transaction.forget_key(&record.issuer, serial_number, details)?;
        fs::remove_file(&path).map_err(|source| FileError::Io {
            doing: "remove",
            path: path.clone(),
            source,
        })?;
        files::sync_directory(files::parent(&path))?;
        transaction.commit()?;
        Ok(path)
    }
}
