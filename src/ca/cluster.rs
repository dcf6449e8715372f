//! Read access to a home: its inventory, its root, and the certificates in it.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use time::OffsetDateTime;

use super::context::Context;
use super::error::CaError;
use super::home::directory::Home;
use super::target::Target;
use crate::files;
use crate::identity::TrustDomain;
use crate::keys::PrivateKey;
use crate::keys::kms::{Configuration, SigningService};
use crate::revocation::Crl;
use crate::store::{self, Inventory, Record, RecordStatus, StoreError};
use crate::x509::trust::TrustBundle;
use crate::x509::{Certificate, KeyIdentifier};

/// Read access to a CA home.
#[derive(Debug)]
pub struct Cluster {
    pub(super) home: Home,
    /// The home as an absolute path. Paths in the inventory are relative to it.
    pub(super) location: PathBuf,
    pub(super) context: Context,
    pub(super) inventory: Inventory,
    pub(super) facts: store::ClusterRecord,
    pub(super) root: Certificate,
    pub(super) issuer: KeyIdentifier,
    /// Last CRL that the root has signed, once it was read. `None` unless the home was opened for signing.
    pub(super) last_crl: Option<OnceCell<Option<Arc<Crl>>>>,
}

impl Cluster {
    /// Open the home for reading. Readers and writers do not block each other.
    ///
    /// # Errors
    /// [`CaError`] if there is no cluster, the directory is accessible to others, or the inventory is
    /// unreadable.
    pub fn open(home: &Home, context: &Context) -> Result<Self, CaError> {
        home.check(&*context.clock)?;
        Self::with_inventory(home, context, open_reader(home, context)?)
    }

    /// Open the home for writing; the caller holds its lock.
    pub(super) fn open_writer(home: &Home, context: &Context) -> Result<Self, CaError> {
        let inventory = Inventory::open_writer(&home.database(), &context.provenance(None))?;
        Self::with_inventory(home, context, inventory)
    }

    pub(super) fn with_inventory(
        home: &Home,
        context: &Context,
        inventory: Inventory,
    ) -> Result<Self, CaError> {
        let facts = inventory.cluster()?;
        let active = inventory.active_issuer()?;
        Ok(Self {
            home: home.clone(),
            location: files::absolute(home.directory())?,
            context: context.clone(),
            inventory,
            facts,
            root: active.certificate,
            issuer: active.key_id,
            last_crl: None,
        })
    }

    /// The inventory, for queries.
    #[must_use]
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Time of the newest record in the audit chain.
    pub(super) fn newest_record(&self) -> Result<Option<OffsetDateTime>, CaError> {
        let head = self.inventory.audit_head()?;
        Ok(self.inventory.audit_entry(head.seq)?.map(|entry| entry.event.provenance.at))
    }

    /// Time by the clock of its context.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        self.context.now()
    }

    /// Name, UUID and trust domain.
    #[must_use]
    pub fn facts(&self) -> &store::ClusterRecord {
        &self.facts
    }

    /// Trust domain of every identity in this cluster.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.facts.trust_domain
    }

    /// The active root, which signs certificates and CRLs.
    #[must_use]
    pub fn root(&self) -> &Certificate {
        &self.root
    }

    /// Read and validate the trust bundle `cluster.crt`.
    ///
    /// # Errors
    /// [`CaError`] if the file is missing or an anchor in it is not valid.
    pub fn trust_bundle(&self, at: OffsetDateTime) -> Result<TrustBundle, CaError> {
        let path = self.home.certificate();
        TrustBundle::from_pem(&files::read(&path, files::SMALL_FILE)?, at).map_err(CaError::in_file(&path))
    }

    /// The configured service or token that holds the root key, or `None` if the key is in a file. Reads
    /// the configuration only and does not connect.
    ///
    /// # Errors
    /// [`CaError::Kms`] if the configuration cannot be read.
    pub fn remote_signer(&self) -> Result<Option<SigningService>, CaError> {
        if files::occupied(&self.home.key()) {
            return Ok(None);
        }
        Ok(Configuration::load(&self.home.kms())?.signer)
    }

    /// Open the root key, from its file or through the service or token that holds it.
    ///
    /// # Errors
    /// [`CaError::KeyMismatch`] or [`CaError::RemoteKeyMismatch`] for a key of another root, and errors of
    /// opening it.
    pub(super) fn root_key(&self) -> Result<PrivateKey, CaError> {
        let (home, unlock) = (&self.home, self.context.unlock.as_ref());
        let is_root_key = |key: &PrivateKey| key.public_key_info() == self.root.public_key_info;
        let certificate = home.certificate();
        if let Some(signer) = self.remote_signer()?
            && let Some(remote) = unlock.kms()?.root_key(unlock)?
        {
            let by = signer.to_string();
            return if is_root_key(&remote) {
                Ok(remote)
            } else {
                Err(CaError::RemoteKeyMismatch { by, certificate })
            };
        }
        let key = PrivateKey::unlock(&home.key(), unlock)?;
        if is_root_key(&key) { Ok(key) } else { Err(CaError::KeyMismatch { key: home.key(), certificate }) }
    }

    /// Make a test signature with a root key that a service or token holds. Does nothing for a key in a
    /// file.
    ///
    /// # Errors
    /// [`CaError::RemoteKeyMismatch`], and errors of the service or token.
    pub fn test_remote_signer(&self) -> Result<(), CaError> {
        if self.remote_signer()?.is_some() {
            self.root_key()?.test_signature()?;
        }
        Ok(())
    }

    /// Absolute path of a file recorded in the inventory: relative paths start at the home's current
    /// location.
    #[must_use]
    pub fn locate(&self, recorded: &Path) -> PathBuf {
        self.location.join(recorded)
    }

    /// Path as the inventory records it: relative inside the home, so that the home can be moved.
    pub(super) fn recorded(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.location).unwrap_or(path).to_owned()
    }

    /// Find the one certificate that `target` refers to.
    ///
    /// A name refers to its certificate that has not been renewed. If there are several, valid ones take
    /// precedence; if none is valid, the newest does.
    ///
    /// # Errors
    /// [`CaError::UnknownCertificate`], or [`CaError::Ambiguous`] with the candidates.
    pub fn find(&self, target: &Target) -> Result<Record, CaError> {
        let now = self.context.now();
        let mut candidates = self.candidates(target)?;
        if let Target::Identity(..) | Target::Label(_) = target {
            candidates.retain(|record| record.superseded_by.is_none());
            if candidates.iter().any(|record| record.status(now) == RecordStatus::Valid) {
                candidates.retain(|record| record.status(now) == RecordStatus::Valid);
            } else if matches!(target, Target::Identity(..)) {
                candidates.truncate(1);
            }
        }
        exactly_one(target, candidates)
    }

    /// All certificates that `target` refers to, newest first. Reserved ones match only by serial number.
    ///
    /// # Errors
    /// [`CaError::Store`] if the inventory cannot be read.
    pub fn candidates(&self, target: &Target) -> Result<Vec<Record>, CaError> {
        Ok(match target {
            Target::Serial(serial_number) => self.inventory.find(*serial_number)?,
            Target::Certificate(certificate) => {
                let fingerprint = certificate.fingerprint();
                let mut records = self.inventory.find(certificate.serial_number)?;
                records.retain(|record| record.issue.is_some_and(|issue| issue.fingerprint == fingerprint));
                records
            }
            Target::Identity(role, name) => {
                let mut records = self.inventory.find_identity(*role, name)?;
                records.retain(|record| record.issue.is_some());
                records
            }
            Target::Label(label) => {
                let mut records = self.inventory.find_label(label)?;
                records.retain(|record| record.issue.is_some());
                records
            }
        })
    }
}

/// Open the inventory for reading. One of an older version is migrated first, under the lock of the home.
pub(super) fn open_reader(home: &Home, context: &Context) -> Result<Inventory, CaError> {
    match Inventory::open_reader(&home.database()) {
        Err(StoreError::Older { .. }) => {
            let _lock = home.lock(&*context.clock)?;
            drop(Inventory::open_writer(&home.database(), &context.provenance(None))?);
            Ok(Inventory::open_reader(&home.database())?)
        }
        opened => Ok(opened?),
    }
}

/// The only candidate, or an error that lists all of them.
pub(super) fn exactly_one(target: &Target, mut candidates: Vec<Record>) -> Result<Record, CaError> {
    match (candidates.len(), candidates.pop()) {
        (1, Some(record)) => Ok(record),
        (_, None) => Err(CaError::UnknownCertificate { target: target.clone() }),
        (_, Some(last)) => {
            let all = candidates.iter().chain([&last]);
            Err(CaError::Ambiguous {
                target: target.clone(),
                candidates: all.map(|record| record.reservation.serial_number).collect(),
            })
        }
    }
}
