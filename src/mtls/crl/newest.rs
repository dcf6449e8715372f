//! Newest CRL of each issuer that has been in force, in this process and on record in the state directory.
//!
//! A CRL from any source is compared with it before it becomes a candidate. A set in force does not suffice: it
//! forgets an issuer whose certificate is revoked or whose trust anchor is removed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::error::CrlLoadError;
use super::store::CrlStore;
use crate::revocation::{Crl, CrlError, CrlVersion, RevocationSet};
use crate::x509::KeyIdentifier;

/// Newest CRL of each issuer that has been in force since the start of this process.
#[derive(Debug, Default)]
pub struct NewestCrls(Mutex<BTreeMap<KeyIdentifier, CrlVersion>>);

impl NewestCrls {
    /// Refuse a CRL that is older than one of its issuer that has been in force in this process.
    ///
    /// # Errors
    /// Those of [`CrlVersion::superseded_by`].
    pub fn check(&self, crl: &Crl) -> Result<(), CrlError> {
        self.version_of(&crl.issuer).map_or(Ok(()), |newest| newest.superseded_by(crl).map(drop))
    }

    /// Test a CRL against this process and the record in `store`. If a record cannot be read, only an issuer that
    /// this process knows has a candidate: what has been in force of another one is unknown.
    #[must_use]
    pub fn is_candidate(&self, crl: &Crl, store: Option<&CrlStore>) -> bool {
        let recorded = match store.map_or(Ok(()), |store| store.check_one(crl)) {
            Ok(()) => true,
            Err(CrlLoadError::Superseded { .. }) => false,
            Err(_) => self.version_of(&crl.issuer).is_some(),
        };
        recorded && self.check(crl).is_ok()
    }

    /// Record the CRLs of `set`, which is in force from now on.
    pub fn record(&self, set: &RevocationSet) {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for crl in set.crls() {
            let is_newer = |known: &CrlVersion| known.superseded_by(crl).unwrap_or(false);
            if newest.get(&crl.issuer).is_none_or(is_newer) {
                newest.insert(crl.issuer.clone(), crl.version());
            }
        }
    }

    fn version_of(&self, issuer: &KeyIdentifier) -> Option<CrlVersion> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(issuer).copied()
    }
}
