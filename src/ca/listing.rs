//! Certificates as lists show them: their status, and pages of a listing.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use time::OffsetDateTime;

use super::cluster::Cluster;
use super::error::CaError;
use crate::audit::{AuditEntry, Provenance};
use crate::store::{AuditFilter, CertificateId, Filter, Record, RecordStatus, StoreError};

/// Status of a certificate, shared by tables, JSON and filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateStatus {
    /// The serial number is reserved; the certificate was not signed.
    Reserved,
    /// Valid, and not renewed.
    Valid,
    /// Valid, and replaced by a newer certificate.
    Renewed,
    /// Past its notAfter.
    Expired,
    /// Suspended (certificateHold).
    OnHold,
    /// Revoked permanently.
    Revoked,
}

impl CertificateStatus {
    /// Every status.
    pub const ALL: [Self; 6] =
        [Self::Reserved, Self::Valid, Self::Renewed, Self::Expired, Self::OnHold, Self::Revoked];

    /// Status of a certificate at `now`.
    #[must_use]
    pub fn of(record: &Record, now: OffsetDateTime) -> Self {
        match record.status(now) {
            RecordStatus::Reserved => Self::Reserved,
            RecordStatus::Valid if record.superseded_by.is_some() => Self::Renewed,
            RecordStatus::Valid => Self::Valid,
            RecordStatus::Expired => Self::Expired,
            RecordStatus::Revoked if record.is_on_hold() => Self::OnHold,
            RecordStatus::Revoked => Self::Revoked,
        }
    }

    /// The coarser status that the inventory filters by.
    #[must_use]
    pub const fn recorded(self) -> RecordStatus {
        match self {
            Self::Reserved => RecordStatus::Reserved,
            Self::Valid | Self::Renewed => RecordStatus::Valid,
            Self::Expired => RecordStatus::Expired,
            Self::OnHold | Self::Revoked => RecordStatus::Revoked,
        }
    }

    /// The word on the command line and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Valid => "valid",
            Self::Renewed => "renewed",
            Self::Expired => "expired",
            Self::OnHold => "on-hold",
            Self::Revoked => "revoked",
        }
    }
}

impl FromStr for CertificateStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(UnknownStatus)
    }
}

/// A text that is no status of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reserved, valid, renewed, expired, on-hold or revoked was expected")]
pub struct UnknownStatus;

impl fmt::Display for CertificateStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Certificates to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListSelection {
    /// Conditions; the status is set by [`ListSelection::status`].
    pub filter: Filter,
    /// Only this status.
    pub status: Option<CertificateStatus>,
}

/// Some certificates of a listing.
#[derive(Debug)]
pub struct RecordPage {
    /// The certificates.
    pub records: Vec<Record>,
    /// True if more follow the last one.
    pub more: bool,
}

impl Cluster {
    /// The first `limit` certificates in `selection` that follow `after`. A condition on the expiry implies
    /// valid ones.
    ///
    /// # Errors
    /// [`StoreError::UnknownSerial`] for an unknown `after`, and other errors of the inventory.
    pub fn page(
        &self,
        selection: &ListSelection,
        after: Option<&CertificateId>,
        limit: usize,
    ) -> Result<RecordPage, CaError> {
        let now = self.context.clock.now();
        let mut page = RecordPage { records: Vec::with_capacity(limit), more: false };
        let result = self.inventory.list_after(&selection.recorded(), after, now, |record| {
            if !selection.matches(&record, now) {
                return Ok(());
            }
            if page.records.len() == limit {
                page.more = true;
                return Err(PageEnd::Full);
            }
            page.records.push(record);
            Ok(())
        });
        match result {
            Ok(()) | Err(PageEnd::Full) => Ok(page),
            Err(PageEnd::Store(error)) => Err(error.into()),
        }
    }
}

/// History of a certificate.
#[derive(Debug)]
pub struct CertificateDetails {
    /// Time, actor and reason of its issue, or of its reservation.
    pub issued: Option<Provenance>,
    /// Time at which its private key was deleted from the home.
    pub key_forgotten_at: Option<OffsetDateTime>,
    /// Its renewals, itself included, the oldest first.
    pub lineage: Vec<Record>,
}

impl Cluster {
    /// The history of a certificate.
    ///
    /// # Errors
    /// Errors of the inventory.
    pub fn details(&self, record: &Record) -> Result<CertificateDetails, CaError> {
        let entry = record.issue.map_or(record.reserve_entry, |issue| issue.entry);
        let provenance =
            |entry| Ok::<_, CaError>(self.inventory.audit_entry(entry)?.map(|entry| entry.event.provenance));
        let forgotten = record.key_forgotten.map(provenance).transpose()?.flatten();
        Ok(CertificateDetails {
            issued: provenance(entry)?,
            key_forgotten_at: forgotten.map(|provenance| provenance.at),
            lineage: self.inventory.lineage(&record.id())?,
        })
    }

    /// The first `limit` audit entries that match `filter`; true if more follow.
    ///
    /// # Errors
    /// Errors of the inventory.
    pub fn audit_page(&self, filter: &AuditFilter, limit: usize) -> Result<(Vec<AuditEntry>, bool), CaError> {
        let (mut entries, mut more) = (Vec::with_capacity(limit), false);
        let result = self.inventory.list_audit(filter, |entry| {
            if entries.len() == limit {
                more = true;
                return Err(PageEnd::Full);
            }
            entries.push(entry);
            Ok(())
        });
        match result {
            Ok(()) | Err(PageEnd::Full) => Ok((entries, more)),
            Err(PageEnd::Store(error)) => Err(error.into()),
        }
    }
}

impl ListSelection {
    fn recorded(&self) -> Filter {
        let of_expiry = self.filter.expires_before.map(|_| RecordStatus::Valid);
        let status = self.status.map(CertificateStatus::recorded).or(of_expiry);
        Filter { status, ..self.filter.clone() }
    }

    fn matches(&self, record: &Record, now: OffsetDateTime) -> bool {
        self.status.is_none_or(|status| status == CertificateStatus::of(record, now))
    }
}

/// Reason to end the listing of a page.
enum PageEnd {
    Full,
    Store(StoreError),
}

impl From<StoreError> for PageEnd {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
