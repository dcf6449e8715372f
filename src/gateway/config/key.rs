//! Private keys in the configuration: `key`, and beside it `kms`, `kms_timeout` or `passphrase_file`.

use std::path::Path;
use std::time::Duration;

use super::error::ConfigError;
use crate::files;
use crate::keys::CredentialsFile;
use crate::mtls::keys::KeySource;
use crate::yaml::reader::{Fields, Item, KeyFiles};
use crate::yaml::values::{duration_of, loaded, with_unit};

/// Read `key` and the fields beside it. `None` without a key, or after a reported problem.
pub(super) fn read(key: Option<&Item<'_>>, fields: &mut Fields<'_>, base: &Path) -> Option<KeySource> {
    let private = |item: &Item<'_>| {
        loaded(item, base, |path| match item.key_files() {
            KeyFiles::Checked => files::read_private(path).map(drop),
            KeyFiles::Unchecked => Ok(()),
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
    let opener = opener.or_else(|| passphrase.map(|item| private(&item).map(CredentialsFile::Passphrase)));
    let timeout = timeout.map_or(Some(KeySource::TIMEOUT), |item| with_unit(&item, bounded));
    Some(KeySource {
        path: path?,
        opener: match opener {
            Some(opener) => Some(opener?),
            None => None,
        },
        timeout: timeout?,
    })
}

fn bounded(text: &str) -> Result<Duration, ConfigError> {
    match duration_of(text) {
        Ok(timeout) if (Duration::from_secs(1)..=KeySource::MAX_TIMEOUT).contains(&timeout) => Ok(timeout),
        _ => Err(ConfigError::KmsTimeout),
    }
}
