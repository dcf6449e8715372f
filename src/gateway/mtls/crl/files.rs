//! What the CRL files hold, and which of it counts beside what has been pushed.
//!
//! No file goes back behind what it held, or loses an issuer's list. What
//! an issuer has signed that is trusted no more is set aside: distrust does not wait until its list is
//! gone too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use time::OffsetDateTime;

use crate::error::Coded;
use crate::files::{self, CRL_FILE};
use crate::gateway::mtls::verifier::Crls;
use crate::gateway::state::loader::StateError;
use crate::revocation::{Crl, CrlError, CrlVersion, RevocationSet};
use crate::x509::pem::{ObjectKind, blocks_of};
use crate::x509::trust::TrustBundle;
use crate::x509::{KeyIdentifier, Sha256};

/// What was read of the CRL files.
#[derive(Debug)]
pub struct CrlFiles<'a> {
    paths: &'a [PathBuf],
    /// The lists of issuers that are trusted, and where each was.
    crls: Vec<(Arc<Crl>, &'a Path)>,
    /// Why each of the others was set aside, and where it was.
    strangers: Vec<(CrlError, &'a Path)>,
}

/// The newest list of each issuer that the files held when they were last taken.
#[derive(Clone, Debug, Default)]
pub struct Held(BTreeMap<KeyIdentifier, CrlVersion>);

impl Held {
    /// Notes a list that the files hold; an older one than they held is no news.
    fn note(&mut self, crl: &Crl) {
        if self.0.get(&crl.issuer).is_none_or(|before| before.superseded_by(crl).unwrap_or(false)) {
            self.0.insert(crl.issuer.clone(), crl.version());
        }
    }
}

impl<'a> CrlFiles<'a> {
    /// Reads and verifies everything that the files at `paths` hold.
    ///
    /// # Errors
    /// [`StateError`] for the first file that cannot be read, or list that is not to be relied on.
    pub fn read(paths: &'a [PathBuf], trust: &TrustBundle, at: OffsetDateTime) -> Result<Self, StateError> {
        let mut read = Self { paths, crls: Vec::new(), strangers: Vec::new() };
        for path in paths {
            let blocks = blocks_of(ObjectKind::Crl, &files::read(path, CRL_FILE)?);
            for block in blocks.map_err(|source| refused(path, CrlError::Unreadable(source)))? {
                match Crl::verify(block.der(), trust, at) {
                    Ok(crl) => read.crls.push((Arc::new(crl), path)),
                    // By a key that is trusted, it may be what revokes somebody.
                    Err(CrlError::UnknownIssuer { issuer, key_identifier })
                        if trust.authorities().all(|(known, _)| *known != key_identifier) =>
                    {
                        read.strangers.push((CrlError::UnknownIssuer { issuer, key_identifier }, path));
                    }
                    Err(error) => return Err(refused(path, error)),
                }
            }
        }
        Ok(read)
    }

    /// The newest of each issuer, of the files and of what has been `pushed`; and what the files held,
    /// which is to be given as `before` the next time.
    ///
    /// # Errors
    /// [`StateError`] when an issuer has none in the files, or an older one than `before`; it names the
    /// file where the fault is in one.
    pub fn newest_with(
        self,
        pushed: Vec<Crl>,
        trust: &TrustBundle,
        before: &Held,
    ) -> Result<(RevocationSet, Held), StateError> {
        let in_files = self.crls.iter().map(|(crl, _)| Arc::clone(crl));
        let all: Vec<_> = in_files.chain(pushed.into_iter().map(Arc::new)).collect();
        let set = RevocationSet::newest_of(&all, trust).map_err(|error| self.in_its_place(error))?;
        let held = self.held_of(&set, trust, before)?;
        for (stranger, path) in &self.strangers {
            let (code, file) = (stranger.code(), path.display());
            tracing::warn!(code, %file, "a CRL is set aside, and revokes nobody: {stranger}");
        }
        for (crl, path) in &self.crls {
            let newest = set.crl(&crl.issuer).filter(|newest| newest.sha256 != crl.sha256);
            if let Some(newest) = newest {
                tracing::warn!(
                    file = %path.display(),
                    issuer = %crl.issuer,
                    number = %crl.number,
                    in_force = %newest.number,
                    "a file holds a CRL that is not the newest: the newest is in force"
                );
            }
        }
        Ok((set, held))
    }

    /// The newest that the files hold of each issuer that has one in `set`, not older than `before`: even
    /// where a newer one is in force that was pushed, whoever puts an old one there is not to go unnoticed.
    fn held_of(&self, set: &RevocationSet, trust: &TrustBundle, before: &Held) -> Result<Held, StateError> {
        let mut held = Held::default();
        for (issuer, certificate) in trust.authorities().filter(|(issuer, _)| set.crl(issuer).is_some()) {
            let of_issuer = self.crls.iter().filter(|(crl, _)| crl.issuer == *issuer);
            match (of_issuer.max_by_key(|(crl, _)| crl.number), before.0.get(issuer)) {
                (Some((newest, path)), before) => {
                    before
                        .map_or(Ok(true), |before| before.superseded_by(newest))
                        .map_err(|e| refused(path, e))?;
                    held.note(newest);
                }
                (None, Some(_)) => {
                    let (issuer, subject) = (issuer.clone(), certificate.subject.to_string());
                    return Err(self.in_its_place(CrlError::MissingForIssuer { issuer, subject }));
                }
                // A list may have come by push alone; one that was in the files is missed there.
                (None, None) => {}
            }
        }
        Ok(held)
    }

    /// Why the files are refused: where a list is missing and a stranger's stands in its place, that is told.
    fn in_its_place(&self, error: CrlError) -> StateError {
        let refused_all = |error| StateError::Crl { paths: self.paths.to_vec(), source: Box::new(error) };
        let CrlError::MissingForIssuer { subject, .. } = &error else { return refused_all(error) };
        // Of the same name and another key, or else the only one that it can be.
        let namesake = |(stranger, _): &&(CrlError, &Path)| matches!(stranger, CrlError::UnknownIssuer { issuer, .. } if issuer == subject);
        let instead = match self.strangers.as_slice() {
            [stranger] => Some(stranger),
            several => several.iter().find(namesake),
        };
        match instead {
            Some((stranger, path)) => refused(path, stranger.clone()),
            None => refused_all(error),
        }
    }
}

/// `crls` as far as `trust` goes, with whatever newer ones the files at `paths` hold; what cannot be read or
/// relied on is passed over. And what the files are known to hold by that, where they held `before`.
#[must_use]
pub fn newer_than(
    crls: &Crls,
    paths: &[PathBuf],
    trust: &TrustBundle,
    before: &Held,
    at: OffsetDateTime,
) -> (RevocationSet, Held) {
    let (mut offered, mut held) = (Vec::new(), before.clone());
    for path in paths {
        let blocks =
            files::read(path, CRL_FILE).ok().and_then(|bytes| blocks_of(ObjectKind::Crl, &bytes).ok());
        for block in blocks.iter().flatten() {
            let sha256 = Sha256::of(block.der());
            match crls.set.crls().find(|crl| crl.sha256 == sha256) {
                Some(known) => held.note(known),
                None => offered.extend(Crl::verify(block.der(), trust, at).ok().map(Arc::new)),
            }
        }
    }
    offered.retain(|crl| !crls.is_stale(crl.next_update, at));
    offered.iter().for_each(|crl| held.note(crl));
    (crls.set.with_newer_of(&offered, trust), held)
}

fn refused(path: &Path, error: CrlError) -> StateError {
    StateError::Crl { paths: vec![path.to_owned()], source: Box::new(error) }
}
