//! Backups: a home in one sealed file, made while others work, and put back without forgetting a
//! revocation.
//!
//! A backup is a tar (`Part` says what is in it) in an age file that a passphrase opens. Nothing in it is
//! believed before its end was reached and its parts were found to belong together.

mod error;
mod make;
mod part;
mod place;
mod reconcile;
mod restore;
mod unpack;

pub use error::BackupError;
pub use make::{BackedUp, back_up};
pub use restore::{EnforcedCrl, Restore, Restored, restore};

use part::Part;
pub(super) use place::{finish_interrupted, is_interrupted};

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::identity::TrustDomain;
use crate::secret::Secret;
use crate::x509::trust::TrustBundle;

use super::Context;

/// The version of what is in the tar.
const FORMAT: u32 = 1;

/// What a backup says of itself: its first part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of what follows.
    format: u32,
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's UUID.
    pub uuid: Uuid,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub made_at: OffsetDateTime,
    /// The number of the newest CRL in it.
    pub crl_number: u64,
    /// How many certificates it knows.
    pub certificates: u64,
    /// The end of its audit chain: how many entries, and the hash of the last.
    pub audit_head: (u64, String),
}

/// Opens a backup and checks that all of it is there and belongs together, without putting anything back.
///
/// # Errors
/// [`BackupError`] with what is wrong with it.
pub fn verify_backup(file: &Path, passphrase: &Secret, context: &Context) -> Result<Manifest, BackupError> {
    look_into(file, passphrase, context, |_| false).map(|inside| inside.manifest)
}

/// What a backup has that is needed to ask gateways before it is put back.
#[derive(Debug)]
pub struct Inside {
    /// What it says of itself.
    pub manifest: Manifest,
    /// The roots that its cluster trusts.
    pub trust: TrustBundle,
    /// The trust domain of its cluster.
    pub trust_domain: TrustDomain,
    /// The parts that were asked for, by name.
    pub parts: BTreeMap<String, Secret>,
}

/// Like [`verify_backup`], with those of its settings and issued files that `wanted` names, such as
/// `issued/user-alice.crt`.
///
/// # Errors
/// [`BackupError`] with what is wrong with it.
pub fn look_into(
    file: &Path,
    passphrase: &Secret,
    context: &Context,
    wanted: impl Fn(&str) -> bool,
) -> Result<Inside, BackupError> {
    // A backup may lie where nothing can be written.
    let elsewhere = std::env::temp_dir().join(place::TAG);
    let scratch = place::Scratch::beside(file, context);
    let scratch = scratch.or_else(|_| place::Scratch::beside(&elsewhere, context))?;
    let mut parts = BTreeMap::new();
    let unpacked = unpack::unpack(file, passphrase, scratch.directory(), |part, contents| {
        let name = part.name();
        if wanted(&name) {
            parts.insert(name, unpack::read_small(contents)?);
        }
        Ok(())
    })?;
    let judged = unpacked.judge()?;
    let trust_domain = judged.inventory.cluster()?.trust_domain;
    Ok(Inside { manifest: judged.manifest, trust: judged.trust, trust_domain, parts })
}
