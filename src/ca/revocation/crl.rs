//! Signing and publishing of CRLs.
//!
//! The CRL number is reserved durably before signing. A crash can waste a number, but no number is used
//! twice (RFC 5280, section 5.2.3).

use std::cell::OnceCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{Issuer, SigningKey};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::audit_anchor::AuditAnchor;
use super::crl_encoder::{CrlEntries, CrlHead};
use super::crl_statement::{CrlStatement, SHORT_CRL};
use super::republish_reason::RepublishReason;
use super::signed_crl::{CrlDifference, OtherCrl, SignedCrl};
use crate::audit::{Head, Provenance};
use crate::ca::authority::Authority;
use crate::ca::cluster::Cluster;
use crate::ca::error::CaError;
use crate::ca::signing::with_signer_failure;
use crate::files::{self, Access, Placement};
use crate::store::{CurrentCrl, Inventory};
use crate::x509::{Certificate, KeyIdentifier, SerialNumber, Sha256, pem};

/// Default validity. It is long because an offline root signs rarely; push keeps gateways up to date.
const DEFAULT_VALIDITY: Duration = Duration::days(180);

/// Minimum validity, so that every machine has time to fetch the CRL.
const MIN_VALIDITY: Duration = Duration::HOUR;

/// Period after its expiry for which a certificate stays on the CRL, for machines with a slow clock.
pub(in crate::ca) const GRACE: Duration = Duration::HOUR;

/// Time by which a CRL is dated back, as certificates are, for machines with a slow clock.
const BACKDATE: Duration = Duration::minutes(5);

/// A CRL dated this far in the future was signed with a wrong clock. Gateways tolerate the same skew.
const CLOCK_SKEW: Duration = Duration::minutes(5);

/// The CRL file in the home, and its dates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublishedCrl {
    /// Path of the file.
    #[serde(serialize_with = "crate::files::as_text")]
    pub crl: PathBuf,
    /// The cRLNumber extension (RFC 5280, section 5.2.3).
    #[serde(serialize_with = "crate::x509::crl::serialize_crl_number")]
    pub crl_number: u64,
    /// The CRL's `thisUpdate`.
    #[serde(with = "time::serde::rfc3339")]
    pub this_update: OffsetDateTime,
    /// The CRL's `nextUpdate`.
    #[serde(with = "time::serde::rfc3339")]
    pub next_update: OffsetDateTime,
    /// Keys of roots that are no longer in the trust bundle. The file had their CRLs until now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<KeyIdentifier>,
}

impl Authority {
    /// Sign and publish a new CRL. `validity` defaults to that of the previous CRL and applies to later
    /// ones too. The CRL expires with the root at the latest.
    ///
    /// # Errors
    /// [`CaError::CrlValidity`] for a validity that is too short or ends after the root, before a number is
    /// reserved; otherwise mainly [`CaError::CrlNotWritten`].
    pub fn publish_crl(
        &mut self,
        validity: Option<Duration>,
        reason: Option<&str>,
    ) -> Result<PublishedCrl, CaError> {
        self.check_root_is_valid()?;
        self.cluster.check_revocations(&mut self.evidence)?;
        let provenance = self.cluster.context.provenance(reason);
        if let Some(validity) = validity {
            let root_end = self.cluster.root.not_after;
            let end = provenance.at.checked_add(validity).filter(|end| *end <= root_end);
            if validity < MIN_VALIDITY || end.is_none() {
                return Err(CaError::CrlValidity { given: validity, shortest: MIN_VALIDITY, root_end });
            }
        }
        let transaction = self.cluster.inventory.begin(&provenance)?;
        let (transaction, number) = transaction.reserve_crl_number(&self.cluster.issuer)?;
        let head = transaction.commit()?;
        self.write_crl(number, head, validity, &provenance)
    }

    /// Sign and publish the CRL with `number`, whose reservation ended the audit chain with `head`.
    pub(in crate::ca) fn write_crl(
        &mut self,
        number: u64,
        head: Head,
        validity: Option<Duration>,
        provenance: &Provenance,
    ) -> Result<PublishedCrl, CaError> {
        // Read before, unless a new caller forgets it: without the last CRL, nothing would be compared with it.
        self.cluster.check_revocations(&mut self.evidence)?;
        let cluster = &mut self.cluster;
        let last = cluster.inventory.active_issuer()?.crl;
        let validity =
            validity.or(last.map(|last| last.next_update - last.this_update)).unwrap_or(DEFAULT_VALIDITY);
        // A shorter validity, from an older version or near the root's expiry, is not inherited.
        let validity = validity.max(MIN_VALIDITY);
        let listed_until = last.map_or(OffsetDateTime::UNIX_EPOCH, |last| listed_until(&last, provenance.at));
        let entries = revoked_entries(&cluster.inventory, &cluster.issuer, listed_until)?;
        let anchor = AuditAnchor { origin: self.evidence.origin, head };
        let signed = sign(entries, (number, anchor), provenance.at, validity, &cluster.root, &self.signer);
        let (signed, current) = with_signer_failure(self.signer.key(), signed)?;
        self.check_succeeds_last(&signed, listed_until)?;
        let cluster = &mut self.cluster;
        let path = cluster.home.crl();
        let file = self.evidence.file.get_or_insert_default();
        let left_out = file.untrusted(&cluster.home.certificate());
        file.others.retain(|other| !left_out.contains(&other.issuer));
        write(&path, &signed.der, &file.others)
            .map_err(|source| CaError::CrlNotWritten { number, source })?;
        cluster.inventory.begin(provenance)?.record_crl(&cluster.issuer, &current)?.commit()?;
        cluster.last_crl = Some(OnceCell::from(Some(Arc::clone(&signed.crl))));
        // The statement only saves time. A service would be asked for another signature.
        let is_worth_it = signed.crl.len() > SHORT_CRL && file.others.is_empty();
        match self.signer.key().der() {
            Ok(_) if is_worth_it => {
                let _ = CrlStatement::write(&cluster.home, &current, anchor, self.signer.key());
            }
            _ => CrlStatement::remove(&cluster.home),
        }
        file.signed = Some(signed);
        Ok(PublishedCrl { left_out, ..self.cluster.published(&current) })
    }

    /// Refuse a CRL that lacks an entry of the last one, unless its certificate has expired or was released by this
    /// process, and one with an entry that is new or altered without an entry of the audit chain.
    fn check_succeeds_last(&self, new: &SignedCrl, listed_until: OffsetDateTime) -> Result<(), CaError> {
        let Some(last) = self.evidence.signed() else { return Ok(()) };
        let cluster = &self.cluster;
        new.differences(last, |difference| {
            let (CrlDifference::Changed(serial_number) | CrlDifference::Removed(serial_number)) = difference;
            if matches!(difference, CrlDifference::Changed(_))
                && self.evidence.own_changes.contains(&serial_number)
            {
                return Ok(());
            }
            let lost = || CaError::RevocationLost { serial_number, number: last.crl.number };
            let records = cluster.inventory.find(serial_number)?;
            let record = records.iter().find(|record| record.issuer == cluster.issuer).ok_or_else(lost)?;
            let is_released = record.release_entry.is_some_and(|entry| entry > self.evidence.head.seq);
            if is_released || matches!(difference, CrlDifference::Changed(_)) {
                return Ok(cluster.inventory.check_revocation(record)?);
            }
            let expired = cluster.genuine_certificate(record)?.not_after < listed_until;
            if record.revocation.is_some() && expired { Ok(()) } else { Err(lost()) }
        })
    }

    /// The reason to publish a new CRL now, if there is one.
    pub(in crate::ca) fn republish_reason(&self) -> Result<Option<RepublishReason>, CaError> {
        let issuer = self.cluster.inventory.active_issuer()?;
        let now = self.cluster.context.now();
        let half = |crl: CurrentCrl| crl.this_update + (crl.next_update - crl.this_update) / 2;
        Ok(match issuer.crl {
            // An expired root cannot sign, so the last CRL remains.
            _ if !self.cluster.root.is_valid_at(now) => None,
            _ if issuer.owes_crl() => Some(RepublishReason::Owed),
            _ if !files::occupied(&self.cluster.home.crl()) => Some(RepublishReason::Missing),
            Some(crl) if crl.this_update > now.saturating_add(CLOCK_SKEW) => Some(RepublishReason::Ahead),
            Some(crl) if half(crl) < now => Some(RepublishReason::Aged),
            _ => None,
        })
    }

    /// The current CRL. Publishes a new one if its file is not the one recorded, or has the CRL of a root that is no
    /// longer in the trust bundle.
    ///
    /// # Errors
    /// The errors of [`Authority::publish_crl`].
    pub fn ensure_crl(&mut self) -> Result<PublishedCrl, CaError> {
        self.cluster.check_revocations(&mut self.evidence)?;
        let (crl, certificate) = (self.cluster.home.crl(), self.cluster.home.certificate());
        let untrusted = self.evidence.file.as_ref().map(|file| file.untrusted(&certificate));
        let because = match self.cluster.inventory.active_issuer()?.crl {
            Some(recorded) if !file_holds(&crl, &recorded.sha256) => "the file was not the recorded CRL",
            Some(recorded) if untrusted.is_none_or(|untrusted| untrusted.is_empty()) => {
                return Ok(self.cluster.published(&recorded));
            }
            Some(_) => "the file had the CRL of a root that is not trusted",
            None => "the file was not the recorded CRL",
        };
        self.publish_crl(None, Some(because))
    }
}

impl Authority {
    /// Read the CRL file back, and refuse one that is not the last signed CRL, or lacks what it was signed for.
    pub(in crate::ca) fn check_published(
        &self,
        crl: &PublishedCrl,
        changed: impl IntoIterator<Item = SerialNumber>,
        revoked: bool,
    ) -> Result<(), CaError> {
        let number = crl.crl_number;
        let signed = self.evidence.signed();
        for serial_number in changed {
            if signed.is_none_or(|signed| signed.crl.contains(&serial_number) != revoked) {
                return Err(CaError::CrlLacksChange { number, serial_number, revoked });
            }
        }
        let others = self.evidence.file.as_ref().map_or(&[][..], |file| &file.others);
        if signed.is_some_and(|signed| is_written(&crl.crl, &signed.der, others)) {
            return Ok(());
        }
        let recorded = signed.and_then(|signed| signed.crl.number.to_u64());
        Err(CaError::CrlNotRecorded { path: crl.crl.clone(), number: number.into(), recorded })
    }
}

impl Cluster {
    fn published(&self, crl: &CurrentCrl) -> PublishedCrl {
        PublishedCrl {
            crl: self.home.crl(),
            crl_number: crl.number,
            this_update: crl.this_update,
            next_update: crl.next_update,
            left_out: Vec::new(),
        }
    }
}

/// The first, empty CRL of a new cluster.
pub(in crate::ca) fn first_crl(
    number: u64,
    anchor: AuditAnchor,
    at: OffsetDateTime,
    root: &Certificate,
    signer: &Issuer<'_, impl SigningKey>,
) -> Result<(String, CurrentCrl), CaError> {
    let entries = CrlEntries::with_capacity(0);
    let (signed, current) = sign(entries, (number, anchor), at, DEFAULT_VALIDITY, root, signer)?;
    Ok((pem::pem(pem::ObjectKind::Crl.label(), &signed.der), current))
}

/// Sign a CRL and verify it as a gateway would, so that an invalid one is never written.
fn sign(
    entries: CrlEntries,
    (number, anchor): (u64, AuditAnchor),
    at: OffsetDateTime,
    validity: Duration,
    root: &Certificate,
    signer: &Issuer<'_, impl SigningKey>,
) -> Result<(SignedCrl, CurrentCrl), CaError> {
    let no_key_identifier = || CaError::Signing { why: "the root has no key identifier".to_owned() };
    let this_update = at.saturating_sub(BACKDATE).max(root.not_before);
    // No CRL can be verified after its root has expired.
    let next_update = this_update.saturating_add(validity).min(root.not_after);
    let head = CrlHead {
        issuer: &root.subject.der,
        authority_key_identifier: root.subject_key_identifier.as_ref().ok_or_else(no_key_identifier)?,
        number,
        this_update,
        next_update,
        anchor,
    };
    let signed = SignedCrl::verify(entries.sign(&head, signer.key())?, root)?;
    let sha256 = signed.crl.sha256;
    Ok((signed, CurrentCrl { number, this_update, next_update, sha256 }))
}

/// Time up to which every expired certificate was listed on a CRL after its expiry. Limited to the
/// present: if the clock was ahead when the last CRL was signed, certificates may not have expired yet.
fn listed_until(last: &CurrentCrl, now: OffsetDateTime) -> OffsetDateTime {
    last.this_update.min(now) - GRACE
}

/// All revoked certificates, except expired ones that were listed on a CRL after their expiry (RFC
/// 5280, section 3.3).
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

/// Write the CRL, followed by those of other issuers.
fn write(path: &Path, der: &[u8], others: &[OtherCrl]) -> Result<(), files::FileError> {
    files::write_with(path, Access::Public, Placement::Replace, |out| write_text(der, others, out))
}

fn write_text(der: &[u8], others: &[OtherCrl], out: &mut dyn io::Write) -> io::Result<()> {
    pem::write(pem::ObjectKind::Crl, der, out)?;
    others.iter().try_for_each(|other| pem::write(pem::ObjectKind::Crl, &other.der, out))
}

/// True if the file has exactly what [`write()`] writes. Reading it as PEM would take several times as long.
fn is_written(path: &Path, der: &[u8], others: &[OtherCrl]) -> bool {
    let Ok(bytes) = files::read(path, files::CRL_FILE) else { return false };
    let mut expected = Expected(&bytes);
    write_text(der, others, &mut expected).is_ok() && expected.0.is_empty()
}

/// Writer that accepts exactly these octets.
struct Expected<'a>(&'a [u8]);

impl io::Write for Expected<'_> {
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(written).ok_or(io::ErrorKind::InvalidData)?;
        Ok(written.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// True if the first CRL of a file is the one with this digest.
fn file_holds(path: &Path, sha256: &Sha256) -> bool {
    files::read(path, files::CRL_FILE)
        .ok()
        .and_then(|bytes| pem::blocks_of(pem::ObjectKind::Crl, &bytes).ok())
        .is_some_and(|blocks| blocks.first().is_some_and(|block| Sha256::of(block.der()) == *sha256))
}
