//! An older copy of the inventory must not be gone on with: the next revocation list made from it
//! would lack what was revoked since, under a number that was used before.
//!
//! `cluster.crl` tells. It is signed, and its number only ever grows.

use crate::ca::authority::Authority;
use crate::ca::error::CaError;
use crate::files;
use crate::x509::crl::{CrlNumber, UnverifiedCrl};
use crate::x509::pem;

impl Authority {
    /// Refuses an inventory that has not set aside the number of the list in the home.
    ///
    /// A file that is missing, unreadable or signed by nobody of ours proves nothing, and is replaced with
    /// the next list.
    ///
    /// # Errors
    /// [`CaError::InventoryBehind`], or what the inventory says.
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

    /// The number of a list in `cluster.crl` that our key signed, if it is `least` or higher.
    fn published_from(&self, least: CrlNumber) -> Option<CrlNumber> {
        let bytes = files::read(&self.cluster.home.crl(), files::CRL_FILE).ok()?;
        let blocks = pem::blocks_of(pem::ObjectKind::Crl, &bytes).ok()?;
        let lists = blocks.iter().filter_map(|block| UnverifiedCrl::from_der(block.der()).ok());
        lists
            .filter(|list| list.number >= least && list.authority_key_identifier == self.cluster.issuer)
            // The signature last: it is over all of the list, and hardly ever asked for.
            .find(|list| list.verify(&self.cluster.root.public_key_info).is_ok())
            .map(|list| list.number)
    }
}
