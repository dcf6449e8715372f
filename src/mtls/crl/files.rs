//! CRL files: what they hold, and which of it counts beside the pushed CRLs.
//!
//! A file must not return to an older CRL than it held, nor lose an issuer's CRL. CRLs of issuers that are not
//! trusted are set aside with a warning: removing a trust anchor must take effect although its CRL is still there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use time::OffsetDateTime;

use super::error::CrlLoadError;
use super::in_force::CrlsInForce;
use crate::error::Coded;
use crate::files::{self, CRL_FILE};
use crate::revocation::{Crl, CrlError, CrlVersion, ReadCrls, RevocationSet, meant_for};
use crate::x509::pem::{ObjectKind, blocks_of};
use crate::x509::trust::TrustBundle;
use crate::x509::{KeyIdentifier, Sha256};

/// Verified contents of the CRL files.
#[derive(Debug)]
pub struct CrlFiles<'a> {
    paths: &'a [PathBuf],
    /// CRLs of trusted issuers, each with its file.
    crls: Vec<(Arc<Crl>, &'a Path)>,
    /// CRLs of unknown issuers, each with the reason for setting it aside and its file.
    set_aside: Vec<(CrlError, &'a Path)>,
}

/// Newest CRL of each issuer that the files held when they were last loaded.
#[derive(Clone, Debug, Default)]
pub struct LastSeenCrls(BTreeMap<KeyIdentifier, CrlVersion>);

impl LastSeenCrls {
    /// Record `crl`, unless a newer one of its issuer is recorded.
    fn record(&mut self, crl: &Crl) {
        if self.0.get(&crl.issuer).is_none_or(|before| before.superseded_by(crl).unwrap_or(false)) {
            self.0.insert(crl.issuer.clone(), crl.version());
        }
    }
}

impl<'a> CrlFiles<'a> {
    /// Read and verify every CRL in the files at `paths`.
    ///
    /// # Errors
    /// [`CrlLoadError`] with the first file that cannot be read or CRL that is invalid.
    pub fn read(paths: &'a [PathBuf], trust: &TrustBundle, at: OffsetDateTime) -> Result<Self, CrlLoadError> {
        let mut read = Self { paths, crls: Vec::new(), set_aside: Vec::new() };
        for path in paths {
            let file = ReadCrls::read(&files::read(path, CRL_FILE)?, trust, at);
            let ReadCrls { trusted, set_aside } = file.map_err(|error| refused(path, error))?;
            read.crls.extend(trusted.into_iter().map(|crl| (crl, path.as_path())));
            read.set_aside.extend(set_aside.into_iter().map(|reason| (reason, path.as_path())));
        }
        Ok(read)
    }

    /// The newest CRL of each trusted issuer, from the files and from `pushed`, and what the files held.
    ///
    /// # Errors
    /// [`CrlLoadError`] if an issuer has no CRL, or a file returned to an older CRL than `before` records, or lost
    /// one.
    pub fn newest_with(
        self,
        pushed: Vec<Crl>,
        trust: &TrustBundle,
        before: &LastSeenCrls,
    ) -> Result<(RevocationSet, LastSeenCrls), CrlLoadError> {
        let in_files = self.crls.iter().map(|(crl, _)| Arc::clone(crl));
        let all: Vec<_> = in_files.chain(pushed.into_iter().map(Arc::new)).collect();
        let set = RevocationSet::newest_of(&all, trust).map_err(|error| self.explained(error))?;
        let seen = self.seen(&set, trust, before)?;
        for (reason, path) in &self.set_aside {
            let (code, file) = (reason.code(), path.display());
            tracing::warn!(code, %file, "CRL set aside, its revocations are not enforced: {reason}");
        }
        for (crl, path) in &self.crls {
            let newest = set.crl(&crl.issuer).filter(|newest| newest.sha256 != crl.sha256);
            if let Some(newest) = newest {
                tracing::warn!(
                    file = %path.display(),
                    issuer = %crl.issuer,
                    number = %crl.number,
                    in_force = %newest.number,
                    "CRL file is older than the CRL in force"
                );
            }
        }
        Ok((set, seen))
    }

    fn seen(
        &self,
        set: &RevocationSet,
        trust: &TrustBundle,
        before: &LastSeenCrls,
    ) -> Result<LastSeenCrls, CrlLoadError> {
        let mut seen = LastSeenCrls::default();
        for (issuer, certificate) in trust.authorities().filter(|(issuer, _)| set.crl(issuer).is_some()) {
            let of_issuer = self.crls.iter().filter(|(crl, _)| crl.issuer == *issuer);
            match (of_issuer.max_by_key(|(crl, _)| crl.number), before.0.get(issuer)) {
                (Some((newest, path)), before) => {
                    before
                        .map_or(Ok(true), |before| before.superseded_by(newest))
                        .map_err(|error| refused(path, error))?;
                    seen.record(newest);
                }
                (None, Some(_)) => {
                    let (issuer, subject) = (issuer.clone(), certificate.subject.to_string());
                    return Err(self.explained(CrlError::MissingForIssuer { issuer, subject }));
                }
                // An issuer's CRL may come by push alone. Only one that was in a file is missed there.
                (None, None) => {}
            }
        }
        Ok(seen)
    }

    /// The better reason for a missing CRL, if there is one: a CRL that was set aside and seems to be meant.
    fn explained(&self, error: CrlError) -> CrlLoadError {
        let refused_all =
            |error| CrlLoadError::Refused { paths: self.paths.to_vec(), source: Box::new(error) };
        let meant = meant_for(&error, self.set_aside.iter().map(|(reason, _)| reason));
        match meant.and_then(|index| self.set_aside.get(index)) {
            Some((reason, path)) => refused(path, reason.clone()),
            None => refused_all(error),
        }
    }
}

/// CRLs in force, with those that the files have newer ones of replaced, and what the files held. Files and CRLs that
/// cannot be read or verified, and CRLs other than candidates, are passed over: this is for applying revocations when
/// a whole reload failed.
#[must_use]
pub fn newer_in_files(
    crls: &CrlsInForce,
    paths: &[PathBuf],
    trust: &TrustBundle,
    before: &LastSeenCrls,
    at: OffsetDateTime,
    is_candidate: impl Fn(&Crl) -> bool,
) -> (RevocationSet, LastSeenCrls) {
    let (mut offered, mut seen) = (Vec::new(), before.clone());
    for path in paths {
        let blocks =
            files::read(path, CRL_FILE).ok().and_then(|bytes| blocks_of(ObjectKind::Crl, &bytes).ok());
        for block in blocks.iter().flatten() {
            let sha256 = Sha256::of(block.der());
            match crls.set.crls().find(|crl| crl.sha256 == sha256) {
                Some(known) => seen.record(known),
                None => offered.extend(Crl::verify(block.der(), trust, at).ok().map(Arc::new)),
            }
        }
    }
    offered.retain(|crl| !crls.is_stale(crl.next_update, at) && is_candidate(crl));
    offered.iter().for_each(|crl| seen.record(crl));
    let current = crls.set.clone().with_standby_that(is_candidate);
    (current.with_newer_of(&offered, trust), seen)
}

fn refused(path: &Path, error: CrlError) -> CrlLoadError {
    CrlLoadError::Refused { paths: vec![path.to_owned()], source: Box::new(error) }
}
