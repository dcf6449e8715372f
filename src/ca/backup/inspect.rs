//! Verification of a backup without restoring it.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::BackupError;
use super::manifest::Manifest;
use super::staging::{Scratch, TAG};
use super::unpack::{read_small, unpack};
use crate::ca::context::Context;
use crate::identity::TrustDomain;
use crate::secret::Secret;
use crate::x509::trust::TrustBundle;

/// Opens a backup and checks that all of it is there and belongs together, without putting anything back.
///
/// # Errors
/// [`BackupError`] with what is wrong with it.
pub fn verify_backup(file: &Path, passphrase: &Secret, context: &Context) -> Result<Manifest, BackupError> {
    inspect(file, passphrase, context, |_| false).map(|inside| inside.manifest)
}

/// What a backup has that is needed to ask gateways before it is put back.
#[derive(Debug)]
pub struct BackupContents {
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
pub fn inspect(
    file: &Path,
    passphrase: &Secret,
    context: &Context,
    wanted: impl Fn(&str) -> bool,
) -> Result<BackupContents, BackupError> {
    // A backup may lie where nothing can be written.
    let elsewhere = std::env::temp_dir().join(TAG);
    let scratch = Scratch::beside(file, context);
    let scratch = scratch.or_else(|_| Scratch::beside(&elsewhere, context))?;
    let mut parts = BTreeMap::new();
    let unpacked = unpack(file, passphrase, scratch.directory(), |part, contents| {
        let name = part.name();
        if wanted(&name) {
            parts.insert(name, read_small(contents)?);
        }
        Ok(())
    })?;
    let verified = unpacked.judge()?;
    let trust_domain = verified.inventory.cluster()?.trust_domain;
    Ok(BackupContents { manifest: verified.manifest, trust: verified.trust, trust_domain, parts })
}
