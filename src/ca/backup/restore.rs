//! Restore of a backup. Refused if changes would be lost, unless they are added to the backup first.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use super::error::BackupError;
use super::manifest::Manifest;
use super::missing_records::{MissingRecords, VerifiedCrl};
use super::part::Part;
use super::staging::{self, Scratch, TAG};
use super::unpack::{VerifiedBackup, is_key_of, read_small, unpack};
use crate::audit::{Action, Outcome};
use crate::ca::context::Context;
use crate::ca::home::directory::Home;
use crate::files::{self, Access, FileError, Staged};
use crate::keys::kms::Configuration;
use crate::secret::Secret;
use crate::store::{Inventory, StoreError};
use crate::x509::crl::CrlNumber;
use crate::x509::{KeyIdentifier, pem};

/// Sources and conditions of a restore.
#[derive(Debug)]
pub struct RestoreOptions<'a> {
    /// Path of the backup.
    pub file: &'a Path,
    /// Passphrase of the backup.
    pub passphrase: &'a Secret,
    /// Add records to the backup that it lacks.
    pub reconcile: bool,
    /// Paths of newer CRLs, such as a gateway's.
    pub crls: &'a [PathBuf],
    /// Directories with certificates that may have been issued since the backup.
    pub certificates: &'a [PathBuf],
    /// CRLs that gateways report as enforced.
    pub enforced: &'a [EnforcedCrl],
    /// The operator confirms that nothing was revoked since the backup.
    pub no_newer_crl: bool,
}

/// A CRL that a gateway enforces. Only its number is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnforcedCrl {
    /// Name of the gateway.
    pub gateway: String,
    /// Key identifier of the CRL's issuer.
    pub issuer: KeyIdentifier,
    /// CRL number.
    pub number: CrlNumber,
}

/// A restored home.
#[derive(Debug, Serialize)]
pub struct Restored {
    /// Path of the home.
    #[serde(serialize_with = "crate::files::as_text")]
    pub home: PathBuf,
    /// Manifest of the backup.
    #[serde(flatten)]
    pub manifest: Manifest,
    /// Names of the restored files.
    pub files: Vec<String>,
    /// True if the existing inventory was kept because it contains all of the backup's and more.
    pub kept_inventory: bool,
    /// True if the existing root key was kept with its protection, in a file or a service.
    pub kept_key: bool,
    /// Number of certificates added that the backup lacked.
    pub adopted: u64,
    /// Number of revocations added that the backup lacked.
    pub revocations: u64,
}

/// Restore a backup into an empty home, or over a home of the same cluster. A crash leaves either the
/// old home or the new one.
///
/// # Errors
/// [`BackupError`]; nothing is changed then. [`RestoreOptions::reconcile`] resolves
/// [`BackupError::LosesRevocations`] and [`BackupError::LosesChanges`].
pub fn restore(
    home: &Home,
    options: &RestoreOptions<'_>,
    context: &Context,
) -> Result<Restored, BackupError> {
    home.prepare()?;
    let lock = home.lock(&*context.clock)?;
    staging::remove_leftover(home)?;
    let scratch = Scratch::beside(&home.directory().join(TAG), context)?;
    let mut others: Vec<(Part, PathBuf)> = Vec::new();
    let unpacked = unpack(options.file, options.passphrase, scratch.directory(), |part, contents| {
        let waiting = scratch.directory().join(others.len().to_string());
        write(&waiting, part.access(), contents)?;
        others.push((part, waiting));
        Ok(())
    })?;
    let mut verified = unpacked.verify(context)?;
    let existing = existing(home, &verified, context)?;
    let relation = match &existing {
        Some(existing) => Relation::of(&verified, existing)?,
        None => Relation::Nothing,
    };
    if matches!(relation, Relation::Ahead | Relation::Diverged) && !options.reconcile {
        return Err(BackupError::LosesChanges { made_at: verified.manifest.made_at });
    }
    let known = KnownCrls::gather(home, &verified, existing.as_ref(), options, context)?;
    known.refuse_lost_revocations(options)?;
    known.require_newest_crl_number(&verified, options)?;
    let kept_inventory = relation == Relation::Ahead && options.reconcile && known.seen <= known.theirs;
    let (adopted, revocations) = if kept_inventory {
        (0, 0)
    } else {
        reconcile(home, &mut verified, existing.as_ref(), &known, options, context)?
    };
    drop(existing);
    // A newer CRL stays until an even newer one replaces it.
    let keeps_crl = known.at_home > verified.crl_number;

    let key_is_kept = has_key(home, &verified)?;

    let VerifiedBackup { manifest, key, bundle, crl, inventory, .. } = verified;
    // Closing merges the write-ahead log into the database, so that only one file has to be renamed.
    drop(inventory);
    let mut parts = vec![Part::Certificate];
    let mut staged = vec![Staged::create(&home.certificate(), TAG, Access::Public, &bundle)?];
    if let Some(key) = key.filter(|_| !key_is_kept) {
        parts.push(Part::Key);
        staged.push(Staged::create(&home.key(), TAG, Access::Private, key.expose())?);
    }
    if !kept_inventory {
        parts.push(Part::Database);
        staged.push(adopt(home, &Part::Database, &scratch.directory().join(Part::Database.name()))?);
    }
    if !kept_inventory && !keeps_crl {
        parts.push(Part::Crl);
        staged.push(Staged::create(&home.crl(), TAG, Access::Public, &crl)?);
    }
    for (part, waiting) in others {
        let path = part.path(home);
        // An existing file is at least as new.
        if !files::occupied(&path) {
            files::make_private_directory(files::parent(&path))?;
            staged.push(adopt(home, &part, &waiting)?);
            parts.push(part);
        }
    }
    staged.into_iter().for_each(Staged::leave);
    // The scratch directory is empty now, and must not remain after the commit.
    drop(scratch);
    staging::commit(home, &parts, &lock)?;
    Ok(Restored {
        home: files::absolute(home.directory())?,
        manifest,
        files: parts.iter().map(Part::name).collect(),
        kept_inventory,
        kept_key: key_is_kept,
        adopted,
        revocations,
    })
}

/// Relation of the existing inventory to the backup's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// No readable inventory exists.
    Nothing,
    /// The existing inventory is the same or older.
    Behind,
    /// The existing inventory contains all of the backup's, and more.
    Ahead,
    /// Each has entries that the other lacks.
    Diverged,
}

impl Relation {
    /// Compare audit chains: one contains the head of the other, or neither does.
    fn of(verified: &VerifiedBackup, existing: &Inventory) -> Result<Self, StoreError> {
        let (ours, theirs) = (verified.inventory.head_of_changes()?, existing.head_of_changes()?);
        let contains = |inventory: &Inventory, head: crate::audit::Head| {
            Ok::<_, StoreError>(inventory.audit_entry(head.seq)?.is_some_and(|entry| entry.hash == head.hash))
        };
        Ok(if contains(&verified.inventory, theirs)? {
            Self::Behind
        } else if contains(existing, ours)? && existing.check_against_audit().is_ok() {
            Self::Ahead
        } else {
            Self::Diverged
        })
    }
}

/// The existing inventory, if readable. Refuses the home of another cluster.
fn existing(
    home: &Home,
    verified: &VerifiedBackup,
    context: &Context,
) -> Result<Option<Inventory>, BackupError> {
    let root = verified.inventory.active_issuer()?.certificate;
    let bundle = files::read(&home.certificate(), files::SMALL_FILE).ok();
    let bundle = bundle.and_then(|bytes| pem::certificates(&bytes).ok());
    let other_cluster = || BackupError::OtherCluster { home: home.directory().to_owned() };
    if bundle.is_some_and(|roots| !roots.contains(&root)) {
        return Err(other_cluster());
    }
    if !home.database().is_file() {
        return Ok(None);
    }
    let opened = match Inventory::open_reader(&home.database()) {
        Err(StoreError::Older { .. }) => Inventory::open_writer(&home.database(), &context.provenance(None)),
        opened => opened,
    };
    match opened.and_then(|inventory| Ok((inventory.cluster()?, inventory))) {
        Ok((facts, _)) if facts.uuid != verified.manifest.uuid => Err(other_cluster()),
        Ok((_, inventory)) => Ok(Some(inventory)),
        // A damaged inventory is replaced by the backup's.
        Err(
            StoreError::Corrupt { .. }
            | StoreError::Damaged { .. }
            | StoreError::Foreign { .. }
            | StoreError::Incomplete { .. }
            | StoreError::Schema { .. },
        ) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// CRLs in the home. An unreadable one is an error: it may be the only record of a revocation.
fn home_crls(
    home: &Home,
    verified: &VerifiedBackup,
    context: &Context,
) -> Result<Vec<VerifiedCrl>, BackupError> {
    let unreadable = |source| BackupError::CrlUnreadable { path: home.crl(), source: Box::new(source) };
    match VerifiedCrl::read(&home.crl(), &verified.trust, context.now()) {
        Err(BackupError::File(error)) if error.is_missing() => Ok(Vec::new()),
        read => read.map_err(unreadable),
    }
}

/// CRLs known besides the backup's.
struct KnownCrls {
    /// Key identifier of the root whose CRLs count.
    issuer: KeyIdentifier,
    /// Highest CRL number reserved in the backup's inventory.
    backup: u64,
    /// Highest CRL number reserved in the existing inventory.
    theirs: CrlNumber,
    /// Highest number of a CRL in the home.
    at_home: CrlNumber,
    /// Highest CRL number for which the revocations are available here.
    seen: CrlNumber,
    crls: Vec<VerifiedCrl>,
    /// Sources with a CRL at least as new as the backup's. Only these can confirm that there is no newer
    /// one.
    confirmed_by: Vec<String>,
}

impl KnownCrls {
    fn gather(
        home: &Home,
        verified: &VerifiedBackup,
        existing: Option<&Inventory>,
        options: &RestoreOptions<'_>,
        context: &Context,
    ) -> Result<Self, BackupError> {
        let issuer = verified.inventory.active_issuer()?;
        let newest = |crls: &[VerifiedCrl]| {
            let by_issuer = crls.iter().filter(|one| one.crl.issuer == issuer.key_id);
            by_issuer.map(|one| one.crl.number).max()
        };
        let mut crls = home_crls(home, verified, context)?;
        let at_home = newest(&crls);
        let mut sources = vec![("the CRL in the home".to_owned(), at_home)];
        for path in options.crls {
            let given = VerifiedCrl::read(path, &verified.trust, context.now())?;
            sources.push((path.display().to_string(), newest(&given)));
            crls.extend(given);
        }
        let theirs = existing
            .map(Inventory::active_issuer)
            .transpose()?
            .map_or(0, |issuer| issuer.next_crl_number.saturating_sub(1));
        let theirs = CrlNumber::from(theirs);
        if existing.is_some() {
            sources.push(("the inventory in the home".to_owned(), Some(theirs)));
        }
        let at_gateways = options.enforced.iter().filter(|enforced| enforced.issuer == issuer.key_id);
        sources.extend(at_gateways.map(|enforced| (enforced.gateway.clone(), Some(enforced.number))));
        let as_new = |known: &CrlNumber| *known >= verified.crl_number;
        let confirmed_by = sources.into_iter().filter(|(_, known)| known.as_ref().is_some_and(as_new));
        let confirmed_by = confirmed_by.map(|(source, _)| source).collect();
        let seen = newest(&crls).map_or(theirs, |seen| seen.max(theirs));
        let backup = issuer.next_crl_number.saturating_sub(1);
        let at_home = at_home.unwrap_or(CrlNumber::from(0));
        Ok(Self { issuer: issuer.key_id, backup, theirs, at_home, seen, crls, confirmed_by })
    }

    /// Refuse a backup without proof that its CRL is the newest. Otherwise the next CRL would reuse a
    /// number, and revocations would be lost.
    fn require_newest_crl_number(
        &self,
        verified: &VerifiedBackup,
        options: &RestoreOptions<'_>,
    ) -> Result<(), BackupError> {
        if options.no_newer_crl || !self.confirmed_by.is_empty() {
            return Ok(());
        }
        Err(BackupError::NewestCrlUnknown { number: verified.crl_number, made_at: verified.manifest.made_at })
    }

    /// Refuse a backup that lacks later revocations, unless they are added and all of them are available.
    fn refuse_lost_revocations(&self, options: &RestoreOptions<'_>) -> Result<(), BackupError> {
        let backup = CrlNumber::from(self.backup);
        let at_gateways = options.enforced.iter().filter(|enforced| enforced.issuer == self.issuer);
        let newest = at_gateways.max_by_key(|enforced| enforced.number);
        let newest = newest.filter(|enforced| enforced.number > self.seen.max(backup));
        match newest {
            Some(EnforcedCrl { gateway, number, .. }) if options.reconcile => {
                Err(BackupError::EnforcedCrlMissing {
                    gateway: gateway.clone(),
                    number: *number,
                    known: self.seen.max(backup),
                })
            }
            Some(EnforcedCrl { gateway, number, .. }) => Err(BackupError::LosesRevocations {
                backup: self.backup,
                seen: *number,
                gateway: Some(gateway.clone()),
            }),
            None if self.seen > backup && !options.reconcile => {
                Err(BackupError::LosesRevocations { backup: self.backup, seen: self.seen, gateway: None })
            }
            None => Ok(()),
        }
    }
}

/// Add missing records to the backup's inventory. Return the number of certificates and revocations.
fn reconcile(
    home: &Home,
    verified: &mut VerifiedBackup,
    existing: Option<&Inventory>,
    known: &KnownCrls,
    options: &RestoreOptions<'_>,
    context: &Context,
) -> Result<(u64, u64), BackupError> {
    let mut missing = MissingRecords::default();
    if options.reconcile {
        if let Some(existing) = existing {
            missing.find_in_inventory(&verified.inventory, existing)?;
        }
        let location = files::absolute(home.directory())?;
        let issued = Some(home.issued()).filter(|directory| files::occupied(directory));
        for directory in issued.iter().chain(options.certificates) {
            missing.find_in_directory(&location, verified, &files::absolute(directory)?)?;
        }
        for crl in &known.crls {
            missing.find_in_crl(&verified.inventory, crl)?;
        }
    }
    let (adopted, revocations) = missing.counts();
    let provenance = context.provenance(None);
    let transaction = verified.inventory.begin(&provenance)?;
    let enforced: BTreeMap<_, _> =
        options.enforced.iter().map(|enforced| (&enforced.gateway, enforced.number)).collect();
    let details = json!({
        "backup_made_at": crate::clock::rfc3339(verified.manifest.made_at),
        "backup_audit_head": verified.manifest.audit_head,
        "certificates_adopted": adopted,
        "revocations_adopted": revocations,
        "crl_number_seen": known.seen,
        "crl_numbers_enforced": enforced,
        "newest_crl_known_to": known.confirmed_by,
        "no_newer_crl": options.no_newer_crl,
    });
    let target = verified.manifest.cluster.clone();
    let mut transaction = transaction.record(Action::HomeRestore, target, Outcome::Success, details)?;
    transaction = missing.record(transaction)?;
    // Tokens that were revoked after the backup would be valid again.
    transaction = transaction.revoke_every_token()?;
    if options.reconcile {
        let KnownCrls { issuer, backup, seen, .. } = known;
        let lost = BackupError::LosesRevocations { backup: *backup, seen: *seen, gateway: None };
        let seen = seen.to_u64().ok_or(lost)?;
        transaction = transaction.skip_crl_numbers(issuer, seen)?;
        // A reserved number without a CRL makes the next command publish one.
        (transaction, _) = transaction.reserve_crl_number(issuer)?;
    }
    transaction.commit()?;
    Ok((adopted, revocations))
}

/// True if the home has the root key, in a file or a service. Its protection is at least as new as the
/// backup's, which may predate any protection.
fn has_key(home: &Home, verified: &VerifiedBackup) -> Result<bool, BackupError> {
    let root = verified.inventory.active_issuer()?.certificate;
    match files::read_private(&home.key()) {
        Ok(key) => Ok(is_key_of(&key, &root).unwrap_or(false)),
        Err(error) if error.is_missing() => {
            Ok(Configuration::load(&home.kms()).is_ok_and(|configuration| configuration.signer.is_some()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Rename a file from the scratch directory to the temporary name of its destination.
fn adopt(home: &Home, part: &Part, waiting: &Path) -> Result<Staged, BackupError> {
    let path = part.path(home);
    let temporary = Staged::temporary_path(&path, TAG);
    let failed = |source| FileError::Io { doing: "write", path: path.clone(), source };
    fs::rename(waiting, &temporary).map_err(failed)?;
    Staged::adopt(&path, TAG).ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()).into())
}

fn write(path: &Path, access: Access, contents: &mut dyn Read) -> Result<(), BackupError> {
    Ok(files::write(path, access, files::Placement::New, read_small(contents)?.expose())?)
}
