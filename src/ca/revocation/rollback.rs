//! Detection of an outdated inventory.
//!
//! A CRL published from an old copy of the inventory would lack later revocations and reuse a CRL
//! number. `cluster.crl` reveals such a copy: it is signed, and CRL numbers only increase.

use crate::ca::authority::Authority;
use crate::ca::error::CaError;
use crate::files;
use crate::x509::crl::{CrlNumber, UnverifiedCrl};
use crate::x509::pem;

impl Authority {
    /// Refuses an inventory that has not reserved the number of the CRL in the home.
    ///
    /// A file that is missing, unreadable, or not signed by this root proves nothing. It is replaced with
    /// the next CRL.
    ///
    /// # Errors
    /// [`CaError::InventoryBehind`], or [`CaError::Store`].
    pub(in crate::ca) fn refuse_outdated_inventory(&self) -> Result<(), CaError> {
        let next = self.cluster.inventory.active_issuer()?.next_crl_number;
        match self.published_from(next.into()) {
            Some(number) => Err(CaError::InventoryBehind {
                inventory: self.cluster.home.database(),
                crl: self.cluster.home.crl(),
                number,
                last: next.saturating_sub(1),
            }),
            None => Ok(()),
        }
    }

    /// Number of a CRL in `cluster.crl` that this root signed, if it is `least` or higher.
    fn published_from(&self, minimum: CrlNumber) -> Option<CrlNumber> {
        let bytes = files::read(&self.cluster.home.crl(), files::CRL_FILE).ok()?;
        let blocks = pem::blocks_of(pem::ObjectKind::Crl, &bytes).ok()?;
        let crls = blocks.iter().filter_map(|block| UnverifiedCrl::from_der(block.der()).ok());
        crls.filter(|crl| crl.number >= minimum && crl.authority_key_identifier == self.cluster.issuer)
            // The signature is checked last because it covers the whole CRL. It is rarely reached.
            .find(|crl| crl.verify(&self.cluster.root.public_key_info).is_ok())
            .map(|crl| crl.number)
    }
}
