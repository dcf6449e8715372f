//! The revocation list: signed from the inventory, read back, and written before anybody is told.
//!
//! Its number is set aside durably first, so that a crash can waste a number but never use one
//! twice (RFC 5280, section 5.2.3).

use time::{Duration, OffsetDateTime};

use crate::audit::Provenance;
use crate::files::{self, Access, Placement};
use crate::keys::PrivateKey;
use crate::revocation::{Crl, RevocationReason};
use crate::store::{CurrentCrl, Inventory, StoreError};
use crate::x509::trust::TrustBundle;
use crate::x509::{Certificate, KeyIdentifier, Sha256, pem};

use super::builder::{self, RevokedEntry};
use super::{Authority, CaError, explained};

/// How long a list holds: an offline root must be able to rest; gateways are kept fresh by push.
pub(super) const VALIDITY: Duration = Duration::days(180);

impl Authority {
    /// Signs the list under `number`, which is set aside already, and puts it in its place.
    pub(super) fn publish_crl(
        &mut self,
        number: u64,
        provenance: &Provenance,
    ) -> Result<CurrentCrl, CaError> {
        let cluster = &mut self.cluster;
        let this_update = provenance.at;
        let next_update = this_update + VALIDITY;
        let revoked = revoked_entries(&cluster.inventory, &cluster.issuer)?;
        let signed = builder::sign_crl(number, this_update, next_update, revoked, &self.signer);
        let der = explained(self.signer.key(), signed)?;
        let current = judge(&der, &cluster.root, number, this_update, next_update)?;
        files::write(&cluster.home.crl(), Access::Public, Placement::Replace, encode(&der).as_bytes())?;
        cluster.inventory.begin(provenance)?.record_crl(&cluster.issuer, &current)?.commit()?;
        Ok(current)
    }
}

/// The first list of a new cluster: empty.
pub(super) fn first_crl(
    number: u64,
    this_update: OffsetDateTime,
    root: &Certificate,
    signer: &rcgen::Issuer<'_, PrivateKey>,
) -> Result<(String, CurrentCrl), CaError> {
    let next_update = this_update + VALIDITY;
    let der = builder::sign_crl(number, this_update, next_update, [], signer)?;
    let current = judge(&der, root, number, this_update, next_update)?;
    Ok((encode(&der), current))
}

fn encode(der: &[u8]) -> String {
    pem::pem(pem::Kind::Crl.label(), der)
}

/// Reads the signed list back as a gateway would; what a gateway would refuse is never written.
fn judge(
    der: &[u8],
    root: &Certificate,
    number: u64,
    this_update: OffsetDateTime,
    next_update: OffsetDateTime,
) -> Result<CurrentCrl, CaError> {
    let bundle =
        TrustBundle::from_pem(pem::pem(pem::Kind::Certificate.label(), &root.der).as_bytes(), this_update)?;
    Crl::verify(der, &bundle, this_update)?;
    Ok(CurrentCrl { number, this_update, next_update, sha256: Sha256::of(der) })
}

fn revoked_entries(inventory: &Inventory, issuer: &KeyIdentifier) -> Result<Vec<RevokedEntry>, CaError> {
    let mut entries = Vec::new();
    inventory.revoked(issuer, |revoked| {
        entries.push(RevokedEntry {
            serial_number: revoked.serial_number,
            at: revoked.revoked_at,
            reason: RevocationReason::from_code(revoked.reason).unwrap_or(RevocationReason::Unspecified),
        });
        Ok::<_, StoreError>(())
    })?;
    Ok(entries)
}
