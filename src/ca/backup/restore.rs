//! Putting a backup back: refused where it would forget something, unless what it would forget is taken
//! in first.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use super::place::{self, Scratch, TAG};
use super::reconcile::{Forgotten, List};
use super::unpack::{Judged, unpack, unreadable};
use super::{BackupError, Manifest, Part};
use crate::audit::{Action, Outcome};
use crate::ca::{Context, Home};
use crate::files::{self, Access, FileError, Staged};
use crate::secret::Secret;
use crate::store::{Inventory, StoreError};
use crate::x509::crl::CrlNumber;
use crate::x509::pem;

/// What is to be put back, and what is known besides.
#[derive(Debug)]
pub struct Restore<'a> {
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
}

/// A home that was put back.
#[derive(Debug, Serialize)]
pub struct Restored {
    /// The home.
    pub home: PathBuf,
    /// What the backup says of itself.
    #[serde(flatten)]
    pub manifest: Manifest,
    /// What was put back.
    pub files: Vec<String>,
    /// Whether the inventory that was there stayed: it has all that the backup has, and more.
    pub kept_inventory: bool,
    /// How many certificates were taken in that the backup does not know.
    pub adopted: u64,
    /// How many revocations were taken in that the backup does not know.
    pub revocations: u64,
}

/// Puts a backup back into an empty home, or over one of the same cluster. A crash at any point leaves the
/// old home or the new one.
///
/// # Errors
/// [`BackupError`]; then nothing was changed. Above all [`BackupError::Unrevokes`] and
/// [`BackupError::Forgets`], which [`Restore::reconcile`] answers.
pub fn restore(home: &Home, wanted: &Restore<'_>, context: &Context) -> Result<Restored, BackupError> {
    home.prepare()?;
    let lock = home.lock()?;
    place::sweep(home)?;
    let scratch = Scratch::beside(&home.directory().join(TAG), context)?;
    let mut others: Vec<(Part, PathBuf)> = Vec::new();
    let unpacked = unpack(wanted.file, wanted.passphrase, scratch.directory(), |part, contents| {
        let waiting = scratch.directory().join(others.len().to_string());
        write(&waiting, part.access(), contents)?;
        others.push((part, waiting));
        Ok(())
    })?;
    let mut judged = unpacked.judge()?;
    let existing = existing(home, &judged)?;
    let relation = match &existing {
        Some(existing) => Relation::of(&judged, existing)?,
        None => Relation::Nothing,
    };
    let kept_inventory = relation == Relation::Ahead && wanted.reconcile;
    let (adopted, revocations) = if kept_inventory {
        (0, 0)
    } else {
        reconcile(home, &mut judged, existing.as_ref(), relation, wanted, context)?
    };
    drop(existing);
    // A newer list stays, until one that is newer still takes its place.
    let keeps_list = lists_in(home, &judged, context).iter().any(|list| list.crl.number > judged.crl_number);

    let Judged { manifest, key, bundle, crl, inventory, .. } = judged;
    // Closing takes the log into the database, so that one file is all there is to rename.
    drop(inventory);
    let mut parts = vec![Part::Certificate];
    let mut staged = vec![Staged::create(&home.certificate(), TAG, Access::Public, &bundle)?];
    if let Some(key) = key {
        parts.push(Part::Key);
        staged.push(Staged::create(&home.key(), TAG, Access::Private, key.expose())?);
    }
    if !kept_inventory {
        parts.push(Part::Database);
        staged.push(adopt(home, &Part::Database, &scratch.directory().join(Part::Database.name()))?);
    }
    if !kept_inventory && !keeps_list {
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
    place::commit(home, &parts, &lock)?;
    Ok(Restored {
        home: files::absolute(home.directory())?,
        manifest,
        files: parts.iter().map(Part::name).collect(),
        kept_inventory,
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
    fn of(judged: &Judged, existing: &Inventory) -> Result<Self, StoreError> {
        let (ours, theirs) = (judged.inventory.audit_head()?, existing.audit_head()?);
        let contains = |inventory: &Inventory, head: crate::audit::Head| {
            Ok::<_, StoreError>(inventory.audit_entry(head.seq)?.is_some_and(|entry| entry.hash == head.hash))
        };
        Ok(if contains(&judged.inventory, theirs)? {
            Self::Behind
        } else if contains(existing, ours)? && existing.check_against_audit().is_ok() {
            Self::Ahead
        } else {
            Self::Diverged
        })
    }
}

/// The inventory that is there, if it can be read; another cluster's is never replaced.
fn existing(home: &Home, judged: &Judged) -> Result<Option<Inventory>, BackupError> {
    let root = judged.inventory.active_issuer()?.certificate;
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
        Ok((facts, _)) if facts.uuid != judged.manifest.uuid => Err(other_cluster()),
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

/// The revocation lists in the home; one that is damaged says nothing.
fn lists_in(home: &Home, judged: &Judged, context: &Context) -> Vec<List> {
    List::read(&home.crl(), &judged.trust, context.now()).unwrap_or_default()
}

/// Refuses a backup that would forget something, or takes that into its inventory first; the answer is
/// how many certificates and revocations that were.
fn reconcile(
    home: &Home,
    judged: &mut Judged,
    existing: Option<&Inventory>,
    relation: Relation,
    wanted: &Restore<'_>,
    context: &Context,
) -> Result<(u64, u64), BackupError> {
    if matches!(relation, Relation::Ahead | Relation::Diverged) && !wanted.reconcile {
        return Err(BackupError::Forgets { made_at: judged.manifest.made_at });
    }
    let mut lists = lists_in(home, judged, context);
    for path in wanted.crls {
        lists.extend(List::read(path, &judged.trust, context.now())?);
    }
    let issuer = judged.inventory.active_issuer()?;
    let own = issuer.next_crl_number.saturating_sub(1);
    let theirs =
        existing.map(Inventory::active_issuer).transpose()?.map_or(0, |issuer| issuer.next_crl_number - 1);
    let seen = lists
        .iter()
        .filter(|list| list.crl.issuer == issuer.key_id)
        .map(|list| list.crl.number)
        .fold(CrlNumber::from(theirs), CrlNumber::max);
    if seen > CrlNumber::from(own) && !wanted.reconcile {
        return Err(BackupError::Unrevokes { backup: own, seen });
    }
    let mut forgotten = Forgotten::default();
    if wanted.reconcile {
        if let Some(existing) = existing {
            forgotten.find_in_inventory(&judged.inventory, existing)?;
        }
        let location = files::absolute(home.directory())?;
        for directory in [home.issued()].iter().chain(wanted.certificates) {
            forgotten.find_in_directory(&location, judged, &files::absolute(directory)?)?;
        }
        for list in &lists {
            forgotten.find_in_list(&judged.inventory, list)?;
        }
    }
    let (adopted, revocations) = forgotten.counts();
    let provenance = context.provenance(None);
    let transaction = judged.inventory.begin(&provenance)?;
    let details = json!({
        "backup_made_at": crate::clock::rfc3339(judged.manifest.made_at),
        "backup_audit_head": judged.manifest.audit_head,
        "certificates_adopted": adopted,
        "revocations_adopted": revocations,
        "crl_number_seen": seen,
    });
    let target = judged.manifest.cluster.clone();
    let mut transaction = transaction.record(Action::HomeRestore, target, Outcome::Success, details)?;
    transaction = forgotten.record(transaction)?;
    if wanted.reconcile {
        let seen = seen.to_u64().ok_or(BackupError::Unrevokes { backup: own, seen })?;
        transaction = transaction.skip_crl_numbers(&issuer.key_id, seen)?;
        // A number that is set aside and not used: whoever opens the home next owes a list.
        (transaction, _) = transaction.reserve_crl_number(&issuer.key_id)?;
    }
    transaction.commit()?;
    Ok((adopted, revocations))
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
    let mut bytes = Vec::new();
    contents.take(files::SMALL_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    // Its bytes may be a key: zeroized when it is dropped.
    let bytes = Secret::new(bytes);
    if u64::try_from(bytes.expose().len()).is_ok_and(|length| length > files::SMALL_FILE) {
        return Err(BackupError::Inconsistent { why: "one of its parts is larger than such a file may be" });
    }
    Ok(files::write(path, access, files::Placement::New, bytes.expose())?)
}
