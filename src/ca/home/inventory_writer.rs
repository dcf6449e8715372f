//! Records about issued files that need no root key.

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
use crate::store::{Record, StoreError, Transaction};
use crate::x509::Sha256;

/// Exclusive write access to the inventory, without the root key. Holds the lock of the home, so keep
/// it only for one record.
pub struct InventoryWriter {
    cluster: Cluster,
    _lock: DirectoryLock,
}

impl InventoryWriter {
    /// Take the lock and open the inventory.
    ///
    /// # Errors
    /// [`CaError`] if there is no cluster, another process holds the lock, or the inventory is not
    /// writable.
    pub fn open(home: &Home, context: &Context) -> Result<Self, CaError> {
        home.check(&*context.clock)?;
        let lock = home.lock(&*context.clock)?;
        let cluster = Cluster::open_writer(home, context)?;
        Ok(Self { cluster, _lock: lock })
    }

    /// Read access to the same home.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Add an entry about a certificate to the audit chain.
    ///
    /// # Errors
    /// [`CaError::Store`] if the inventory cannot be written.
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

    /// Make one change, which takes the transaction and returns it to be committed.
    ///
    /// # Errors
    /// The error of the change, then nothing is changed, or that of the inventory.
    pub fn change<T, E: From<StoreError>>(
        &mut self,
        reason: Option<&str>,
        change: impl FnOnce(Transaction<'_>) -> Result<(Transaction<'_>, T), E>,
    ) -> Result<T, E> {
        let provenance = self.cluster.context.provenance(reason);
        let (transaction, result) = change(self.cluster.inventory.begin(&provenance)?)?;
        transaction.commit()?;
        Ok(result)
    }

    /// Delete the private key of a certificate from this machine, records that, and return its path.
    ///
    /// The file is deleted right before the record is committed. A crash in between never leaves a key that
    /// the record says is deleted.
    ///
    /// # Errors
    /// [`StoreError::NoKey`] if there is none, [`CaError::FileMismatch`] if the file contains another key,
    /// and errors of the file and the inventory.
    pub fn forget_key(
        &mut self,
        record: &Record,
        details: Value,
        reason: Option<&str>,
    ) -> Result<PathBuf, CaError> {
        let serial_number = record.reservation.serial_number;
        let path = record.reservation.key_path.as_deref().ok_or(StoreError::NoKey { serial_number })?;
        let path = self.cluster.locate(path);
        // Checked under the lock: a newer pair may have replaced the file since the record was read.
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
