//! Requests for leaf certificates, their plans, and the issued certificates.

use std::path::PathBuf;

use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::identity::{Host, Identity, MachineLabel, Name, Role};
use crate::profile::{LeafPlan, Mismatch};
use crate::x509::{Certificate, Csr, KeyAlgorithm, SerialNumber};

/// A request for one certificate.
#[derive(Clone, Debug)]
pub struct IssueRequest {
    /// Role of the identity.
    pub role: Role,
    /// Name within the role.
    pub name: Name,
    /// Hosts for the subject alternative names, as DNS names and IP addresses.
    pub hosts: Vec<Host>,
    /// Source of the key.
    pub key: SubjectKey,
    /// Validity. Defaults to the profile's.
    pub validity: Option<Duration>,
    /// Label of the machine, for the inventory.
    pub label: Option<MachineLabel>,
}

/// Source of a certificate's key.
#[derive(Clone, Debug)]
pub enum SubjectKey {
    /// Generated here, of this type or the profile's default.
    Generate(Option<KeyAlgorithm>),
    /// Generated elsewhere. The CSR proves possession of the private key.
    Csr(Box<Csr>),
    /// The key of an earlier certificate of the same identity.
    Existing(Box<Certificate>),
}

/// The plan for a request under its profile, before anything is created.
#[derive(Debug, Serialize)]
pub struct PlannedCertificate {
    /// The certificate to sign.
    #[serde(flatten)]
    pub plan: LeafPlan,
    /// Attributes of the CSR that are not granted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_granted: Vec<Mismatch>,
}

/// An issued certificate and its files.
#[derive(Debug, Serialize)]
pub struct IssuedCertificate {
    /// Path of the certificate.
    #[serde(serialize_with = "crate::files::as_text")]
    pub certificate: PathBuf,
    /// Path of the private key. `None` if it was generated elsewhere.
    #[serde(serialize_with = "crate::files::as_optional_text")]
    pub key: Option<PathBuf>,
    /// Serial number, 128 random bits.
    pub serial_number: SerialNumber,
    /// Role of the identity.
    pub role: Role,
    /// Name within the role.
    pub name: Name,
    /// Identity in the URI SAN.
    pub spiffe_id: Identity,
    /// Label of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<MachineLabel>,
    /// Hosts in the subject alternative names.
    pub hosts: Vec<String>,
    /// Start of validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    /// Expiry.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// Path to which the revoked or expired certificate in its place was moved, with its key beside it.
    #[serde(serialize_with = "crate::files::as_optional_text", skip_serializing_if = "Option::is_none")]
    pub superseded: Option<PathBuf>,
    /// Attributes of the CSR that were not granted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_granted: Vec<Mismatch>,
}
