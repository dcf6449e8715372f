//! CRLs of a file, with those of untrusted issuers set aside.

use std::sync::Arc;

use time::OffsetDateTime;

use super::crl::{Crl, CrlError};
use crate::x509::pem::{ObjectKind, blocks_of};
use crate::x509::trust::TrustBundle;

/// Verified CRLs of a file. A CRL of an issuer that is not trusted is set aside: removing a trust anchor must take
/// effect although its CRL is still in the file.
#[derive(Debug, Default)]
pub struct ReadCrls {
    /// CRLs of trusted issuers.
    pub trusted: Vec<Arc<Crl>>,
    /// Reasons for setting aside the others: [`CrlError::UnknownIssuer`] for each.
    pub set_aside: Vec<CrlError>,
}

impl ReadCrls {
    /// Read and verify the CRLs in a file, PEM or DER.
    ///
    /// # Errors
    /// [`CrlError`] for the first refused CRL, or [`CrlError::Unreadable`].
    pub fn read(bytes: &[u8], bundle: &TrustBundle, at: OffsetDateTime) -> Result<Self, CrlError> {
        let mut read = Self::default();
        for block in blocks_of(ObjectKind::Crl, bytes).map_err(CrlError::Unreadable)? {
            match Crl::verify(block.der(), bundle, at) {
                Ok(crl) => read.trusted.push(Arc::new(crl)),
                // If its key is trusted, it may carry revocations that must not be passed over.
                Err(CrlError::UnknownIssuer { issuer, key_identifier })
                    if bundle.authorities().all(|(known, _)| *known != key_identifier) =>
                {
                    read.set_aside.push(CrlError::UnknownIssuer { issuer, key_identifier });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }
}

/// Index of the CRL in `set_aside` that seems to be meant as the missing one: its issuer has the same name and another
/// key, or it is the only one.
pub fn meant_for<'e>(missing: &CrlError, set_aside: impl IntoIterator<Item = &'e CrlError>) -> Option<usize> {
    let CrlError::MissingForIssuer { subject, .. } = missing else { return None };
    let set_aside: Vec<_> = set_aside.into_iter().collect();
    let is_namesake =
        |reason: &&CrlError| matches!(reason, CrlError::UnknownIssuer { issuer, .. } if issuer == subject);
    match set_aside.as_slice() {
        [_] => Some(0),
        several => several.iter().position(is_namesake),
    }
}
