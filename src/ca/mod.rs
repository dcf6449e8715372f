//! The certificate authority: root creation, issuing, renewal, revocation, CRLs, backup and diagnosis.
//!
//! [`Cluster`] is read access to a CA home. [`Authority`] is write access with the root key,
//! [`InventoryWriter`] without it, and [`KeyProtection`] changes how private keys are protected.
//! [`Home`] knows every file name in the directory. Nothing in this module prints, prompts, or uses the
//! network, except through the key management services of [`crate::keys`].

mod authenticity;
mod authority;
pub mod backup;
mod cluster;
mod context;
pub mod doctor;
mod error;
mod export;
mod forecast;
mod home;
mod initialize;
mod issuance;
mod keys;
mod listing;
mod revocation;
mod root_key;
mod signing;
mod target;
mod verify;

pub use authority::Authority;
pub use cluster::Cluster;
pub use context::{Context, random_uuid};
pub use error::CaError;
pub use export::{ExportedCertificate, TrustFiles};
pub use forecast::{Forecast, Gauges, Outage, OutageKind};
pub use home::directory::Home;
pub use home::inventory_writer::InventoryWriter;
pub use home::recovery_outcome::RecoveryOutcome;
pub use initialize::{Initialized, NewCluster, initialize};
pub use issuance::renew::{NotRenewed, PlannedRenewal, Renewal, Renewed, RenewedKey};
pub use issuance::request::{IssueRequest, IssuedCertificate, PlannedCertificate, SubjectKey};
pub use issuance::service_certificate::{ServiceCertificate, ServiceCertificateError};
pub use keys::kms::{
    OwnServiceKeys, ReplacementProtection, RewrapOutcome, Rewrapped, SecretStorage, ServiceCa,
};
pub use keys::protection::{KeyProtection, ProtectionChange};
pub use listing::{CertificateDetails, CertificateStatus, ListSelection, RecordPage, UnknownStatus};
pub use revocation::crl::PublishedCrl;
pub use revocation::republish_reason::RepublishReason;
pub use revocation::revoke::{BulkSelection, Released, Revoked};
pub use root_key::RootKey;
pub use target::{Target, TargetError};
pub use verify::{BrokenRule, Expectation, VerificationReport};
