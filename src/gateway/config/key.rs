//! Where a private key of the gateway's is, and what opens it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reader::{Fields, Item, KeyFiles};
use super::{ConfigError, duration_of, loaded, with_unit};
use crate::files;
use crate::keys::{CredentialsFile, KeyError, ProtectedKey};

/// A private key's file, which nobody but its owner may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySource {
    /// The file.
    pub path: PathBuf,
    /// What opens it, where it is protected by more than its mode.
    pub opener: Option<CredentialsFile>,
    /// How long the gateway waits at its start for what opens it.
    pub timeout: Duration,
}

impl KeySource {
    /// The default of [`KeySource::timeout`].
    pub const TIMEOUT: Duration = Duration::from_secs(60);

    /// Whoever waits longer is better served by a service manager that starts it again.
    const LONGEST: Duration = Duration::from_secs(3_600);

    /// Reads what is in the files now; opens nothing.
    ///
    /// # Errors
    /// As [`ProtectedKey::read`].
    pub fn read(&self) -> Result<ProtectedKey, KeyError> {
        ProtectedKey::read(&self.path, self.opener.as_ref())
    }

    /// Reads `key`, and beside it among `fields` what opens it; `None` where there is no key, or where
    /// something is wrong, which was reported.
    pub(super) fn from(key: Option<&Item<'_>>, fields: &mut Fields<'_>, base: &Path) -> Option<Self> {
        let private = |item: &Item<'_>| {
            loaded(item, base, |path| match item.key_files() {
                KeyFiles::Checked => files::read_private(path).map(drop),
                KeyFiles::Left => Ok(()),
            })
        };
        let kms = fields.optional("kms");
        let passphrase = fields.optional("passphrase_file");
        let timeout = fields.optional("kms_timeout");
        if let (Some(_), Some(second)) = (&kms, &passphrase) {
            second.report(ConfigError::TwoOpeners);
        }
        if let (Some(unused), None) = (&timeout, &kms) {
            unused.report(ConfigError::KmsTimeoutUnused);
        }
        for unused in [&kms, &passphrase].into_iter().flatten().filter(|_| key.is_none()) {
            unused.report(ConfigError::NoKey);
        }
        let path = key.and_then(private);
        let opener = kms.map(|item| private(&item).map(CredentialsFile::Kms));
        let opener =
            opener.or_else(|| passphrase.map(|item| private(&item).map(CredentialsFile::Passphrase)));
        let timeout = timeout.map_or(Some(Self::TIMEOUT), |item| with_unit(&item, bounded));
        Some(Self {
            path: path?,
            opener: match opener {
                Some(opener) => Some(opener?),
                None => None,
            },
            timeout: timeout?,
        })
    }
}

fn bounded(text: &str) -> Result<Duration, ConfigError> {
    match duration_of(text) {
        Ok(timeout) if (Duration::from_secs(1)..=KeySource::LONGEST).contains(&timeout) => Ok(timeout),
        _ => Err(ConfigError::KmsTimeout),
    }
}
