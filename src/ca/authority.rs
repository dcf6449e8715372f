//! Write access to a home, with the root key.

use std::cell::OnceCell;
use std::sync::Arc;

use rcgen::Issuer;

use super::authenticity::Evidence;
use super::cluster::Cluster;
use super::context::Context;
use super::error::CaError;
use super::home::directory::Home;
use super::home::recovery_outcome::RecoveryOutcome;
use super::keys::protection::remove_leftover;
use super::root_key::RootKey;
use super::signing::signing_failed;
use crate::files::{self, DirectoryLock};
use crate::keys::PrivateKey;
use crate::store::EarlierRequest;
use crate::x509::{Certificate, Sha256, pem};

/// Exclusive write access to a home, with the root key. Holds the lock of the home until dropped.
pub struct Authority {
    pub(super) cluster: Cluster,
    pub(super) signer: Issuer<'static, PrivateKey>,
    pub(super) evidence: Evidence,
    recovered: Vec<RecoveryOutcome>,
    _lock: DirectoryLock,
}

impl Authority {
    /// Take the lock, open the root key, check it against the certificate, compare the inventory with what the
    /// root has signed, and recovers from an interrupted process.
    ///
    /// # Errors
    /// [`CaError::KeyMismatch`] for a key of another root, the errors of [`Cluster::open`], and those of an
    /// inventory that contradicts the root, the last CRL or the audit chain.
    pub fn open(home: &Home, context: &Context) -> Result<Self, CaError> {
        Self::open_with(home, context, Cluster::root_key)
    }

    /// Open the home as [`Authority::open`] does, with a root key that was opened before.
    ///
    /// # Errors
    /// As [`Authority::open`]; [`CaError::KeyMismatch`] if the home has another root now.
    pub fn open_with_key(home: &Home, context: &Context, root_key: &RootKey) -> Result<Self, CaError> {
        Self::open_with(home, context, |cluster| root_key.of(cluster))
    }

    /// Look for an earlier request with this key, and record this one as begun if there was none.
    ///
    /// # Errors
    /// Errors of the inventory.
    pub fn begin_request(&mut self, request: &Sha256, body: &Sha256) -> Result<EarlierRequest, CaError> {
        let provenance = self.cluster.context.provenance(None);
        let transaction = self.cluster.inventory.begin(&provenance)?;
        let (transaction, earlier) = transaction.begin_request(request, body)?;
        transaction.commit()?;
        Ok(earlier)
    }

    /// Record the result of a request that was begun; without one, it can be repeated.
    ///
    /// # Errors
    /// Errors of the inventory.
    pub fn finish_request(&mut self, request: &Sha256, result: Option<&str>) -> Result<(), CaError> {
        let provenance = self.cluster.context.provenance(None);
        let transaction = self.cluster.inventory.begin(&provenance)?;
        transaction.finish_request(request, result)?.commit()?;
        Ok(())
    }

    fn open_with(
        home: &Home,
        context: &Context,
        root_key: impl FnOnce(&Cluster) -> Result<PrivateKey, CaError>,
    ) -> Result<Self, CaError> {
        home.check(&*context.clock)?;
        let lock = home.lock(&*context.clock)?;
        remove_leftover(&home.key())?;
        let mut cluster = Cluster::open_writer(home, context)?;
        let key = root_key(&cluster)?;
        // The bundle on disk is distributed to every machine, so the signing root must be in it.
        let path = home.certificate();
        let bundle =
            pem::certificates(&files::read(&path, files::SMALL_FILE)?).map_err(CaError::in_file(&path))?;
        if !bundle.contains(&cluster.root) {
            return Err(CaError::KeyMismatch { key: home.key(), certificate: home.certificate() });
        }
        let signer = Issuer::from_ca_cert_der(&cluster.root.der, key).map_err(signing_failed)?;
        let evidence = cluster.check_authenticity()?;
        let read = evidence.signed().map(|signed| Arc::clone(&signed.crl));
        cluster.last_crl = Some(if evidence.file.is_some() { OnceCell::from(read) } else { OnceCell::new() });
        let mut authority = Self { cluster, signer, evidence, recovered: Vec::new(), _lock: lock };
        authority.recovered = authority.recover()?;
        Ok(authority)
    }

    /// Read access to the same home.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Work of an interrupted process that opening the home completed or undid.
    #[must_use]
    pub fn recovered(&self) -> &[RecoveryOutcome] {
        &self.recovered
    }

    pub(super) fn check_root_is_valid(&self) -> Result<(), CaError> {
        let (now, root) = (self.cluster.context.now(), &self.cluster.root);
        let Certificate { not_before, not_after, .. } = *root;
        if now > not_after {
            return Err(CaError::RootExpired { not_after });
        }
        if now >= not_before {
            return Ok(());
        }
        // A machine without a battery for its clock starts in the past.
        match self.cluster.newest_record()?.filter(|newest| *newest > now) {
            Some(newest) => Err(CaError::ClockBehind { now, newest }),
            None => Err(CaError::RootNotYetValid { now, not_before }),
        }
    }
}
