//! Putting a backup back: refused where it would forget something, unless what it would forget is taken
//! in first.

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

/// What is to be put back, and what is known besides.
#[derive(Debug)]
pub struct RestoreOptions<'a> {
    /// The backup.
    pub file: &'a Path,
    /// What opens it.
    pub passphrase: &'a Secret,
    /// Whether what the backup does not know is taken into it.
    pub reconcile: bool,
    /// Newer revocation lists, such as a gateway's.
    pub crls: &'a [PathBuf],
    /// Directories with certificates that may have been issued since.
    pub certificates: &'a [PathBuf],
    /// What is enforced, as gateways have said.
    pub enforced: &'a [EnforcedCrl],
    /// Whether somebody says that nothing was revoked since the backup was made.
    pub no_newer_crl: bool,
}

/// A revocation list that a gateway enforces: nothing but its number is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnforcedCrl {
    /// Where the gateway is.
    pub gateway: String,
    /// The key that signed the list.
    pub issuer: KeyIdentifier,
    /// Its number.
    pub number: CrlNumber,
}

/// A home that was put back.
#[derive(Debug, Serialize)]
pub struct Restored {
    /// The home.
    #[serde(serialize_with = "crate::files::as_text")]
    pub home: PathBuf,
    /// What the backup says of itself.
    #[serde(flatten)]
    pub manifest: Manifest,
    /// What was put back.
    pub files: Vec<String>,
    /// Whether the inventory that was there stayed: it has all that the backup has, and more.
    pub kept_inventory: bool,
    /// Whether the root's key stayed as it is protected there, be it a file or held by a service.
    pub kept_key: bool,
    /// How many certificates were taken in that the backup does not know.
    pub adopted: u64,
    /// How many revocations were taken in that the backup does not know.
    pub revocations: u64,
}

/// Puts a backup back into an empty home, or over one of the same cluster. A crash at any point leaves the
/// old home or the new one.
///
/// # Errors
/// [`BackupError`]; then nothing was changed. Above all [`BackupError::LosesRevocations`] and
/// [`BackupError::LosesChanges`], which [`RestoreOptions::reconcile`] answers.
pub fn restore(
    home: &Home,
    options: &RestoreOptions<'_>,
    context: &Context,
) -> Result<Restored, BackupError> {
    home.prepare()?;
    let lock = home.lock(&*context.clock)?;
    staging::sweep(home)?;
    let scratch = Scratch::beside(&home.directory().join(TAG), context)?;
    let mut others: Vec<(Part, PathBuf)> = Vec::new();
    let unpacked = unpack(options.file, options.passphrase, scratch.directory(), |part, contents| {
        let waiting = scratch.directory().join(others.len().to_string());
        write(&waiting, part.access(), contents)?;
        others.push((part, waiting));
        Ok(())
    })?;
    let mut verified = unpacked.judge()?;
    let existing = existing(home, &verified)?;
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
    // A newer list stays, until one that is newer still takes its place.
    let keeps_crl = known.at_home > verified.crl_number;

    let key_is_kept = has_key(home, &verified)?;

    let VerifiedBackup { manifest, key, bundle, crl, inventory, .. } = verified;
    // Closing takes the log into the database, so that one file is all there is to rename.
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
        // What is there is at least as new.
        if !files::occupied(&path) {
            files::make_private_directory(files::parent(&path))?;
            staged.push(adopt(home, &part, &waiting)?);
            parts.push(part);
        }
    }
    staged.into_iter().for_each(Staged::leave);
    // Nothing waits in it any more; from the commit on, nothing of the old home is left to sweep.
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

/// How the inventory that is there stands to the backup's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// There is none that can be read.
    Nothing,
    /// It is the same, or an older state.
    Behind,
    /// It has all that the backup's has, and more.
    Ahead,
    /// Each has something that the other has not.
    Diverged,
}

impl Relation {
    /// By their audit chains: one contains the other's end, or neither does.
    fn of(verified: &VerifiedBackup, existing: &Inventory) -> Result<Self, StoreError> {
        let (ours, theirs) = (verified.inventory.audit_head()?, existing.audit_head()?);
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

/// The inventory that is there, if it can be read; another cluster's is never replaced.
fn existing(home: &Home, verified: &VerifiedBackup) -> Result<Option<Inventory>, BackupError> {
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
    match Inventory::open_reader(&home.database()).and_then(|inventory| Ok((inventory.cluster()?, inventory)))
    {
        Ok((facts, _)) if facts.uuid != verified.manifest.uuid => Err(other_cluster()),
        Ok((_, inventory)) => Ok(Some(inventory)),
        // Damaged: that is what backups are for.
        Err(
            StoreError::Corrupt { .. }
            | StoreError::Damaged { .. }
            | StoreError::Foreign { .. }
            | StoreError::Incomplete { .. },
        ) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The revocation lists in the home. What a list says that cannot be read, nobody knows: it may be the only
/// one that tells of a revocation.
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

/// The revocation lists that are known of beside the backup's.
struct KnownCrls {
    /// The root whose lists count.
    issuer: KeyIdentifier,
    /// The highest number that the backup's inventory has set aside.
    backup: u64,
    /// The highest number that the inventory has set aside that is there.
    theirs: CrlNumber,
    /// The highest number of a list that lies in the home.
    at_home: CrlNumber,
    /// The highest number that is known here, and what it revokes with it.
    seen: CrlNumber,
    lists: Vec<VerifiedCrl>,
    /// Who knows of lists that are as new as the backup's: nobody who knows less can say that there is
    /// no newer one.
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
        let newest = |lists: &[VerifiedCrl]| {
            let of_issuer = lists.iter().filter(|list| list.crl.issuer == issuer.key_id);
            of_issuer.map(|list| list.crl.number).max()
        };
        let mut lists = home_crls(home, verified, context)?;
        let at_home = newest(&lists);
        let mut known_to = vec![("the list in the home".to_owned(), at_home)];
        for path in options.crls {
            let given = VerifiedCrl::read(path, &verified.trust, context.now())?;
            known_to.push((path.display().to_string(), newest(&given)));
            lists.extend(given);
        }
        let theirs = existing
            .map(Inventory::active_issuer)
            .transpose()?
            .map_or(0, |issuer| issuer.next_crl_number.saturating_sub(1));
        let theirs = CrlNumber::from(theirs);
        if existing.is_some() {
            known_to.push(("the inventory in the home".to_owned(), Some(theirs)));
        }
        let at_gateways = options.enforced.iter().filter(|enforced| enforced.issuer == issuer.key_id);
        known_to.extend(at_gateways.map(|enforced| (enforced.gateway.clone(), Some(enforced.number))));
        let as_new = |known: &CrlNumber| *known >= verified.crl_number;
        let confirmed_by = known_to.into_iter().filter(|(_, known)| known.as_ref().is_some_and(as_new));
        let confirmed_by = confirmed_by.map(|(source, _)| source).collect();
        let seen = newest(&lists).map_or(theirs, |seen| seen.max(theirs));
        let backup = issuer.next_crl_number.saturating_sub(1);
        let at_home = at_home.unwrap_or(CrlNumber::from(0));
        Ok(Self { issuer: issuer.key_id, backup, theirs, at_home, seen, lists, confirmed_by })
    }

    /// Refuses a backup of which nobody can say whether a newer list than its own exists: the next list
    /// would take the number of that one, and what it revokes would hold again.
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

    /// Refuses a backup that lacks what has been revoked since: unless that is taken in, and all of it
    /// is at hand.
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

/// Takes into the backup's inventory what it would forget; the answer is how many certificates and
/// revocations that were.
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
        for list in &known.lists {
            missing.find_in_list(&verified.inventory, list)?;
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
        "newest_list_known_to": known.confirmed_by,
        "no_newer_list": options.no_newer_crl,
    });
    let target = verified.manifest.cluster.clone();
    let mut transaction = transaction.record(Action::HomeRestore, target, Outcome::Success, details)?;
    transaction = missing.record(transaction)?;
    if options.reconcile {
        let KnownCrls { issuer, backup, seen, .. } = known;
        let unrevokes = BackupError::LosesRevocations { backup: *backup, seen: *seen, gateway: None };
        let seen = seen.to_u64().ok_or(unrevokes)?;
        transaction = transaction.skip_crl_numbers(issuer, seen)?;
        // A number that is set aside and not used: whoever opens the home next owes a list.
        (transaction, _) = transaction.reserve_crl_number(issuer)?;
    }
    transaction.commit()?;
    Ok((adopted, revocations))
}

/// Whether the root's key is there, or a service or a token that holds it: what protects it is at least as
/// new there as in the backup, whose copy may be from before anything did.
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

/// Gives a file that waits in the scratch directory the temporary name beside its place.
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
