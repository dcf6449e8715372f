//! Certificates from reservation to revocation.

use std::fmt;
use std::path::PathBuf;

use time::OffsetDateTime;

use super::status::RecordStatus;
use crate::identity::{MachineLabel, Name, Role};
use crate::revocation::RevocationReason;
use crate::x509::{KeyIdentifier, SerialNumber, Sha256};

/// Unique name of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateId {
    /// Key that signed it.
    pub issuer: KeyIdentifier,
    /// Serial number, unique for the issuer.
    pub serial_number: SerialNumber,
}

/// The form in the audit chain: `ISSUER/SERIAL`.
impl fmt::Display for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.issuer, self.serial_number)
    }
}

/// Certificate about to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Random, and unique per issuer.
    pub serial_number: SerialNumber,
    /// Role of the identity.
    pub role: Role,
    /// Name of the identity.
    pub name: Name,
    /// SHA-256 of the profile that it follows.
    pub profile: Sha256,
    /// Destination of the certificate file.
    pub certificate_path: PathBuf,
    /// Destination of the key file; `None` when the key was not generated here, or was deleted.
    pub key_path: Option<PathBuf>,
    /// Certificate that it replaces; `None` for the first one of an identity.
    pub supersedes: Option<CertificateId>,
    /// Label of the machine.
    pub label: Option<MachineLabel>,
}

/// Certificate, from the reservation of its serial number on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Key that signs it.
    pub issuer: KeyIdentifier,
    /// Reservation that the record began with.
    pub reservation: Reservation,
    /// Time of the reservation.
    pub reserved_at: OffsetDateTime,
    /// Audit entry of the reservation.
    pub reserve_entry: u64,
    /// The issued certificate; `None` while it is only reserved.
    pub issue: Option<Issuance>,
    /// Revocation or hold.
    pub revocation: Option<RevocationRecord>,
    /// Audit entry that lifted its hold; `None` unless it was on hold and no longer is.
    pub release_entry: Option<u64>,
    /// Certificate that replaced it; `None` while it is the newest.
    pub superseded_by: Option<CertificateId>,
    /// Audit entry that deleted its private key; `None` unless the key was generated here and deleted.
    pub key_forgotten: Option<u64>,
}

impl Record {
    /// The unique name.
    #[must_use]
    pub fn id(&self) -> CertificateId {
        CertificateId { issuer: self.issuer.clone(), serial_number: self.reservation.serial_number }
    }

    /// True if the recorded revocation is at least as strong as one for `reason`.
    #[must_use]
    pub fn covers(&self, reason: RevocationReason) -> bool {
        self.revocation.is_some() && (!self.is_on_hold() || reason == RevocationReason::CertificateHold)
    }

    /// True if it is on hold (CRL reason certificateHold).
    #[must_use]
    pub fn is_on_hold(&self) -> bool {
        self.revocation.is_some_and(|revocation| revocation.reason == RevocationReason::CertificateHold)
    }

    /// The status at `now`. A certificate before its notBefore counts as valid.
    #[must_use]
    pub fn status(&self, now: OffsetDateTime) -> RecordStatus {
        match (&self.issue, &self.revocation) {
            (_, Some(_)) => RecordStatus::Revoked,
            (None, None) => RecordStatus::Reserved,
            (Some(issue), None) if issue.not_after < now => RecordStatus::Expired,
            (Some(_), None) => RecordStatus::Valid,
        }
    }
}

/// Facts of an issued certificate; [`Inventory::certificate`](super::inventory::Inventory::certificate) reads
/// the certificate itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issuance {
    /// notBefore: first second of validity.
    pub not_before: OffsetDateTime,
    /// notAfter: last second of validity.
    pub not_after: OffsetDateTime,
    /// SHA-256 of its DER.
    pub fingerprint: Sha256,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub public_key: Sha256,
    /// True if its files are known to be written, or known to be lost.
    pub placed: bool,
    /// Audit entry.
    pub entry: u64,
}

/// Revocation or hold of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevocationRecord {
    /// Revocation date. A hold that became a revocation keeps its date.
    pub at: OffsetDateTime,
    /// Reason code.
    pub reason: RevocationReason,
    /// Audit entry.
    pub entry: u64,
}

/// CRL entry of a certificate, with the end of its validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevokedCertificate {
    /// Unique per issuer.
    pub serial_number: SerialNumber,
    /// Revocation date.
    pub revoked_at: OffsetDateTime,
    /// Reason code.
    pub reason: RevocationReason,
    /// notAfter: the CRL may drop the entry after it.
    pub not_after: OffsetDateTime,
}
