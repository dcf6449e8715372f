//! What is done: a cluster's root made, certificates issued and revoked, revocation lists written.
//!
//! [`Cluster`] looks at a home without changing it; [`Authority`] holds the right to change it and
//! the root's key. Everything about the directory itself is in [`Home`]. Nothing here prints, asks,
//! or knows that there is a network.

mod builder;
mod crl;
mod handover;
mod home;
mod initialize;
mod issue;
mod kms;
mod protect;
mod recover;
mod registrar;
mod revoke;
mod verify;

pub use handover::{HandOver, TrustFiles};
pub use home::Home;
pub use initialize::{Initialized, NewCluster, initialize};
pub use issue::{Fulfilled, KeySource, LeafOrder, Planned};
pub use kms::{Instead, RewrapOutcome, Rewrapped, Secrets};
pub use protect::{Custody, Protected};
pub use recover::Recovered;
pub use registrar::Registrar;
pub use revoke::Revoked;
pub use verify::{BrokenRule, Expectation, Verdict};

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::Issuer;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::audit::{Actor, Provenance};
use crate::clock::{Clock, Entropy, EntropyError, rfc3339};
use crate::files::{self, DirectoryLock, FileError};
use crate::identity::{IdentityError, Name, Role, TrustDomain};
use crate::keys::kms::KmsError;
use crate::keys::{KeyError, PrivateKey, Protection, Unlock};
use crate::profile::{PolicyError, ProfileError};
use crate::revocation::CrlError;
use crate::store::{self, Inventory, Record, Status, StoreError};
use crate::x509::trust::{TrustBundle, TrustError};
use crate::x509::{Certificate, KeyIdentifier, SerialNumber, X509Error};

/// What everything here is given: the time, randomness, who acts, and what opens keys.
#[derive(Clone, Debug)]
pub struct Context {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for serial numbers and UUIDs.
    pub entropy: Arc<dyn Entropy>,
    /// Who acts, for the audit chain.
    pub actor: Actor,
    /// What opens the root's key, where more than its file protects it.
    pub unlock: Arc<dyn Unlock>,
}

impl Context {
    /// The present, in the whole seconds that certificates, records and audit entries have.
    fn now(&self) -> OffsetDateTime {
        let now = self.clock.now();
        now.replace_nanosecond(0).unwrap_or(now)
    }

    fn provenance(&self, reason: Option<&str>) -> Provenance {
        Provenance { at: self.now(), actor: self.actor.clone(), reason: reason.map(str::to_owned) }
    }
}

/// A new random UUID (version 4, RFC 9562).
///
/// # Errors
/// [`EntropyError`] when the generator fails.
pub fn random_uuid(entropy: &dyn Entropy) -> Result<Uuid, EntropyError> {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

/// A cluster's home, open for looking.
#[derive(Debug)]
pub struct Cluster {
    home: Home,
    context: Context,
    inventory: Inventory,
    facts: store::Cluster,
    root: Certificate,
    issuer: KeyIdentifier,
}

impl Cluster {
    /// Opens the home for reading; nobody who writes is waited for or kept waiting.
    ///
    /// # Errors
    /// [`CaError`]: no cluster there, the directory open to others, or the inventory unreadable.
    pub fn open(home: &Home, context: &Context) -> Result<Self, CaError> {
        home.check()?;
        Self::over(home, context, Inventory::open_reader(&home.database())?)
    }

    fn over(home: &Home, context: &Context, inventory: Inventory) -> Result<Self, CaError> {
        let facts = inventory.cluster()?;
        let active = inventory.active_issuer()?;
        Ok(Self {
            home: home.clone(),
            context: context.clone(),
            inventory,
            facts,
            root: active.certificate,
            issuer: active.key_id,
        })
    }

    /// The inventory, for questions.
    #[must_use]
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Name, UUID and trust domain.
    #[must_use]
    pub fn facts(&self) -> &store::Cluster {
        &self.facts
    }

    /// The trust domain of every identity here.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.facts.trust_domain
    }

    /// The root that signs now.
    #[must_use]
    pub fn root(&self) -> &Certificate {
        &self.root
    }

    /// The roots that this cluster's machines trust, checked.
    ///
    /// # Errors
    /// [`CaError`] when `cluster.crt` is missing or not fit to be trusted.
    pub fn trust_bundle(&self, at: OffsetDateTime) -> Result<TrustBundle, CaError> {
        Ok(TrustBundle::from_pem(&files::read(&self.home.certificate(), files::SMALL_FILE)?, at)?)
    }

    /// Finds the one certificate that `target` names.
    ///
    /// # Errors
    /// [`CaError::UnknownCertificate`], or [`CaError::Ambiguous`] with the candidates.
    pub fn find(&self, target: &Target) -> Result<Record, CaError> {
        only(target, self.candidates(target)?)
    }

    /// Every certificate that `target` names, newest first; reserved ones only by serial number.
    ///
    /// # Errors
    /// What the inventory says.
    pub fn candidates(&self, target: &Target) -> Result<Vec<Record>, CaError> {
        Ok(match target {
            Target::Serial(serial_number) => self.inventory.find(*serial_number)?,
            Target::Identity(role, name) => {
                let mut records = self.inventory.find_identity(*role, name)?;
                records.retain(|record| record.issue.is_some());
                records
            }
        })
    }
}

/// The one candidate, or why there is not one.
fn only(target: &Target, mut candidates: Vec<Record>) -> Result<Record, CaError> {
    match (candidates.len(), candidates.pop()) {
        (1, Some(only)) => Ok(only),
        (_, None) => Err(CaError::UnknownCertificate { target: target.clone() }),
        (_, Some(last)) => {
            let all = candidates.iter().chain([&last]);
            Err(CaError::Ambiguous {
                target: target.clone(),
                candidates: all.map(|record| record.intent.serial_number).collect(),
            })
        }
    }
}

/// How a person names a certificate: by serial number, or by role and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `0123…`: hexadecimal, with or without colons.
    Serial(SerialNumber),
    /// `api-user/alice`.
    Identity(Role, Name),
}

impl std::str::FromStr for Target {
    type Err = CaError;

    fn from_str(text: &str) -> Result<Self, CaError> {
        match text.split_once('/') {
            Some((role, name)) => {
                let role = role.parse()?;
                Ok(Self::Identity(role, Name::parse(role, name)?))
            }
            None => Ok(Self::Serial(text.parse()?)),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Serial(serial_number) => write!(f, "{serial_number}"),
            Self::Identity(role, name) => write!(f, "{role}/{name}"),
        }
    }
}

/// The right to change a home, and the root's key. One process at a time has it.
pub struct Authority {
    cluster: Cluster,
    signer: Issuer<'static, PrivateKey>,
    recovered: Vec<Recovered>,
    _lock: DirectoryLock,
}

impl Authority {
    /// Takes the lock, opens the key, checks that key and certificate belong together, and finishes
    /// what an earlier process left half done.
    ///
    /// # Errors
    /// [`CaError`]; above all [`CaError::KeyMismatch`], and what [`Cluster::open`] says.
    pub fn open(home: &Home, context: &Context) -> Result<Self, CaError> {
        home.check()?;
        let lock = home.lock()?;
        protect::sweep(&home.key());
        let cluster = Cluster::over(home, context, Inventory::open_writer(&home.database())?)?;
        let key = root_key(home, context.unlock.as_ref())?;
        let mismatch = || CaError::KeyMismatch { key: home.key(), certificate: home.certificate() };
        if key.public_key_info() != cluster.root.public_key_info {
            return Err(mismatch());
        }
        // The bundle on disk is what machines are given: the root that signs must be in it.
        let bundle = crate::x509::pem::certificates(&files::read(&home.certificate(), files::SMALL_FILE)?)?;
        if !bundle.contains(&cluster.root) {
            return Err(mismatch());
        }
        let signer = Issuer::from_ca_cert_der(&cluster.root.der, key).map_err(builder::signing_failed)?;
        let mut authority = Self { cluster, signer, recovered: Vec::new(), _lock: lock };
        authority.recovered = authority.recover()?;
        Ok(authority)
    }

    /// The cluster, for looking.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What an earlier process had left half done and what became of it.
    #[must_use]
    pub fn recovered(&self) -> &[Recovered] {
        &self.recovered
    }

    fn check_root_is_valid(&self) -> Result<(), CaError> {
        let (now, root) = (self.cluster.context.now(), &self.cluster.root);
        if root.is_valid_at(now) { Ok(()) } else { Err(CaError::RootExpired { not_after: root.not_after }) }
    }
}

/// The root's key: in its file, or with the service that holds it.
fn root_key(home: &Home, unlock: &dyn Unlock) -> Result<PrivateKey, KeyError> {
    if !files::occupied(&home.key())
        && let Some(held) = unlock.kms()?.root_key()?
    {
        return Ok(held);
    }
    PrivateKey::unlock(&home.key(), unlock)
}

/// Why a key that is held elsewhere did not sign, where that is what failed: the signing library only
/// says that it did not.
fn explained<T>(key: &PrivateKey, result: Result<T, CaError>) -> Result<T, CaError> {
    match result {
        Err(CaError::Signing { why }) => {
            Err(key.take_failure().map_or(CaError::Signing { why }, CaError::Kms))
        }
        other => other,
    }
}

/// Why the CA refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// The certificate was revoked before.
    #[error("certificate {serial_number} was revoked already, on {}", rfc3339(*at))]
    AlreadyRevoked {
        /// Its serial number.
        serial_number: SerialNumber,
        /// When.
        at: OffsetDateTime,
    },
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
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A file could not be read, written, or should not be used as it is.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file of a certificate, or of its key, holds another one than was recorded.
    #[error("{} does not belong to certificate {serial_number} as it was recorded", path.display())]
    FileForeign {
        /// The file.
        path: PathBuf,
        /// The certificate that it should belong to.
        serial_number: SerialNumber,
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
    /// An `initialize` that had ended early was finished instead of begun anew.
    #[error("an earlier initialize in {} had ended early; its cluster is complete now and nothing else was made", directory.display())]
    InitializeResumed {
        /// The directory.
        directory: PathBuf,
    },
    /// A private key could not be opened or made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key and the certificate in the home do not belong together.
    #[error("{} is not the key of the root in {}", key.display(), certificate.display())]
    KeyMismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
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
    OrderedTwice {
        /// The role.
        role: Role,
        /// The name.
        name: Name,
    },
    /// A profile refuses it.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The profiles break a rule.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A key is protected by something else than what was asked for assumes.
    #[error("{} has this protection: {by}", path.display())]
    Protected {
        /// The key's file.
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
    /// The signing library failed, or what it signed is not what was asked for.
    #[error("cannot sign: {why}")]
    Signing {
        /// The library's words.
        why: String,
    },
    /// The inventory refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
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
    /// Not the X.509 it should be.
    #[error(transparent)]
    X509(#[from] X509Error),
}

impl CaError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::AlreadyRevoked { .. } => "ca.already_revoked",
            Self::Ambiguous { .. } => "ca.ambiguous",
            Self::Crl(error) => error.code(),
            Self::Entropy(error) => error.code(),
            Self::File(error) => error.code(),
            Self::FileForeign { .. } => "ca.file_foreign",
            Self::HomeExposed { .. } => "home.exposed_directory",
            Self::HomeMissing { .. } => "home.missing",
            Self::HomeOccupied { .. } => "home.occupied",
            Self::Identity(error) => error.code(),
            Self::InitializeResumed { .. } => "home.initialize_resumed",
            Self::Key(error) => error.code(),
            Self::KeyMismatch { .. } => "home.key_mismatch",
            Self::KeysWrapped { .. } => "ca.keys_wrapped",
            Self::Kms(error) => error.code(),
            Self::NoKms => "ca.no_kms",
            Self::NothingToVerify => "ca.nothing_to_verify",
            Self::NotValid { .. } => "ca.not_valid",
            Self::OrderedTwice { .. } => "ca.ordered_twice",
            Self::Policy(error) => error.code(),
            Self::Profile(error) => error.code(),
            Self::Protected { by, .. } => match by {
                Protection::Kms { .. } => "key.protected_by_kms",
                Protection::None => "key.not_protected",
                Protection::Passphrase => "key.protected_by_passphrase",
            },
            Self::RootExpired { .. } => "home.root_expired",
            Self::Signing { .. } => "ca.signing",
            Self::Store(error) => error.code(),
            Self::Trust(error) => error.code(),
            Self::TrustDomain { .. } => "name.trust_domain",
            Self::UnknownCertificate { .. } => "ca.unknown_certificate",
            Self::X509(error) => error.code(),
        }
    }
}
