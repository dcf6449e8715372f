//! Errors of the CA.

use std::path::{Path, PathBuf};

use time::{Duration, OffsetDateTime};

use super::target::{Target, TargetError};
use crate::clock::{EntropyError, format_duration, rfc3339};
use crate::error::{Code, Coded};
use crate::files::FileError;
use crate::identity::{IdentityError, Name, Role};
use crate::keys::kms::KmsError;
use crate::keys::{KeyError, Protection};
use crate::profile::{IssuancePolicyError, ProfileError};
use crate::revocation::{CrlError, RevocationReason};
use crate::store::{RecordStatus, StoreError};
use crate::x509::crl::CrlNumber;
use crate::x509::trust::TrustError;
use crate::x509::{SerialNumber, Sha256, X509Error};

/// An operation that the CA refused or could not complete.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// Several certificates match.
    #[error("{target} matches {} certificates: {}", candidates.len(), candidates.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Ambiguous {
        /// The reference.
        target: Target,
        /// Serial numbers of all matches, newest first.
        candidates: Vec<SerialNumber>,
    },
    /// The clock is behind the newest record of the inventory, so that no time can be relied on.
    #[error(
        "the clock of this machine shows {}, before the newest record of the CA, of {}",
        rfc3339(*now),
        rfc3339(*newest)
    )]
    ClockBehind {
        /// Time that the clock shows.
        now: OffsetDateTime,
        /// Time of the newest record.
        newest: OffsetDateTime,
    },
    /// Invalid CRL.
    #[error(transparent)]
    Crl(#[from] CrlError),
    /// A CRL lacks revocations recorded in the inventory.
    #[error("CRL {number} lacks {missing} revoked certificates")]
    CrlIncomplete {
        /// CRL number.
        number: CrlNumber,
        /// Number of revocations not in it.
        missing: u64,
    },
    /// The CRL has expired, or a newer one is recorded but not yet published.
    #[error("CRL {number} has expired, or a newer one is recorded but not yet published")]
    CrlNotCurrent {
        /// CRL number.
        number: CrlNumber,
    },
    /// The CRL in a file is not the last one recorded.
    #[error("{} is CRL {number}, not the CRL last recorded in the inventory{}", path.display(), recorded.map(|number| format!(" (CRL {number})")).unwrap_or_default())]
    CrlNotRecorded {
        /// Path of the file.
        path: PathBuf,
        /// Number of the CRL in the file.
        number: CrlNumber,
        /// Number of the CRL last recorded.
        recorded: Option<u64>,
    },
    /// The change is recorded, but the CRL file could not be written.
    #[error("the change is recorded, but CRL {number} could not be written")]
    CrlNotWritten {
        /// CRL number.
        number: u64,
        /// The cause.
        source: FileError,
    },
    /// Validity of a CRL too short, or beyond the root's expiry.
    #[error(
        "a CRL must be valid for at least {} and not beyond the root's expiry at {}; {} was requested",
        format_duration(*shortest), rfc3339(*root_end), format_duration(*given)
    )]
    CrlValidity {
        /// Requested validity.
        given: Duration,
        /// Minimum validity.
        shortest: Duration,
        /// Expiry of the root.
        root_end: OffsetDateTime,
    },
    /// The random generator failed.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A file could not be read or written, or its mode or owner is unsafe.
    #[error(transparent)]
    File(#[from] FileError),
    /// A certificate or key file does not match the recorded certificate.
    #[error("{} does not match certificate {serial_number} as recorded in the inventory", path.display())]
    FileMismatch {
        /// Path of the file.
        path: PathBuf,
        /// Serial number of the recorded certificate.
        serial_number: SerialNumber,
    },
    /// Invalid contents of a file.
    #[error("{}: {error}", path.display())]
    InFile {
        /// Path of the file.
        path: PathBuf,
        /// The cause.
        error: Box<CaError>,
    },
    /// The key in a service or token does not match the root certificate.
    #[error("the key of {by} does not match the root certificate in {}", certificate.display())]
    RemoteKeyMismatch {
        /// Service or token that holds the key.
        by: String,
        /// Path of the root certificate.
        certificate: PathBuf,
    },
    /// A label is given to an identity that is no machine.
    #[error("{role}/{name} takes no label: labels name the machines of nodes")]
    LabelWithoutMachine {
        /// Role of the identity.
        role: Role,
        /// Name within the role.
        name: Name,
    },
    /// The directory is not empty and is accessible to others.
    #[error("{} is accessible to other users and not empty: a CA home must be private to its owner", directory.display())]
    HomeExposed {
        /// Path of the directory.
        directory: PathBuf,
    },
    /// The directory contains no cluster.
    #[error("there is no cluster in {}", directory.display())]
    HomeMissing {
        /// Path of the directory.
        directory: PathBuf,
    },
    /// The directory contains a cluster, or part of one.
    #[error("{} already contains: {}", directory.display(), files.join(", "))]
    HomeOccupied {
        /// Path of the directory.
        directory: PathBuf,
        /// Names of the cluster's files that exist.
        files: Vec<&'static str>,
    },
    /// Invalid name or identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The identity is revoked or on hold, so it is not renewed.
    #[error("{role}/{name} is not renewed: certificate {serial_number} was revoked on {} ({reason})", rfc3339(*at))]
    IdentityRevoked {
        /// Role of the identity.
        role: Role,
        /// Name within the role.
        name: Name,
        /// Serial number of the revoked certificate: the one to renew, or the newest of the identity.
        serial_number: SerialNumber,
        /// Time of revocation.
        at: OffsetDateTime,
        /// Reason for revocation.
        reason: RevocationReason,
    },
    /// An interrupted `initialize` was completed instead of starting a new one.
    #[error("completed an interrupted initialize in {}; no second cluster was created", directory.display())]
    InitializeResumed {
        /// Path of the directory.
        directory: PathBuf,
    },
    /// The public key was revoked as compromised.
    #[error("the key is refused: certificate {serial_number} with the same key was revoked as compromised on {}", rfc3339(*at))]
    KeyCompromised {
        /// Serial number of the revoked certificate.
        serial_number: SerialNumber,
        /// Time of revocation.
        at: OffsetDateTime,
    },
    /// The inventory numbers the next CRL far above the last one.
    #[error("{} numbers the next CRL {next}, although the last one is CRL {number}", inventory.display())]
    InventoryAhead {
        /// Path of the inventory.
        inventory: PathBuf,
        /// Number of the last CRL.
        number: u64,
        /// Number that the next CRL would have.
        next: u64,
    },
    /// The inventory is older than the CRL in the home.
    #[error("{} is older than {}: its last CRL is {last}, but the file is CRL {number}", inventory.display(), crl.display())]
    InventoryBehind {
        /// Path of the inventory.
        inventory: PathBuf,
        /// Path of the CRL.
        crl: PathBuf,
        /// Number of the CRL in the file.
        number: CrlNumber,
        /// Highest CRL number in the inventory.
        last: u64,
    },
    /// The home has a root but no inventory.
    #[error("the inventory ca.db of the cluster in {} is missing", directory.display())]
    InventoryMissing {
        /// Path of the directory.
        directory: PathBuf,
    },
    /// A private key could not be opened or generated.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The private key was not generated by this CA, which therefore cannot replace it.
    #[error("the key of certificate {serial_number} was not generated by this CA")]
    ExternalKey {
        /// Serial number of the certificate.
        serial_number: SerialNumber,
    },
    /// The root key does not match the root certificate.
    #[error("{} does not match the root certificate in {}", key.display(), certificate.display())]
    KeyMismatch {
        /// Path of the key.
        key: PathBuf,
        /// Path of the root certificate.
        certificate: PathBuf,
    },
    /// The certificate is not on hold, so there is no hold to lift.
    #[error("certificate {serial_number} is not on hold")]
    NotOnHold {
        /// Serial number of the certificate.
        serial_number: SerialNumber,
    },
    /// Keys are still wrapped by the key management service.
    #[error("{} private keys are wrapped by the key management service: {}", keys.len(), keys.iter().map(|key| key.display().to_string()).collect::<Vec<_>>().join(", "))]
    KeysWrapped {
        /// Paths of the keys.
        keys: Vec<PathBuf>,
    },
    /// A key management service could not be used.
    #[error(transparent)]
    Kms(#[from] KmsError),
    /// No key management service is configured.
    #[error("no key management service is configured")]
    NoKms,
    /// No certificate was given.
    #[error("there is no certificate to verify")]
    NothingToVerify,
    /// The certificate is not valid.
    #[error("certificate {serial_number} of {role}/{name} is {status}")]
    NotValid {
        /// Serial number of the certificate.
        serial_number: SerialNumber,
        /// Role of the identity.
        role: Role,
        /// Name within the role.
        name: Name,
        /// Actual status.
        status: RecordStatus,
    },
    /// Two requests of one call are for the same identity.
    #[error("{role}/{name} is requested twice")]
    DuplicateRequest {
        /// Role of the identity.
        role: Role,
        /// Name within the role.
        name: Name,
    },
    /// A profile refused the certificate.
    #[error(transparent)]
    Policy(#[from] IssuancePolicyError),
    /// Invalid profiles.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A root cannot be on the CRL that it signs.
    #[error("certificate {serial_number} is the cluster's root: a root cannot revoke itself")]
    RootOnOwnCrl {
        /// Serial number of the root.
        serial_number: SerialNumber,
    },
    /// The key's protection is not the one that the operation expects.
    #[error("the protection of {} is not what this command changes: {by}", path.display())]
    UnexpectedProtection {
        /// Path of the key.
        path: PathBuf,
        /// Actual protection.
        by: Protection,
    },
    /// The key that a certificate is exported with is protected.
    #[error("the private key in {} is protected: {by}", path.display())]
    ProtectedKey {
        /// Path of the key.
        path: PathBuf,
        /// Its protection.
        by: Protection,
    },
    /// No Vault signs as the root.
    #[error("the root key is not in a Vault: there is no token or role to replace")]
    NoVaultSigner,
    /// The public key to certify is a root's.
    #[error("the key is a root key: it must not be used in any other certificate")]
    RootKey,
    /// The new key would be less protected than the old one.
    #[error("the new key at {} would lack the protection of the old one: {by}", path.display())]
    LosesProtection {
        /// Path of the old key.
        path: PathBuf,
        /// Protection of the old key.
        by: Protection,
    },
    /// The root has expired.
    #[error("the root expired at {}", rfc3339(*not_after))]
    RootExpired {
        /// Expiry of the root.
        not_after: OffsetDateTime,
    },
    /// The root is not valid yet.
    #[error(
        "the root is not valid before {}, and the clock of this machine shows {}",
        rfc3339(*not_before),
        rfc3339(*now)
    )]
    RootNotYetValid {
        /// Time that the clock shows.
        now: OffsetDateTime,
        /// Start of the root's validity.
        not_before: OffsetDateTime,
    },
    /// The CSR has the same public key as the certificate to replace.
    #[error("the CSR has the same key as certificate {serial_number}")]
    SameKey {
        /// Serial number of the certificate.
        serial_number: SerialNumber,
    },
    /// A file with no CRL, or with several.
    #[error("{} does not contain exactly one CRL", path.display())]
    SeveralCrls {
        /// Path of the file.
        path: PathBuf,
    },
    /// The signing library failed, or its result differs from the plan.
    #[error("cannot sign: {why}")]
    Signing {
        /// Description of the failure.
        why: String,
    },
    /// The inventory refused a change or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The certificate has already been renewed.
    #[error("certificate {serial_number} was already renewed: certificate {by} replaces it")]
    Superseded {
        /// Serial number of the certificate.
        serial_number: SerialNumber,
        /// Serial number of its replacement.
        by: SerialNumber,
    },
    /// Invalid root or trust bundle.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The cluster name is not a valid trust domain.
    #[error("the cluster name `{name}` is not a valid trust domain")]
    TrustDomain {
        /// The cluster name.
        name: String,
        /// The rule it violates.
        source: IdentityError,
    },
    /// No certificate matches.
    #[error("there is no certificate {target}")]
    UnknownCertificate {
        /// The reference.
        target: Target,
    },
    /// The inventory does not record a revocation that the root signed.
    #[error(
        "certificate {serial_number} is on CRL {number}, which the root signed, but the inventory does not say that it is revoked"
    )]
    RevocationLost {
        /// Serial number of the revoked certificate.
        serial_number: SerialNumber,
        /// Number of the CRL.
        number: CrlNumber,
    },
    /// A row of the inventory differs from the signed certificate.
    #[error(
        "the inventory was changed by another program: it names certificate {serial_number} {role}/{name}, but {why}"
    )]
    RecordDiffers {
        /// Serial number in the row.
        serial_number: SerialNumber,
        /// Role in the row.
        role: Role,
        /// Name in the row.
        name: Name,
        /// The difference.
        why: &'static str,
    },
    /// The cluster in the inventory differs from its root.
    #[error("{} was changed by another program: {why}", inventory.display())]
    RootDiffers {
        /// Path of the inventory.
        inventory: PathBuf,
        /// The difference.
        why: &'static str,
    },
    /// A CRL was written, but does not have the change that it was signed for.
    #[error("CRL {number} was signed, but it does not say that certificate {serial_number} is {}", if *revoked { "revoked" } else { "released" })]
    CrlLacksChange {
        /// Number of the CRL.
        number: u64,
        /// Serial number of the changed certificate.
        serial_number: SerialNumber,
        /// True for a revocation or hold, false for a release.
        revoked: bool,
    },
    /// No certificate was issued for the public key.
    #[error("no certificate was issued for the key with SHA-256 {public_key}")]
    UnknownKey {
        /// SHA-256 of its SubjectPublicKeyInfo.
        public_key: Sha256,
    },
    /// Invalid X.509 data.
    #[error(transparent)]
    X509(#[from] X509Error),
}

impl CaError {
    /// Add a path to an error that does not name one.
    pub(super) fn in_file<E: Into<Self>>(path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        |error| Self::InFile { path, error: Box::new(error.into()) }
    }

    /// True if the same operation may succeed later without a change here.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Key(error) => error.is_temporary(),
            Self::Kms(error) => error.is_temporary(),
            _ => false,
        }
    }
}

impl Coded for CaError {
    fn coded(&self) -> Code {
        match self {
            Self::Ambiguous { .. } => Code::refused("ca.ambiguous"),
            Self::ClockBehind { .. } => Code::refused("home.clock_behind"),
            Self::Crl(error) => error.coded(),
            Self::CrlIncomplete { .. } => Code::refused("ca.crl_incomplete"),
            Self::CrlNotCurrent { .. } => Code::refused("ca.crl_not_current"),
            Self::CrlNotRecorded { .. } => Code::refused("ca.crl_not_recorded"),
            Self::CrlNotWritten { .. } => Code::environment("ca.crl_not_written"),
            Self::CrlValidity { .. } => Code::usage("input.crl_validity"),
            Self::Entropy(error) => error.coded(),
            Self::File(error) => error.coded(),
            Self::FileMismatch { .. } => Code::refused("ca.file_foreign"),
            Self::RemoteKeyMismatch { .. } => Code::refused("home.held_key_mismatch"),
            Self::HomeExposed { .. } => Code::refused("home.exposed_directory"),
            Self::HomeMissing { .. } => Code::environment("home.missing"),
            Self::InventoryMissing { .. } => Code::refused("home.inventory_missing"),
            Self::HomeOccupied { .. } => Code::refused("home.occupied"),
            Self::Identity(error) => error.coded(),
            Self::IdentityRevoked { .. } => Code::refused("ca.identity_revoked"),
            Self::InFile { error, .. } => error.coded(),
            Self::InitializeResumed { .. } => Code::refused("home.initialize_resumed"),
            Self::InventoryAhead { .. } => Code::refused("home.inventory_ahead"),
            Self::InventoryBehind { .. } => Code::refused("home.inventory_behind"),
            Self::Key(error) => error.coded(),
            Self::ExternalKey { .. } => Code::refused("ca.key_elsewhere"),
            Self::KeyMismatch { .. } => Code::refused("home.key_mismatch"),
            Self::LabelWithoutMachine { .. } => Code::refused("ca.label_without_machine"),
            Self::NotOnHold { .. } => Code::refused("ca.not_on_hold"),
            Self::KeysWrapped { .. } => Code::refused("ca.keys_wrapped"),
            Self::Kms(error) => error.coded(),
            Self::NoKms => Code::refused("ca.no_kms"),
            Self::NothingToVerify => Code::refused("ca.nothing_to_verify"),
            Self::NotValid { .. } => Code::refused("ca.not_valid"),
            Self::DuplicateRequest { .. } => Code::refused("ca.ordered_twice"),
            Self::Policy(error) => error.coded(),
            Self::Profile(error) => error.coded(),
            Self::UnexpectedProtection { by, .. } => match by {
                Protection::NotExportable { .. } => Code::refused("key.held"),
                Protection::Kms { .. } => Code::refused("key.protected_by_kms"),
                Protection::None => Code::refused("key.not_protected"),
                Protection::Passphrase => Code::refused("key.protected_by_passphrase"),
            },
            Self::KeyCompromised { .. } => Code::refused("ca.key_compromised"),
            Self::RevocationLost { .. } => Code::refused("ca.revocation_lost"),
            Self::RecordDiffers { .. } => Code::refused("ca.record_differs"),
            Self::RootDiffers { .. } => Code::refused("home.root_differs"),
            Self::CrlLacksChange { .. } => Code::refused("ca.crl_lacks_change"),
            Self::RootKey => Code::refused("ca.root_key"),
            Self::RootExpired { .. } => Code::refused("home.root_expired"),
            Self::RootNotYetValid { .. } => Code::refused("home.root_not_yet_valid"),
            Self::RootOnOwnCrl { .. } => Code::refused("ca.root_on_own_crl"),
            Self::SameKey { .. } => Code::refused("ca.same_key"),
            Self::SeveralCrls { .. } => Code::refused("ca.several_crls"),
            Self::Signing { .. } => Code::refused("ca.signing"),
            Self::Store(error) => error.coded(),
            Self::Superseded { .. } => Code::refused("ca.superseded"),
            Self::Trust(error) => error.coded(),
            Self::LosesProtection { .. } => Code::refused("ca.unprotects"),
            Self::NoVaultSigner => Code::refused("ca.no_vault_signer"),
            Self::ProtectedKey { .. } => Code::refused("ca.protected_key"),
            Self::TrustDomain { .. } => Code::usage("name.trust_domain"),
            Self::UnknownCertificate { .. } => Code::refused("ca.unknown_certificate"),
            Self::UnknownKey { .. } => Code::refused("ca.unknown_key"),
            Self::X509(error) => error.coded(),
        }
    }
}

impl From<TargetError> for CaError {
    fn from(error: TargetError) -> Self {
        match error {
            TargetError::Identity(error) => error.into(),
            TargetError::SerialNumber(error) => error.into(),
        }
    }
}
