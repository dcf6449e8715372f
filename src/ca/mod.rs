//! The certificate authority: root creation, issuing, renewal, revocation, CRLs, backup and diagnosis.
//!
//! [`Cluster`] is read access to a CA home. [`Authority`] is write access with the root key,
//! [`InventoryWriter`] without it, and [`KeyProtection`] changes how private keys are protected.
//! [`Home`] knows every file name in the directory. Nothing in this module prints, prompts, or uses the
//! network, except through the key management services of [`crate::keys`].
//!
//! | file | contents |
//! |---|---|
//! | `authenticity` | Comparison of the inventory with what the root has signed, before anything is signed again |
//! | `authority` | Write access to a home, with the root key |
//! | `backup` | Encrypted online backup of a home, and restore that loses no revocation |
//! | `cluster` | Read access to a home: its inventory, its root, and the certificates in it |
//! | `context` | Context of every operation: clock, randomness, actor, and credentials for keys |
//! | `doctor` | Diagnosis of a home: all files, records and CRLs, and their consistency |
//! | `error` | Errors of the CA |
//! | `export` | Export of certificates with their keys, and of the trust files that every machine needs |
//! | `forecast` | Forecast of upcoming expirations and their consequences |
//! | `home` | The home directory of a CA: file names, locking, crash recovery, records about files |
//! | `initialize` | Creation of a cluster |
//! | `issuance` | Issuing and renewing leaf certificates |
//! | `keys` | Protection of the private keys of a home: passphrases and key management services |
//! | `listing` | Certificates as lists show them: their status, and pages of a listing |
//! | `revocation` | Revocation of certificates and publication of CRLs |
//! | `root_key` | Root key that a server opens once and uses for every change |
//! | `signing` | Shared parts of signing certificates and CRLs |
//! | `target` | References to certificates, as users type them |
//! | `verify` | Verification of a certificate as the machines of the cluster would do it, with all violations |

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
pub use keys::tls_pair::{TlsPair, TlsPairError};
pub use listing::{CertificateDetails, CertificateStatus, ListSelection, RecordPage, UnknownStatus};
pub use revocation::crl::PublishedCrl;
pub use revocation::republish_reason::RepublishReason;
pub use revocation::revoke::{BulkSelection, Released, Revoked};
pub use root_key::RootKey;
pub use target::{Target, TargetError};
pub use verify::{BrokenRule, Expectation, VerificationReport};
