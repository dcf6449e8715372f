//! What the CRL files hold, and which of it counts beside what has been pushed.
//!
//! No file goes back behind what it held, or loses an issuer's list. What
//! an issuer has signed that is trusted no more is set aside: distrust does not wait until its list is
//! gone too.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use time::OffsetDateTime;

use super::state::StateError;
use super::verify::Crls;
use crate::files::{self, CRL_FILE};
use crate::revocation::{Crl, CrlError, CrlVersion, RevocationSet};
use crate::x509::pem::{Kind, blocks_of};
use crate::x509::trust::TrustBundle;
use crate::x509::{KeyIdentifier, Sha256};

/// What was read of the CRL files.
#[derive(Debug)]
pub struct CrlFiles {
    /// Those of issuers that are trusted.
    crls: Vec<Arc<Crl>>,
    /// Why each of the others was set aside.
    strangers: Vec<CrlError>,
}

/// The newest list of each issuer that the files held when they were last taken.
#[derive(Clone, Debug, Default)]
pub struct Held(BTreeMap<KeyIdentifier, CrlVersion>);

impl CrlFiles {
    /// Reads and verifies everything that the files at `paths` hold.
    ///
    /// # Errors
    /// [`StateError`] for the first file that cannot be read, or list that is not to be relied on.
    pub fn read(paths: &[PathBuf], trust: &TrustBundle, at: OffsetDateTime) -> Result<Self, StateError> {
        let mut read = Self { crls: Vec::new(), strangers: Vec::new() };
        for path in paths {
            let refused = |source| StateError::Crl { paths: vec![path.clone()], source: Box::new(source) };
            let blocks = blocks_of(Kind::Crl, &files::read(path, CRL_FILE)?);
            for block in blocks.map_err(|source| refused(CrlError::Unreadable(source)))? {
                match Crl::verify(block.der(), trust, at) {
                    Ok(crl) => read.crls.push(Arc::new(crl)),
                    // By a key that is trusted, it may be what revokes somebody.
                    Err(CrlError::UnknownIssuer { issuer, key_identifier })
                        if trust.authorities().all(|(known, _)| *known != key_identifier) =>
                    {
                        read.strangers.push(CrlError::UnknownIssuer { issuer, key_identifier });
                    }
                    Err(error) => return Err(refused(error)),
                }
            }
        }
        Ok(read)
    }

    /// `crls` as far as `trust` goes, with whatever newer ones the files at `paths` hold; what cannot be
    /// read or relied on is passed over.
    #[must_use]
    pub fn newer_than(
        crls: &Crls,
        paths: &[PathBuf],
        trust: &TrustBundle,
        at: OffsetDateTime,
    ) -> RevocationSet {
        let mut offered = Vec::new();
        for path in paths {
            let blocks = files::read(path, CRL_FILE).ok().and_then(|bytes| blocks_of(Kind::Crl, &bytes).ok());
            let is_known = |der: &[u8]| crls.set.crls().any(|crl| crl.sha256 == Sha256::of(der));
            for block in blocks.iter().flatten().filter(|block| !is_known(block.der())) {
                let crl = Crl::verify(block.der(), trust, at).ok();
                offered.extend(crl.filter(|crl| !crls.is_stale(crl.next_update, at)).map(Arc::new));
            }
        }
        crls.set.with_newer_of(&offered, trust)
    }

    /// The newest of each issuer, of the files and of what has been `pushed`; and what the files held,
    /// which is to be given as `before` the next time.
    ///
    /// # Errors
    /// [`CrlError`] when an issuer has none in the files, or an older one than `before`.
    pub fn newest_with(
        self,
        pushed: Vec<Crl>,
        trust: &TrustBundle,
        before: &Held,
    ) -> Result<(RevocationSet, Held), CrlError> {
        let mut all = self.crls.clone();
        all.extend(pushed.into_iter().map(Arc::new));
        let set = RevocationSet::newest_of(&all, trust).and_then(|set| {
            let held = self.held_of(&set, trust, before)?;
            Ok((set, held))
        });
        let (set, held) = set.map_err(|error| match (error, self.strangers.first()) {
            // It stands where the one that is missing should.
            (CrlError::MissingForIssuer { .. }, Some(stranger)) => stranger.clone(),
            (error, _) => error,
        })?;
        for stranger in &self.strangers {
            tracing::warn!(code = stranger.code(), "a CRL is set aside, and revokes nobody: {stranger}");
        }
        for crl in &self.crls {
            let newest = set.crl(&crl.issuer).filter(|newest| newest.sha256 != crl.sha256);
            if let Some(newest) = newest {
                tracing::warn!(
                    issuer = %crl.issuer,
                    number = %crl.number,
                    in_force = %newest.number,
                    "the files hold a CRL that is not the newest: distribute the newest one"
                );
            }
        }
        Ok((set, held))
    }

    /// The newest that the files hold of each issuer that has one in `set`, not older than `before`: even
    /// where a newer one is in force that was pushed, whoever puts an old one there is not to go unnoticed.
    fn held_of(&self, set: &RevocationSet, trust: &TrustBundle, before: &Held) -> Result<Held, CrlError> {
        let mut held = BTreeMap::new();
        for (issuer, certificate) in trust.authorities().filter(|(issuer, _)| set.crl(issuer).is_some()) {
            let newest = self.crls.iter().filter(|crl| crl.issuer == *issuer).max_by_key(|crl| crl.number);
            let Some(newest) = newest else {
                // A list may have come by push alone; one that was in the files is missed there.
                if !before.0.contains_key(issuer) {
                    continue;
                }
                let (issuer, subject) = (issuer.clone(), certificate.subject.to_string());
                return Err(CrlError::MissingForIssuer { issuer, subject });
            };
            if let Some(before) = before.0.get(issuer) {
                before.gives_way_to(newest)?;
            }
            held.insert(issuer.clone(), newest.version());
        }
        Ok(Held(held))
    }
}
