//! Checks of CRL files against the inventory.

use std::path::Path;

use time::OffsetDateTime;

use super::crl::GRACE;
use crate::ca::cluster::Cluster;
use crate::ca::error::CaError;
use crate::files;
use crate::revocation::Crl;
use crate::x509::crl::UnverifiedCrl;
use crate::x509::pem;

impl Cluster {
    /// Read a CRL (PEM or DER) and verify it against the root. It must be the last one recorded and
    /// contain all revocations. Return it with its DER.
    ///
    /// # Errors
    /// [`CaError::InFile`], [`CaError::CrlNotRecorded`] or [`CaError::CrlIncomplete`].
    pub fn verify_crl(&self, path: &Path, at: OffsetDateTime) -> Result<(Crl, Vec<u8>), CaError> {
        let (crl, der) = self.read_crl(path, at)?;
        let recorded = self.inventory.active_issuer()?.crl;
        if recorded.is_none_or(|recorded| recorded.sha256 != crl.sha256) {
            let (path, recorded) = (path.to_owned(), recorded.map(|recorded| recorded.number));
            return Err(CaError::CrlNotRecorded { path, number: crl.number, recorded });
        }
        let mut missing = 0;
        self.inventory.revoked(&self.issuer, crl.this_update.min(at) - GRACE, |revoked| {
            missing += u64::from(!crl.contains(&revoked.serial_number));
            Ok::<_, CaError>(())
        })?;
        match missing {
            0 => Ok((crl, der)),
            missing => Err(CaError::CrlIncomplete { number: crl.number, missing }),
        }
    }

    /// The CRL in the home with its DER, if it is the last one recorded, complete and not expired. `None`
    /// means that a new one must be published with the root key.
    ///
    /// # Errors
    /// [`CaError`] if the home cannot be read.
    pub fn newest_crl(&self) -> Result<Option<(Crl, Vec<u8>)>, CaError> {
        let now = self.context.now();
        if self.inventory.active_issuer()?.owes_crl() {
            return Ok(None);
        }
        match self.verify_crl(&self.home.crl(), now) {
            Ok((crl, der)) => Ok((!crl.is_expired_at(now)).then_some((crl, der))),
            Err(
                CaError::CrlIncomplete { .. } | CaError::CrlNotRecorded { .. } | CaError::SeveralCrls { .. },
            ) => Ok(None),
            Err(CaError::InFile { path, .. }) if path == self.home.crl() => Ok(None),
            Err(CaError::File(error)) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Read a CRL (PEM or DER) and verify it against the root. Return it with its DER.
    ///
    /// # Errors
    /// [`CaError::InFile`] for an invalid CRL.
    pub fn read_crl(&self, path: &Path, at: OffsetDateTime) -> Result<(Crl, Vec<u8>), CaError> {
        let mut blocks = pem::blocks_of(pem::ObjectKind::Crl, &files::read(path, files::CRL_FILE)?)
            .map_err(CaError::in_file(path))?;
        // During a change of roots, the file has a CRL of each root.
        if blocks.len() > 1 {
            blocks.retain(|block| {
                UnverifiedCrl::from_der(block.der())
                    .is_ok_and(|crl| crl.authority_key_identifier == self.issuer)
            });
        }
        let block = match (blocks.pop(), blocks.is_empty()) {
            (Some(block), true) => block,
            _ => return Err(CaError::SeveralCrls { path: path.to_owned() }),
        };
        let crl = Crl::verify(block.der(), &self.trust_bundle(at)?, at).map_err(CaError::in_file(path))?;
        Ok((crl, block.der().to_vec()))
    }
}
