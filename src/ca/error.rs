//! Why the CA refused or failed.

use std::path::{Path, PathBuf};

use time::{Duration, OffsetDateTime};

use super::target::{Target, TargetError};
use crate::clock::{EntropyError, format_duration, rfc3339};
use crate::files::FileError;
use crate::identity::{IdentityError, Name, Role};
use crate::keys::kms::KmsError;
use crate::keys::{KeyError, Protection};
use crate::profile::{IssuancePolicyError, ProfileError};
use crate::revocation::{CrlError, RevocationReason};
use crate::store::{Status, StoreError};
use crate::x509::crl::CrlNumber;
use crate::x509::trust::TrustError;
use crate::x509::{SerialNumber, Sha256, X509Error};

/// Why the CA refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// The name fits several certificates.
    #[error("{target} fits {} certificates: {}", candidates.len(), candidates.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Ambiguous {
        /// What was asked for.
        target: Target,
        /// The serial numbers of those it fits, newest first.
        candidates: Vec<SerialNumber>,
    },
    /// A revocation list does not hold.
    #[error(transparent)]
    Crl(#[from] CrlError),
    /// The list lacks what is revoked.
    #[error("CRL {number} lacks {missing} certificates that are revoked")]
    CrlIncomplete {
        /// The list's number.
        number: CrlNumber,
        /// How many it lacks.
        missing: u64,
    },
    /// The list is past its end, or a newer one is owed.
    #[error("CRL {number} is past its end, or a newer one is recorded and still to be written")]
    CrlNotCurrent {
        /// The list's number.
        number: CrlNumber,
    },
    /// It is not the list that was recorded last.
    #[error("{} is CRL {number}, not the one that the inventory recorded last{}", path.display(), recorded.map(|number| format!(", CRL {number}")).unwrap_or_default())]
    CrlNotRecorded {
        /// The file.
        path: PathBuf,
        /// The number of the list in it.
        number: CrlNumber,
        /// The number of the one that was recorded.
        recorded: Option<u64>,
    },
    /// What was done is recorded; the list that tells of it could not be written.
    #[error("all is recorded, but CRL {number} could not be written")]
    CrlNotWritten {
        /// The list's number.
        number: u64,
        /// Why not.
        source: FileError,
    },
    /// No list is made that ends so soon or so late.
    #[error(
        "a revocation list holds for {} at least, and not past the root's end at {}; {} is not within that",
        format_duration(*shortest), rfc3339(*root_end), format_duration(*given)
    )]
    CrlValidity {
        /// How long it was to hold.
        given: Duration,
        /// The shortest that one may hold.
        shortest: Duration,
        /// When the root ends.
        root_end: OffsetDateTime,
    },
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A file could not be read, written, or should not be used as it is.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file of a certificate, or of its key, holds another one than was recorded.
    #[error("{} does not belong to certificate {serial_number} as it was recorded", path.display())]
    FileMismatch {
        /// The file.
        path: PathBuf,
        /// The certificate that it should belong to.
        serial_number: SerialNumber,
    },
    /// What is in a file is not what it should be.
    #[error("{}: {error}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: Box<CaError>,
    },
    /// The key that is held elsewhere and the certificate in the home do not belong together.
    #[error("the key of {by} is not the key of the root in {}", certificate.display())]
    RemoteKeyMismatch {
        /// What holds the key.
        by: String,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// A directory that is in use already and that others can enter.
    #[error("{} is open to others and not empty: a CA's home must be its owner's alone", directory.display())]
    HomeExposed {
        /// The directory.
        directory: PathBuf,
    },
    /// There is no cluster in the directory.
    #[error("there is no cluster in {}", directory.display())]
    HomeMissing {
        /// The directory.
        directory: PathBuf,
    },
    /// There is a cluster, or part of one, in the directory.
    #[error("{} has already: {}", directory.display(), files.join(", "))]
    HomeOccupied {
        /// The directory.
        directory: PathBuf,
        /// Which of a cluster's files are there.
        files: Vec<&'static str>,
    },
    /// Not a name.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The identity does not hold any more, and is not renewed.
    #[error("{role}/{name} is not renewed: certificate {serial_number} was revoked on {} ({reason})", rfc3339(*at))]
    IdentityRevoked {
        /// Its role.
        role: Role,
        /// Its name.
        name: Name,
        /// The certificate that is revoked: the one to be renewed, or the newest of the identity.
        serial_number: SerialNumber,
        /// Since when.
        at: OffsetDateTime,
        /// Why.
        reason: RevocationReason,
    },
    /// An `initialize` that had ended early was finished instead of begun anew.
    #[error("an earlier initialize in {} had ended early; its cluster is complete now and nothing else was made", directory.display())]
    InitializeResumed {
        /// The directory.
        directory: PathBuf,
    },
    /// Somebody else has the key that is to be certified.
    #[error("the key is not certified again: certificate {serial_number} for it was revoked as compromised on {}", rfc3339(*at))]
    KeyCompromised {
        /// The certificate that was revoked.
        serial_number: SerialNumber,
        /// When.
        at: OffsetDateTime,
    },
    /// The home's inventory does not know of the home's own revocation list.
    #[error("{} is older than {}: it knows of CRL {last}, and the file is CRL {number}", inventory.display(), crl.display())]
    InventoryBehind {
        /// The inventory's file.
        inventory: PathBuf,
        /// The list's file.
        crl: PathBuf,
        /// The list's number.
        number: CrlNumber,
        /// The highest number that the inventory knows of.
        last: u64,
    },
    /// The root is in the home, and what was done with it is not known any more.
    #[error("the inventory of the cluster in {} is missing: there is no ca.db", directory.display())]
    InventoryMissing {
        /// The directory.
        directory: PathBuf,
    },
    /// A private key could not be opened or made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key was made elsewhere, so that nobody here can make its successor.
    #[error("the key of certificate {serial_number} was not made here")]
    ExternalKey {
        /// The certificate's serial number.
        serial_number: SerialNumber,
    },
    /// The key and the certificate in the home do not belong together.
    #[error("{} is not the key of the root in {}", key.display(), certificate.display())]
    KeyMismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// There is nothing to release.
    #[error("certificate {serial_number} is not on hold")]
    NotOnHold {
        /// Its serial number.
        serial_number: SerialNumber,
    },
    /// Keys are wrapped that nothing could open any more.
    #[error("{} private keys are wrapped by the key management service: {}", keys.len(), keys.iter().map(|key| key.display().to_string()).collect::<Vec<_>>().join(", "))]
    KeysWrapped {
        /// Their files.
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
    /// The certificate is not good for use.
    #[error("certificate {serial_number} of {role}/{name} is {status}")]
    NotValid {
        /// Its serial number.
        serial_number: SerialNumber,
        /// Its role.
        role: Role,
        /// Its name.
        name: Name,
        /// What it is instead.
        status: Status,
    },
    /// One batch orders the same identity twice.
    #[error("{role}/{name} is asked for twice")]
    DuplicateRequest {
        /// The role.
        role: Role,
        /// The name.
        name: Name,
    },
    /// A profile refuses it.
    #[error(transparent)]
    Policy(#[from] IssuancePolicyError),
    /// The profiles break a rule.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A root cannot be on the list that it signs.
    #[error("certificate {serial_number} is the cluster's root: a root cannot revoke itself")]
    RootOnOwnCrl {
        /// Its serial number.
        serial_number: SerialNumber,
    },
    /// A key is protected by something else than what was asked for assumes.
    #[error("{} has this protection: {by}", path.display())]
    UnexpectedProtection {
        /// The key's file.
        path: PathBuf,
        /// What protects it.
        by: Protection,
    },
    /// The key that is to be certified is a root's.
    #[error("the key is the root's own: whoever used it as a caller would take the root's key about")]
    RootKey,
    /// The old key is protected by more than its file's mode, and the new one would not be.
    #[error("the new key would lie at {} without what protects the old one: {by}", path.display())]
    LosesProtection {
        /// The old key's file.
        path: PathBuf,
        /// What protects it.
        by: Protection,
    },
    /// The root is past its end, or before its beginning.
    #[error("the root is not valid now; it holds until {}", rfc3339(*not_after))]
    RootExpired {
        /// Its last second.
        not_after: OffsetDateTime,
    },
    /// The request is for the key that the certificate has already.
    #[error("the request is for the key that certificate {serial_number} has already")]
    SameKey {
        /// The certificate's serial number.
        serial_number: SerialNumber,
    },
    /// More than one list where one was expected.
    #[error("{} does not hold exactly one revocation list", path.display())]
    SeveralCrls {
        /// The file.
        path: PathBuf,
    },
    /// The signing library failed, or what it signed is not what was asked for.
    #[error("cannot sign: {why}")]
    Signing {
        /// The library's words.
        why: String,
    },
    /// The inventory refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another certificate took its place already.
    #[error("certificate {serial_number} was renewed already: certificate {by} took its place")]
    Superseded {
        /// Its serial number.
        serial_number: SerialNumber,
        /// The serial number of the one that took its place.
        by: SerialNumber,
    },
    /// The root or the trust bundle is not fit to be trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The cluster's name cannot be its trust domain.
    #[error("the cluster name `{name}` is not a trust domain")]
    TrustDomain {
        /// The cluster's name.
        name: String,
        /// The rule it breaks.
        source: IdentityError,
    },
    /// Nothing of that name or number was issued.
    #[error("there is no certificate {target}")]
    UnknownCertificate {
        /// What was asked for.
        target: Target,
    },
    /// Nothing was issued for that key.
    #[error("no certificate was issued for the key with SHA-256 {public_key}")]
    UnknownKey {
        /// The digest of its SubjectPublicKeyInfo.
        public_key: Sha256,
    },
    /// Not the X.509 it should be.
    #[error(transparent)]
    X509(#[from] X509Error),
}

impl CaError {
    /// An error about what is in `path`, for errors that do not name it by themselves.
    pub(super) fn in_file<E: Into<Self>>(path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        |error| Self::InFile { path, error: Box::new(error.into()) }
    }

    /// Whether the same may well succeed later without anybody changing anything here.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Key(error) => error.is_temporary(),
            Self::Kms(error) => error.is_temporary(),
            _ => false,
        }
    }

    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ambiguous { .. } => "ca.ambiguous",
            Self::Crl(error) => error.code(),
            Self::CrlIncomplete { .. } => "ca.crl_incomplete",
            Self::CrlNotCurrent { .. } => "ca.crl_not_current",
            Self::CrlNotRecorded { .. } => "ca.crl_not_recorded",
            Self::CrlNotWritten { .. } => "ca.crl_not_written",
            Self::CrlValidity { .. } => "input.crl_validity",
            Self::Entropy(error) => error.code(),
            Self::File(error) => error.code(),
            Self::FileMismatch { .. } => "ca.file_foreign",
            Self::RemoteKeyMismatch { .. } => "home.held_key_mismatch",
            Self::HomeExposed { .. } => "home.exposed_directory",
            Self::HomeMissing { .. } => "home.missing",
            Self::InventoryMissing { .. } => "home.inventory_missing",
            Self::HomeOccupied { .. } => "home.occupied",
            Self::Identity(error) => error.code(),
            Self::IdentityRevoked { .. } => "ca.identity_revoked",
            Self::InFile { error, .. } => error.code(),
            Self::InitializeResumed { .. } => "home.initialize_resumed",
            Self::InventoryBehind { .. } => "home.inventory_behind",
            Self::Key(error) => error.code(),
            Self::ExternalKey { .. } => "ca.key_elsewhere",
            Self::KeyMismatch { .. } => "home.key_mismatch",
            Self::NotOnHold { .. } => "ca.not_on_hold",
            Self::KeysWrapped { .. } => "ca.keys_wrapped",
            Self::Kms(error) => error.code(),
            Self::NoKms => "ca.no_kms",
            Self::NothingToVerify => "ca.nothing_to_verify",
            Self::NotValid { .. } => "ca.not_valid",
            Self::DuplicateRequest { .. } => "ca.ordered_twice",
            Self::Policy(error) => error.code(),
            Self::Profile(error) => error.code(),
            Self::UnexpectedProtection { by, .. } => match by {
                Protection::NotExportable { .. } => "key.held",
                Protection::Kms { .. } => "key.protected_by_kms",
                Protection::None => "key.not_protected",
                Protection::Passphrase => "key.protected_by_passphrase",
            },
            Self::KeyCompromised { .. } => "ca.key_compromised",
            Self::RootKey => "ca.root_key",
            Self::RootExpired { .. } => "home.root_expired",
            Self::RootOnOwnCrl { .. } => "ca.root_on_own_crl",
            Self::SameKey { .. } => "ca.same_key",
            Self::SeveralCrls { .. } => "ca.several_crls",
            Self::Signing { .. } => "ca.signing",
            Self::Store(error) => error.code(),
            Self::Superseded { .. } => "ca.superseded",
            Self::Trust(error) => error.code(),
            Self::LosesProtection { .. } => "ca.unprotects",
            Self::TrustDomain { .. } => "name.trust_domain",
            Self::UnknownCertificate { .. } => "ca.unknown_certificate",
            Self::UnknownKey { .. } => "ca.unknown_key",
            Self::X509(error) => error.code(),
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
