//! The revocation list: signed from the inventory, read back, and written before anybody is told.
//!
//! Its number is set aside durably first, so that a crash can waste a number but never use one
//! twice (RFC 5280, section 5.2.3).

use std::path::{Path, PathBuf};

use rcgen::{Issuer, SigningKey};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::crl_encoder::{CrlEntries, CrlHead};
use super::republish_reason::RepublishReason;
use crate::audit::Provenance;
use crate::ca::authority::Authority;
use crate::ca::cluster::Cluster;
use crate::ca::error::CaError;
use crate::ca::signing::with_signer_failure;
use crate::files::{self, Access, Placement};
use crate::revocation::Crl;
use crate::store::{CurrentCrl, Inventory};
use crate::x509::trust::TrustBundle;
use crate::x509::{Certificate, KeyIdentifier, Sha256, pem};

/// How long a list holds unless somebody wished otherwise: an offline root must be able to rest;
/// gateways are kept fresh by push.
const VALIDITY: Duration = Duration::days(180);

/// The shortest that a list may hold: whoever fetches it must have the time to.
const SHORTEST: Duration = Duration::HOUR;

/// How long a list still names an expired certificate, for machines whose clock is behind.
pub(in crate::ca) const GRACE: Duration = Duration::HOUR;

/// A list dated this much later than now was made when the clock was wrong. Gateways allow as much.
const CLOCK_SKEW: Duration = Duration::minutes(5);

/// A list that is in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublishedCrl {
    /// Its file.
    #[serde(serialize_with = "crate::files::as_text")]
    pub crl: PathBuf,
    /// Its number.
    #[serde(serialize_with = "crate::x509::crl::serialize_crl_number")]
    pub crl_number: u64,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub this_update: OffsetDateTime,
    /// When it must be replaced.
    #[serde(with = "time::serde::rfc3339")]
    pub next_update: OffsetDateTime,
}

impl Authority {
    /// Signs a new revocation list and puts it in its place. It holds as long as the one before it,
    /// unless `validity` says otherwise; so will the next. No list outlives the root.
    ///
    /// # Errors
    /// [`CaError::CrlValidity`] for one that is too short or would outlive the root, before a number is set
    /// aside; [`CaError`], above all [`CaError::CrlNotWritten`].
    pub fn publish_crl(
        &mut self,
        validity: Option<Duration>,
        reason: Option<&str>,
    ) -> Result<PublishedCrl, CaError> {
        self.check_root_is_valid()?;
        let provenance = self.cluster.context.provenance(reason);
        if let Some(validity) = validity {
            let root_end = self.cluster.root.not_after;
            let end = provenance.at.checked_add(validity).filter(|end| *end <= root_end);
            if validity < SHORTEST || end.is_none() {
                return Err(CaError::CrlValidity { given: validity, shortest: SHORTEST, root_end });
            }
        }
        let transaction = self.cluster.inventory.begin(&provenance)?;
        let (transaction, number) = transaction.reserve_crl_number(&self.cluster.issuer)?;
        transaction.commit()?;
        self.write_crl(number, validity, &provenance)
    }

    /// Signs the list under `number`, which is set aside already, and puts it in its place.
    pub(in crate::ca) fn write_crl(
        &mut self,
        number: u64,
        validity: Option<Duration>,
        provenance: &Provenance,
    ) -> Result<PublishedCrl, CaError> {
        let cluster = &mut self.cluster;
        let last = cluster.inventory.active_issuer()?.crl;
        let validity = validity.or(last.map(|last| last.next_update - last.this_update)).unwrap_or(VALIDITY);
        // One that was made shorter once, by an older version or at the root's end, does not stay so short.
        let validity = validity.max(SHORTEST);
        let listed_until = last.map_or(OffsetDateTime::UNIX_EPOCH, |last| listed_until(&last, provenance.at));
        let entries = revoked_entries(&cluster.inventory, &cluster.issuer, listed_until)?;
        let signed = sign(entries, number, provenance.at, validity, &cluster.root, &self.signer);
        let (der, current) = with_signer_failure(self.signer.key(), signed)?;
        let path = cluster.home.crl();
        write(&path, &der).map_err(|source| CaError::CrlNotWritten { number, source })?;
        drop(der);
        cluster.inventory.begin(provenance)?.record_crl(&cluster.issuer, &current)?.commit()?;
        Ok(cluster.published(&current))
    }

    /// Why the list must be made anew now, if it must.
    pub(in crate::ca) fn stale_crl(&self) -> Result<Option<RepublishReason>, CaError> {
        let issuer = self.cluster.inventory.active_issuer()?;
        let now = self.cluster.context.now();
        let half = |crl: CurrentCrl| crl.this_update + (crl.next_update - crl.this_update) / 2;
        Ok(match issuer.crl {
            // Nothing can be signed in the name of a root that is over; what there is stays.
            _ if !self.cluster.root.is_valid_at(now) => None,
            _ if issuer.owes_crl() => Some(RepublishReason::Owed),
            _ if !files::occupied(&self.cluster.home.crl()) => Some(RepublishReason::Missing),
            Some(crl) if crl.this_update > now.saturating_add(CLOCK_SKEW) => Some(RepublishReason::Ahead),
            Some(crl) if half(crl) < now => Some(RepublishReason::Aged),
            _ => None,
        })
    }

    /// The list in force; made anew when its file is not the one that the inventory knows.
    ///
    /// # Errors
    /// What [`Authority::publish_crl`] says.
    pub fn ensure_crl(&mut self) -> Result<PublishedCrl, CaError> {
        let recorded = self.cluster.inventory.active_issuer()?.crl;
        match recorded {
            Some(recorded) if file_is(&self.cluster.home.crl(), &recorded.sha256) => {
                Ok(self.cluster.published(&recorded))
            }
            _ => self.publish_crl(None, Some("the file was not the list that was recorded")),
        }
    }
}

impl Cluster {
    fn published(&self, crl: &CurrentCrl) -> PublishedCrl {
        PublishedCrl {
            crl: self.home.crl(),
            crl_number: crl.number,
            this_update: crl.this_update,
            next_update: crl.next_update,
        }
    }

    /// A revocation list (PEM or DER), verified against the cluster's root, found to be the one that was
    /// recorded last, and to have everything that is revoked; and its DER.
    ///
    /// # Errors
    /// [`CaError::InFile`], [`CaError::CrlNotRecorded`] or [`CaError::CrlIncomplete`] when it is not.
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

    /// The list in the home, and its DER, when it can be handed on as it is: it is the one that was recorded
    /// last, has everything that is revoked, and holds. None when only whoever opens the root's key can
    /// make it so.
    ///
    /// # Errors
    /// [`CaError`] when the home cannot be read.
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

    /// A revocation list (PEM or DER) verified against the cluster's root, and its DER.
    ///
    /// # Errors
    /// [`CaError::InFile`] when it does not hold.
    pub fn read_crl(&self, path: &Path, at: OffsetDateTime) -> Result<(Crl, Vec<u8>), CaError> {
        let mut blocks = pem::blocks_of(pem::ObjectKind::Crl, &files::read(path, files::CRL_FILE)?)
            .map_err(CaError::in_file(path))?;
        let block = match (blocks.pop(), blocks.is_empty()) {
            (Some(block), true) => block,
            _ => return Err(CaError::SeveralCrls { path: path.to_owned() }),
        };
        let crl = Crl::verify(block.der(), &self.trust_bundle(at)?, at).map_err(CaError::in_file(path))?;
        Ok((crl, block.der().to_vec()))
    }
}

/// The first list of a new cluster: empty.
pub(in crate::ca) fn first_crl(
    number: u64,
    this_update: OffsetDateTime,
    root: &Certificate,
    signer: &Issuer<'_, impl SigningKey>,
) -> Result<(String, CurrentCrl), CaError> {
    let (der, current) = sign(CrlEntries::with_capacity(0), number, this_update, VALIDITY, root, signer)?;
    Ok((pem::pem(pem::ObjectKind::Crl.label(), &der), current))
}

/// Signs a list and reads it back as a gateway would; what a gateway would refuse is never written.
fn sign(
    entries: CrlEntries,
    number: u64,
    this_update: OffsetDateTime,
    validity: Duration,
    root: &Certificate,
    signer: &Issuer<'_, impl SigningKey>,
) -> Result<(Vec<u8>, CurrentCrl), CaError> {
    let no_key_identifier = || CaError::Signing { why: "the root names no key".to_owned() };
    // Past its root's end no list can be verified.
    let next_update = this_update.saturating_add(validity).min(root.not_after);
    let head = CrlHead {
        issuer: &root.subject.der,
        authority_key_identifier: root.subject_key_identifier.as_ref().ok_or_else(no_key_identifier)?,
        number,
        this_update,
        next_update,
    };
    let der = entries.sign(&head, signer.key())?;
    let root = pem::pem(pem::ObjectKind::Certificate.label(), &root.der);
    let verified = Crl::verify(&der, &TrustBundle::from_pem(root.as_bytes(), this_update)?, this_update)?;
    Ok((der, CurrentCrl { number, this_update, next_update, sha256: verified.sha256 }))
}

/// Until when everything that was over by then has been on a list made after that. A list says when it was
/// made, and the clock may have been ahead then: what has not expired by the clock of today is not over.
fn listed_until(last: &CurrentCrl, now: OffsetDateTime) -> OffsetDateTime {
    last.this_update.min(now) - GRACE
}

/// Every certificate that is revoked, but for those that expired and were on a list made after that
/// (RFC 5280, section 3.3).
fn revoked_entries(
    inventory: &Inventory,
    issuer: &KeyIdentifier,
    listed_until: OffsetDateTime,
) -> Result<CrlEntries, CaError> {
    let expected = usize::try_from(inventory.count_revoked(issuer)?).unwrap_or_default();
    let mut entries = CrlEntries::with_capacity(expected);
    inventory.revoked(issuer, listed_until, |revoked| {
        entries.push(&revoked);
        Ok::<_, CaError>(())
    })?;
    Ok(entries)
}

fn write(path: &Path, der: &[u8]) -> Result<(), files::FileError> {
    files::write_with(path, Access::Public, Placement::Replace, |out| {
        pem::write(pem::ObjectKind::Crl, der, out)
    })
}

fn file_is(path: &Path, sha256: &Sha256) -> bool {
    files::read(path, files::CRL_FILE)
        .ok()
        .and_then(|bytes| pem::blocks_of(pem::ObjectKind::Crl, &bytes).ok())
        .is_some_and(|blocks| blocks.iter().map(|block| Sha256::of(block.der())).eq([*sha256]))
}
