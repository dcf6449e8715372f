//! CRLs that the root has signed: the record of revocations that needs no trust in the inventory.

use std::path::Path;
use std::sync::Arc;

use time::OffsetDateTime;

use super::audit_anchor::AuditAnchor;
use crate::ca::error::CaError;
use crate::files;
use crate::revocation::Crl;
use crate::x509::crl::UnverifiedCrl;
use crate::x509::trust::TrustBundle;
use crate::x509::{Certificate, KeyIdentifier, SerialNumber, pem};

/// CRL that the root has signed.
#[derive(Debug)]
pub(in crate::ca) struct SignedCrl {
    pub(in crate::ca) der: Vec<u8>,
    pub(in crate::ca) crl: Arc<Crl>,
    pub(in crate::ca) anchor: Option<AuditAnchor>,
}

/// Contents of a CRL file.
#[derive(Debug, Default)]
pub(in crate::ca) struct CrlFile {
    /// Newest CRL of the root. `None` if the file is missing, unreadable, or has none.
    pub(in crate::ca) signed: Option<SignedCrl>,
    /// CRLs of other issuers, which this root does not replace.
    pub(in crate::ca) others: Vec<OtherCrl>,
}

/// CRL of another issuer, as the file has it.
#[derive(Debug)]
pub(in crate::ca) struct OtherCrl {
    pub(in crate::ca) issuer: KeyIdentifier,
    pub(in crate::ca) der: Vec<u8>,
}

impl CrlFile {
    /// Read a CRL file. What is not a CRL is skipped.
    pub(in crate::ca) fn read(path: &Path, root: &Certificate) -> Self {
        let mut found = Self::default();
        let Ok(bytes) = files::read(path, files::CRL_FILE) else { return found };
        let Ok(blocks) = pem::blocks_of(pem::ObjectKind::Crl, &bytes) else { return found };
        drop(bytes);
        for block in blocks {
            let Ok(crl) = UnverifiedCrl::from_der(block.der()) else { continue };
            if Some(&crl.authority_key_identifier) != root.subject_key_identifier.as_ref() {
                let issuer = crl.authority_key_identifier.clone();
                found.others.push(OtherCrl { issuer, der: block.der().to_vec() });
                continue;
            }
            let number = crl.number;
            let is_newer = found.signed.as_ref().is_none_or(|newest| newest.crl.number < number);
            if is_newer && let Ok(signed) = SignedCrl::verify(block.der().to_vec(), root) {
                found.signed = Some(signed);
            }
        }
        found
    }

    /// Issuers of the other CRLs that are not in the trust bundle at `path`. None if the bundle cannot be read.
    pub(in crate::ca) fn untrusted(&self, path: &Path) -> Vec<KeyIdentifier> {
        let bytes = if self.others.is_empty() { None } else { files::read(path, files::SMALL_FILE).ok() };
        let Some(bundle) = bytes.and_then(|bytes| pem::certificates(&bytes).ok()) else { return Vec::new() };
        let is_trusted = |issuer: &KeyIdentifier| {
            bundle.iter().any(|root| root.subject_key_identifier.as_ref() == Some(issuer))
        };
        let issuers = self.others.iter().map(|other| &other.issuer);
        issuers.filter(|issuer| !is_trusted(issuer)).cloned().collect()
    }
}

/// Difference between a CRL and the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ca) enum CrlDifference {
    /// New entry, or one with another date or reason.
    Changed(SerialNumber),
    /// Missing entry.
    Removed(SerialNumber),
}

impl SignedCrl {
    /// Verify a CRL with the root, whatever the time is now.
    pub(in crate::ca) fn verify(der: Vec<u8>, root: &Certificate) -> Result<Self, CaError> {
        let unverified = UnverifiedCrl::from_der(&der).map_err(crate::revocation::CrlError::Unfit)?;
        let at = unverified.this_update.clamp(root.not_before, root.not_after);
        let anchor = AuditAnchor::of(&unverified);
        let text = pem::pem(pem::ObjectKind::Certificate.label(), &root.der);
        let crl = Crl::verify(&der, &TrustBundle::from_pem(text.as_bytes(), at)?, at)?;
        Ok(Self { der, crl: Arc::new(crl), anchor })
    }

    /// Pass each difference from `last` to `each`. Our CRLs are in the order of the serial numbers. In another order,
    /// equal entries may be passed as changed.
    pub(in crate::ca) fn differences(
        &self,
        last: &Self,
        mut each: impl FnMut(CrlDifference) -> Result<(), CaError>,
    ) -> Result<(), CaError> {
        let unfit = |error| CaError::Crl(crate::revocation::CrlError::Unfit(error));
        let mut olds = UnverifiedCrl::from_der(&last.der).map_err(unfit)?.entries();
        let mut news = UnverifiedCrl::from_der(&self.der).map_err(unfit)?.entries();
        let mut changed = Vec::new();
        loop {
            news.pass_equal(&mut olds);
            let (mut later_olds, mut later_news) = (olds.clone(), news.clone());
            let old = later_olds.next().transpose().map_err(unfit)?.map(|old| old.serial_number);
            let new = later_news.next().transpose().map_err(unfit)?.map(|new| new.serial_number);
            match (old, new) {
                (None, None) => break,
                (Some(old), Some(new)) if old == new => {
                    changed.push(new);
                    (olds, news) = (later_olds, later_news);
                }
                (Some(old), new) if new.is_none_or(|new| old < new) => {
                    if self.crl.contains(&old) {
                        each(CrlDifference::Changed(old))?;
                    } else if last.crl.contains(&old) {
                        each(CrlDifference::Removed(old))?;
                    }
                    // Otherwise the entry took a certificate off the list.
                    olds = later_olds;
                }
                (_, Some(new)) => {
                    changed.push(new);
                    news = later_news;
                }
                (Some(_), None) => break,
            }
        }
        changed.into_iter().map(CrlDifference::Changed).try_for_each(each)
    }

    /// Pass each revoked serial number with its revocation date to `each`.
    pub(in crate::ca) fn for_each(
        &self,
        mut each: impl FnMut(SerialNumber, OffsetDateTime) -> Result<(), CaError>,
    ) -> Result<(), CaError> {
        let unfit = |error| CaError::Crl(crate::revocation::CrlError::Unfit(error));
        for entry in UnverifiedCrl::from_der(&self.der).map_err(unfit)?.entries() {
            let entry = entry.map_err(unfit)?;
            // An entry that takes a certificate off the CRL is not in the set.
            if self.crl.contains(&entry.serial_number) {
                each(entry.serial_number, entry.revoked_at().map_err(unfit)?)?;
            }
        }
        Ok(())
    }
}
