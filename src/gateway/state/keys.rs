//! Private keys that the configuration names, as far as they are available.

use crate::gateway::config::Config;
use crate::mtls::keys::{KeyLoadError, KeyOpener, KeyProgress, LoadedKey};
use crate::x509::Sha256;

/// Private keys of the gateway's certificate and of its assertions.
#[derive(Debug)]
pub struct LoadedKeys {
    pub(super) identity: LoadedKey,
    /// `None` where the configuration has no assertion key.
    pub(super) assertion: Option<LoadedKey>,
    /// Progress of opening them.
    pub progress: KeyProgress,
}

impl LoadedKeys {
    /// No key, for a state that is never served.
    #[must_use]
    pub fn none() -> Self {
        Self { identity: LoadedKey::Pending, assertion: None, progress: KeyProgress::default() }
    }

    /// Find the keys of `config`, given the fingerprints of the keys in force.
    pub(super) fn find(
        opener: &KeyOpener,
        config: &Config,
        identity_in_force: Option<Sha256>,
        assertion_in_force: Option<Sha256>,
    ) -> Result<Self, KeyLoadError> {
        let mut progress = KeyProgress::default();
        let mut wanted = Vec::new();
        let mut find = |source, in_force| {
            let (fingerprint, key) = opener.find(source, in_force, &mut progress)?;
            wanted.push(fingerprint);
            Ok::<_, KeyLoadError>(key)
        };
        let identity = find(&config.identity.key, identity_in_force)?;
        let assertion = config.assertion.as_ref().and_then(|assertion| assertion.key.as_ref());
        let assertion = assertion.map(|source| find(source, assertion_in_force)).transpose()?;
        opener.retain(&wanted);
        Ok(Self { identity, assertion, progress })
    }

    /// Return true if a new key is open and can take effect.
    #[must_use]
    pub fn has_new_key(&self) -> bool {
        let mut keys = std::iter::once(&self.identity).chain(&self.assertion);
        keys.any(|key| matches!(key, LoadedKey::Opened { .. }))
    }
}
