//! Certificates in the bodies of responses.

use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::ca::{CertificateStatus, Cluster};
use crate::clock::rfc3339;
use crate::identity::Identity;
use crate::store::Record;

/// Certificate in the inventory.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CertificateBody {
    /// Serial number in hexadecimal.
    pub(super) serial_number: String,
    /// Key identifier of the issuer.
    issuer: String,
    /// `control-service`, `node-agent` or `api-user`.
    role: String,
    /// Name within the role.
    name: String,
    /// Label of the machine, which the inventory keeps; no certificate contains it.
    label: Option<String>,
    /// Identity in the URI SAN.
    spiffe_id: String,
    /// `reserved`, `valid`, `renewed`, `expired`, `on-hold` or `revoked`.
    status: String,
    /// Start of validity.
    #[schema(format = DateTime)]
    not_before: Option<String>,
    /// Expiry.
    #[schema(format = DateTime)]
    not_after: Option<String>,
    /// SHA-256 of the certificate in DER.
    fingerprint: Option<String>,
    /// Time of revocation or suspension.
    #[schema(format = DateTime)]
    revoked_at: Option<String>,
    /// Reason of revocation, such as `key-compromise`.
    reason: Option<String>,
    /// Serial number of the certificate that this one replaced.
    supersedes: Option<String>,
    /// Serial number of the certificate that replaced this one.
    superseded_by: Option<String>,
}

impl CertificateBody {
    /// Body for a record.
    pub(super) fn new(record: &Record, cluster: &Cluster, now: OffsetDateTime) -> Self {
        let reservation = &record.reservation;
        let identity = Identity {
            trust_domain: cluster.trust_domain().clone(),
            role: reservation.role,
            name: reservation.name.clone(),
        };
        Self {
            serial_number: reservation.serial_number.to_string(),
            issuer: record.issuer.to_string(),
            role: reservation.role.to_string(),
            name: reservation.name.to_string(),
            label: reservation.label.as_ref().map(ToString::to_string),
            spiffe_id: identity.to_string(),
            status: CertificateStatus::of(record, now).to_string(),
            not_before: record.issue.map(|issue| rfc3339(issue.not_before)),
            not_after: record.issue.map(|issue| rfc3339(issue.not_after)),
            fingerprint: record.issue.map(|issue| issue.fingerprint.to_string()),
            revoked_at: record.revocation.map(|revocation| rfc3339(revocation.at)),
            reason: record.revocation.map(|revocation| revocation.reason.to_string()),
            supersedes: reservation.supersedes.as_ref().map(|old| old.serial_number.to_string()),
            superseded_by: record.superseded_by.as_ref().map(|new| new.serial_number.to_string()),
        }
    }
}

/// Some certificates of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CertificatePage {
    /// The certificates.
    pub(super) items: Vec<CertificateBody>,
    /// Cursor of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

/// Certificate with its history.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CertificateDetailsBody {
    /// Facts that lists show too.
    #[serde(flatten)]
    pub(super) certificate: CertificateBody,
    /// SHA-256 of the profile that it follows.
    pub(super) profile: String,
    /// Time at which its serial number was reserved.
    #[schema(format = DateTime)]
    pub(super) reserved_at: String,
    /// Actor that issued it.
    pub(super) issued_by: Option<String>,
    /// Reason given when it was issued.
    pub(super) why: Option<String>,
    /// Time at which its private key was deleted from the CA.
    #[schema(format = DateTime)]
    pub(super) key_forgotten_at: Option<String>,
    /// Serial numbers of its renewals, itself included, the oldest first.
    pub(super) lineage: Vec<String>,
}
