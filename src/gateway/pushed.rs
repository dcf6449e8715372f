//! The CRLs that were pushed: kept in a directory, one file for each issuer, so that a restart does not
//! let in again whom a push had shut out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::state::StateError;
use crate::files::{self, Access, CRL_FILE, FileError, Placement};
use crate::revocation::Crl;
use crate::x509::KeyIdentifier;
use crate::x509::pem::{Kind, pem};
use crate::x509::trust::TrustBundle;

/// Where pushed CRLs are kept.
#[derive(Clone, Debug)]
pub struct PushedCrls(PathBuf);

impl PushedCrls {
    /// In this directory.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// What has been kept of the issuers that are trusted.
    ///
    /// # Errors
    /// [`StateError`] when a file is there that cannot be read or relied on: to pass over it could be to
    /// forget a revocation.
    pub fn load(&self, trust: &TrustBundle, at: OffsetDateTime) -> Result<Vec<Crl>, StateError> {
        let mut crls = Vec::new();
        let anchors = trust.anchors().iter().map(|anchor| &anchor.key_identifier);
        let below = trust.intermediates().iter().map(|below| &below.key_identifier);
        let issuers: BTreeSet<_> = anchors.chain(below).collect();
        for issuer in issuers {
            let path = self.path(issuer);
            match files::read(&path, CRL_FILE) {
                Ok(bytes) => crls.extend(
                    Crl::read_all(&bytes, trust, at)
                        .map_err(|source| StateError::Crl { paths: vec![path], source })?,
                ),
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(crls)
    }

    /// Keeps the CRL in `der` in the place of the last one of `issuer`.
    ///
    /// # Errors
    /// [`FileError`]; the last one is then still there.
    pub fn keep(&self, issuer: &KeyIdentifier, der: &[u8]) -> Result<(), FileError> {
        let text = pem(Kind::Crl.label(), der);
        files::write(&self.path(issuer), Access::Public, Placement::Replace, text.as_bytes())
    }

    fn path(&self, issuer: &KeyIdentifier) -> PathBuf {
        self.0.join(format!("{issuer}.crl"))
    }
}
