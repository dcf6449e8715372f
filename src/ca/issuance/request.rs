//! Requests for leaf certificates, their plans, and the issued certificates.

use std::path::PathBuf;

use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::identity::{Host, Identity, Name, Role};
use crate::profile::{LeafPlan, Mismatch};
use crate::x509::{Certificate, Csr, KeyAlgorithm, SerialNumber};

/// One certificate that somebody asks for.
#[derive(Clone, Debug)]
pub struct IssueRequest {
    /// The role it is for.
    pub role: Role,
    /// The name within the role.
    pub name: Name,
    /// The hosts it shall serve as.
    pub hosts: Vec<Host>,
    /// Whose key is certified.
    pub key: KeySource,
    /// How long it shall hold; the profile's default otherwise.
    pub validity: Option<Duration>,
}

/// Where the key of a certificate comes from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// Made here, of this type or the profile's first.
    Generate(Option<KeyAlgorithm>),
    /// Made elsewhere and never seen here: the request proves that its sender has it.
    Request(Box<Csr>),
    /// That of an earlier certificate of the same identity.
    Certified(Box<Certificate>),
}

/// What an order comes to under its profile, before anything is made.
#[derive(Debug, Serialize)]
pub struct PlannedCertificate {
    /// The certificate that would be signed.
    #[serde(flatten)]
    pub plan: LeafPlan,
    /// What the request asks for beyond that; it is not granted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_granted: Vec<Mismatch>,
}

/// A certificate that was issued, and where it is.
#[derive(Debug, Serialize)]
pub struct IssuedCertificate {
    /// The certificate's file.
    #[serde(serialize_with = "crate::files::as_text")]
    pub certificate: PathBuf,
    /// The private key's file; none when the key was made elsewhere.
    #[serde(serialize_with = "crate::files::as_optional_text")]
    pub key: Option<PathBuf>,
    /// The serial number.
    pub serial_number: SerialNumber,
    /// The role.
    pub role: Role,
    /// The name within the role.
    pub name: Name,
    /// The SPIFFE ID.
    pub spiffe_id: Identity,
    /// The hosts it serves as.
    pub hosts: Vec<String>,
    /// When it begins to hold.
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    /// When it ceases to hold.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// What the request asked for and did not get.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_granted: Vec<Mismatch>,
}
