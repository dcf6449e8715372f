//! What is done: a cluster's root made, certificates issued, renewed and revoked, revocation lists
//! written.
//!
//! [`Cluster`] looks at a home without changing it; [`Authority`] holds the right to change it and
//! the root's key. Everything about the directory itself is in [`Home`]. Nothing here prints, asks,
//! or knows that there is a network.

pub mod backup;
pub mod doctor;
mod error;
mod export;
mod forecast;
mod home;
mod initialize;
mod issuance;
mod keys;
mod revocation;
mod verify;

pub use error::CaError;
pub use export::{HandOver, TrustFiles};
pub use forecast::{Breakage, Forecast, Gauges, Outage};
pub use home::directory::Home;
pub use home::recover::Recovered;
pub use home::registrar::Registrar;
pub use initialize::{Initialized, NewCluster, initialize};
pub use issuance::issue::{Fulfilled, KeySource, LeafOrder, Planned};
pub use issuance::renew::{NotRenewed, PlannedRenewal, Renewal, Renewed, RenewedKey};
pub use keys::kms::{Instead, RewrapOutcome, Rewrapped, Secrets};
pub use keys::protect::{Custody, Protected};
pub use revocation::crl::{PublishedCrl, Stale};
pub use revocation::revoke::{Bulk, Released, Revoked};
pub use verify::{BrokenRule, Expectation, Verdict};

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::Issuer;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::audit::{Actor, Provenance};
use crate::clock::{Clock, Entropy, EntropyError};
use crate::files::{self, DirectoryLock};
use crate::identity::{Name, Role, TrustDomain, role_and_name};
use crate::keys::kms::{Configuration, SigningService};
use crate::keys::{PrivateKey, Unlock};
use crate::store::{self, Inventory, Record, Status};
use crate::x509::trust::TrustBundle;
use crate::x509::{Certificate, KeyIdentifier, SerialNumber};

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
    /// The home as an absolute path: what the inventory's paths are relative to.
    location: PathBuf,
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
        home.check(&*context.clock)?;
        Self::over(home, context, Inventory::open_reader(&home.database())?)
    }

    fn over(home: &Home, context: &Context, inventory: Inventory) -> Result<Self, CaError> {
        let facts = inventory.cluster()?;
        let active = inventory.active_issuer()?;
        Ok(Self {
            home: home.clone(),
            location: files::absolute(home.directory())?,
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
        let path = self.home.certificate();
        TrustBundle::from_pem(&files::read(&path, files::SMALL_FILE)?, at).map_err(CaError::in_file(&path))
    }

    /// What holds the root's key, if it is not in a file: known without asking anybody.
    ///
    /// # Errors
    /// [`CaError::Kms`] when the configuration cannot be read.
    pub fn signer(&self) -> Result<Option<SigningService>, CaError> {
        if files::occupied(&self.home.key()) {
            return Ok(None);
        }
        Ok(Configuration::load(&self.home.kms())?.signer)
    }

    /// The root's key, from its file or from the service or token that holds it.
    ///
    /// # Errors
    /// [`CaError::KeyMismatch`] or [`CaError::HeldKeyMismatch`] when it is another root's, and what keeps
    /// it from being opened.
    fn root_key(&self) -> Result<PrivateKey, CaError> {
        let (home, unlock) = (&self.home, self.context.unlock.as_ref());
        let is_roots = |key: &PrivateKey| key.public_key_info() == self.root.public_key_info;
        let certificate = home.certificate();
        if let Some(signer) = self.signer()?
            && let Some(held) = unlock.kms()?.root_key(unlock)?
        {
            let by = signer.to_string();
            return if is_roots(&held) {
                Ok(held)
            } else {
                Err(CaError::HeldKeyMismatch { by, certificate })
            };
        }
        let key = PrivateKey::unlock(&home.key(), unlock)?;
        if is_roots(&key) { Ok(key) } else { Err(CaError::KeyMismatch { key: home.key(), certificate }) }
    }

    /// Has the service or token that holds the root's key sign something of no use, if the key is not in
    /// a file.
    ///
    /// # Errors
    /// What keeps it from signing, or [`CaError::HeldKeyMismatch`].
    pub fn try_signer(&self) -> Result<(), CaError> {
        if self.signer()?.is_some() {
            self.root_key()?.try_out()?;
        }
        Ok(())
    }

    /// Where a file is that the inventory names: below the home, wherever the home is now, or at an
    /// absolute path.
    #[must_use]
    pub fn locate(&self, recorded: &Path) -> PathBuf {
        self.location.join(recorded)
    }

    /// An absolute path as the inventory names it, so that a home can be moved with all that is in it.
    fn recorded(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.location).unwrap_or(path).to_owned()
    }

    /// Finds the one certificate that `target` names.
    ///
    /// A name stands for its one certificate that was not renewed, if several for the one among them
    /// that holds.
    ///
    /// # Errors
    /// [`CaError::UnknownCertificate`], or [`CaError::Ambiguous`] with the candidates.
    pub fn find(&self, target: &Target) -> Result<Record, CaError> {
        let now = self.context.now();
        let mut candidates = self.candidates(target)?;
        if let Target::Identity(..) = target {
            candidates.retain(|record| record.superseded_by.is_none());
            if candidates.iter().any(|record| record.status(now) == Status::Valid) {
                candidates.retain(|record| record.status(now) == Status::Valid);
            }
        }
        only(target, candidates)
    }

    /// Every certificate that `target` names, newest first; reserved ones only by serial number.
    ///
    /// # Errors
    /// What the inventory says.
    pub fn candidates(&self, target: &Target) -> Result<Vec<Record>, CaError> {
        Ok(match target {
            Target::Serial(serial_number) => self.inventory.find(*serial_number)?,
            Target::Certificate(certificate) => {
                let fingerprint = certificate.fingerprint();
                let mut records = self.inventory.find(certificate.serial_number)?;
                records.retain(|record| record.issue.is_some_and(|issue| issue.fingerprint == fingerprint));
                records
            }
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

/// How a person names a certificate: by serial number, by role and name, or by having it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The certificate itself.
    Certificate(Box<Certificate>),
    /// `0123…`: hexadecimal, with or without colons.
    Serial(SerialNumber),
    /// `api-user/alice`.
    Identity(Role, Name),
}

impl Target {
    fn serial_number(&self) -> Option<SerialNumber> {
        match self {
            Self::Certificate(certificate) => Some(certificate.serial_number),
            Self::Serial(serial_number) => Some(*serial_number),
            Self::Identity(..) => None,
        }
    }
}

impl std::str::FromStr for Target {
    type Err = CaError;

    fn from_str(text: &str) -> Result<Self, CaError> {
        if text.contains('/') {
            let (role, name) = role_and_name(text)?;
            return Ok(Self::Identity(role, name));
        }
        Ok(Self::Serial(text.parse()?))
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Certificate(certificate) => write!(f, "{}", certificate.serial_number),
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
        home.check(&*context.clock)?;
        let lock = home.lock(&*context.clock)?;
        keys::protect::sweep(&home.key());
        let cluster = Cluster::over(home, context, Inventory::open_writer(&home.database())?)?;
        let key = cluster.root_key()?;
        // The bundle on disk is what machines are given: the root that signs must be in it.
        let path = home.certificate();
        let bundle = crate::x509::pem::certificates(&files::read(&path, files::SMALL_FILE)?)
            .map_err(CaError::in_file(&path))?;
        if !bundle.contains(&cluster.root) {
            return Err(CaError::KeyMismatch { key: home.key(), certificate: home.certificate() });
        }
        let signer = Issuer::from_ca_cert_der(&cluster.root.der, key)
            .map_err(issuance::certificate_builder::signing_failed)?;
        let mut authority = Self { cluster, signer, recovered: Vec::new(), _lock: lock };
        authority.refuse_older_inventory()?;
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
