//! Verification of a backup without restoring it.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::BackupError;
use super::manifest::Manifest;
use super::staging::{Scratch, TAG, sweep};
use super::unpack::{read_small, unpack};
use crate::ca::context::Context;
use crate::identity::TrustDomain;
use crate::secret::Secret;
use crate::x509::trust::TrustBundle;

/// Verify that a backup is complete and consistent, without restoring it.
///
/// # Errors
/// [`BackupError`].
pub fn verify_backup(file: &Path, passphrase: &Secret, context: &Context) -> Result<Manifest, BackupError> {
    inspect(file, passphrase, context, |_| false).map(|inside| inside.manifest)
}

/// Contents of a backup that are needed to query gateways before restoring it.
#[derive(Debug)]
pub struct BackupContents {
    /// Summary of the backup.
    pub manifest: Manifest,
    /// Trust anchors of its cluster.
    pub trust: TrustBundle,
    /// Trust domain of its cluster.
    pub trust_domain: TrustDomain,
    /// Requested parts by name.
    pub parts: BTreeMap<String, Secret>,
}

/// Verify a backup and return the settings and issued files that `wanted` selects by name, such as
/// `issued/user-alice.crt`.
///
/// # Errors
/// [`BackupError`].
pub fn inspect(
    file: &Path,
    passphrase: &Secret,
    context: &Context,
    wanted: impl Fn(&str) -> bool,
) -> Result<BackupContents, BackupError> {
    // Never beside the backup, which may be on a medium that others hold.
    let elsewhere = std::env::temp_dir().join(TAG);
    sweep(&elsewhere);
    let scratch = Scratch::beside(&elsewhere, context)?;
    let mut parts = BTreeMap::new();
    let unpacked = unpack(file, passphrase, scratch.directory(), |part, contents| {
        let name = part.name();
        if wanted(&name) {
            parts.insert(name, read_small(contents)?);
        }
        Ok(())
    })?;
    let verified = unpacked.verify(context)?;
    let trust_domain = verified.inventory.cluster()?.trust_domain;
    Ok(BackupContents { manifest: verified.manifest, trust: verified.trust, trust_domain, parts })
}
