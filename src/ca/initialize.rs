//! Creation of a cluster.
//!
//! All files are written under temporary names, synced, and renamed, the inventory last. A directory
//! becomes a home when its inventory exists.

use std::path::PathBuf;

use rcgen::Issuer;
use serde::Serialize;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::context::{Context, random_uuid};
use super::error::CaError;
use super::home::access::PreparedDirectory;
use super::home::directory::Home;
use super::home::unfinished::{TAG, place, refuse_occupied, remove_database, resume_or_remove};
use super::issuance::certificate_builder::sign_root;
use super::revocation::audit_anchor::AuditAnchor;
use super::revocation::crl::first_crl;
use super::signing::{signing_failed, with_signer_failure};
use crate::audit::Provenance;
use crate::files::{Access, Staged};
use crate::identity::{ClusterName, TrustDomain};
use crate::keys::kms::Configuration;
use crate::keys::{KeyFile, NewProtection, PrivateKey, Protection, check_new_passphrase};
use crate::profile::{ProfileSet, RootPlan, RootRequest};
use crate::secret::Secret;
use crate::store::{self, Inventory};
use crate::x509::{KeyAlgorithm, KeyIdentifier, SerialNumber, pem};

/// Parameters of a new cluster.
#[derive(Debug)]
pub struct NewCluster {
    /// Cluster name.
    pub name: ClusterName,
    /// Trust domain. Defaults to the cluster name if that is a valid trust domain.
    pub trust_domain: Option<TrustDomain>,
    /// Type of the root key. Defaults to the profile's first.
    pub key_algorithm: Option<KeyAlgorithm>,
    /// Validity of the root. Defaults to the profile's.
    pub validity: Option<Duration>,
    /// Passphrase for the root key. Without one, only file permissions protect it.
    pub passphrase: Option<Secret>,
    /// Service or token that holds the root key and signs with it. No key is generated then.
    pub signer: Option<Configuration>,
}

/// A new cluster.
#[derive(Debug, Serialize)]
pub struct Initialized {
    /// Cluster name.
    pub cluster: ClusterName,
    /// Cluster UUID.
    pub uuid: Uuid,
    /// Trust domain of all identities in the cluster.
    pub trust_domain: TrustDomain,
    /// Path of the trust bundle, to be distributed to every machine.
    #[serde(serialize_with = "crate::files::as_text")]
    pub certificate: PathBuf,
    /// Path of the root's private key. `None` if a service or token holds it.
    #[serde(serialize_with = "crate::files::as_optional_text")]
    pub key: Option<PathBuf>,
    /// Protection of the root key.
    pub key_protection: Protection,
    /// Path of the CRL, which is empty.
    #[serde(serialize_with = "crate::files::as_text")]
    pub crl: PathBuf,
    /// Path of the inventory.
    #[serde(serialize_with = "crate::files::as_text")]
    pub database: PathBuf,
    /// Serial number of the root.
    pub serial_number: SerialNumber,
    /// Key identifier of the root.
    pub key_identifier: KeyIdentifier,
    /// Type of the root key.
    pub key_algorithm: KeyAlgorithm,
    /// Start of the root's validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    /// Expiry of the root.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// Expiry of the CRL.
    #[serde(with = "time::serde::rfc3339")]
    pub crl_next_update: OffsetDateTime,
    /// True if temporary files of an interrupted `initialize` were removed.
    #[serde(skip)]
    pub removed_leftovers: bool,
    /// Mode of the directory before, if it was accessible to others and is restricted to 0700 now.
    #[serde(skip)]
    pub restricted_from: Option<u32>,
}

/// Create a root, an empty CRL and an inventory in `home`.
///
/// # Errors
/// [`CaError::HomeOccupied`] if any of them exists; nothing is created then. [`CaError::TrustDomain`]
/// if the cluster name is not a valid trust domain and none was given.
pub fn initialize(
    home: &Home,
    new_cluster: &NewCluster,
    profiles: &ProfileSet,
    context: &Context,
) -> Result<Initialized, CaError> {
    let trust_domain = match &new_cluster.trust_domain {
        Some(given) => given.clone(),
        None => new_cluster
            .name
            .as_str()
            .parse()
            .map_err(|source| CaError::TrustDomain { name: new_cluster.name.to_string(), source })?,
    };
    if let Some(passphrase) = &new_cluster.passphrase {
        check_new_passphrase(passphrase)?;
    }
    let uuid = random_uuid(context.entropy.as_ref())?;
    let provenance = context.provenance(None);
    let plan = profiles.root().plan(
        &RootRequest {
            cluster_name: &new_cluster.name,
            cluster_uuid: uuid,
            key_algorithm: new_cluster.key_algorithm,
            validity: new_cluster.validity,
        },
        provenance.at,
    )?;
    let prepared = home.prepare()?;
    let restricted_from = match prepared {
        PreparedDirectory::Restricted { from } => Some(from),
        PreparedDirectory::Created | PreparedDirectory::Unchanged => None,
    };
    create(home, new_cluster, context, trust_domain, (uuid, &plan, &provenance))
        .map(|created| Initialized { restricted_from, ..created })
        .inspect_err(|_| home.undo_preparation(prepared))
}

/// Create the cluster in a directory that is prepared.
fn create(
    home: &Home,
    new_cluster: &NewCluster,
    context: &Context,
    trust_domain: TrustDomain,
    (uuid, plan, provenance): (Uuid, &RootPlan, &Provenance),
) -> Result<Initialized, CaError> {
    let _lock = home.lock(&*context.clock)?;
    let removed_leftovers = resume_or_remove(home)?;
    refuse_occupied(home)?;

    let key = match &new_cluster.signer {
        Some(configuration) => configuration.root_key(context.unlock.as_ref())?.ok_or(CaError::NoKms)?,
        None => PrivateKey::generate(plan.key_algorithm)?,
    };
    let serial_number = SerialNumber::random(context.entropy.as_ref())?;
    let root = with_signer_failure(&key, sign_root(plan, serial_number, &key))?;

    let staged_database = Staged::temporary_path(&home.database(), TAG);
    let facts = store::ClusterRecord {
        name: new_cluster.name.clone(),
        uuid,
        trust_domain: trust_domain.clone(),
        created_at: provenance.at,
    };
    let mut inventory = Inventory::create(&staged_database, &facts, &root, provenance)?;
    let made = key_file(home, new_cluster, &key, uuid)
        .and_then(|key_path| fill(home, &mut inventory, &root, key, key_path, provenance));
    // Closing merges the write-ahead log into the database, so that only one file has to be renamed.
    drop(inventory);
    let signer = new_cluster.signer.as_ref().and_then(|configuration| configuration.signer.as_ref());
    let (staged, crl_next_update) = made.inspect_err(|_| remove_database(&staged_database))?;
    place(home, staged)?;

    Ok(Initialized {
        cluster: facts.name,
        uuid,
        trust_domain,
        certificate: home.certificate(),
        key: new_cluster.signer.is_none().then(|| home.key()),
        key_protection: match (signer, &new_cluster.passphrase) {
            (Some(signer), _) => Protection::NotExportable { by: signer.to_string() },
            (None, Some(_)) => Protection::Passphrase,
            (None, None) => Protection::None,
        },
        crl: home.crl(),
        database: home.database(),
        serial_number,
        key_identifier: root.subject_key_identifier.clone().unwrap_or(KeyIdentifier(Vec::new())),
        key_algorithm: plan.key_algorithm,
        not_before: root.not_before,
        not_after: root.not_after,
        crl_next_update,
        removed_leftovers,
        restricted_from: None,
    })
}

/// Path and contents of the private file of a new home: the root key, or the configuration of the
/// service that holds it.
fn key_file(
    home: &Home,
    new_cluster: &NewCluster,
    key: &PrivateKey,
    cluster: Uuid,
) -> Result<(PathBuf, Secret), CaError> {
    if let Some(configuration) = &new_cluster.signer {
        return Ok((home.kms(), configuration.to_text()?));
    }
    let protection = new_cluster.passphrase.as_ref().map_or(NewProtection::None, NewProtection::Passphrase);
    Ok((home.key(), KeyFile::seal(key, cluster, protection)?.into_contents()?))
}

/// Sign and record the first CRL. Stage and sync the three files besides the inventory.
fn fill(
    home: &Home,
    inventory: &mut Inventory,
    root: &crate::x509::Certificate,
    key: PrivateKey,
    (key_path, contents): (PathBuf, Secret),
    provenance: &Provenance,
) -> Result<(Vec<Staged>, OffsetDateTime), CaError> {
    let signer = Issuer::from_ca_cert_der(&root.der, key).map_err(signing_failed)?;
    let issuer = inventory.active_issuer()?.key_id;
    let origin = inventory.check_origin()?;
    let (transaction, number) = inventory.begin(provenance)?.reserve_crl_number(&issuer)?;
    let head = transaction.head();
    let anchor = AuditAnchor { origin, head };
    let first = first_crl(number, anchor, provenance.at, root, &signer);
    let (crl, current) = with_signer_failure(signer.key(), first)?;
    transaction.record_crl(&issuer, &current)?.commit()?;

    let certificate = pem::pem(pem::ObjectKind::Certificate.label(), &root.der);
    let staged = vec![
        Staged::create(&key_path, TAG, Access::Private, contents.expose())?,
        Staged::create(&home.certificate(), TAG, Access::Public, certificate.as_bytes())?,
        Staged::create(&home.crl(), TAG, Access::Public, crl.as_bytes())?,
    ];
    for file in &staged {
        file.sync()?;
    }
    Ok((staged, current.next_update))
}
