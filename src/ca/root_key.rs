//! Root key that a server opens once and uses for every change.

use super::cluster::Cluster;
use super::context::Context;
use super::error::CaError;
use super::home::directory::Home;
use crate::files;
use crate::keys::{KeyFile, PrivateKey, Protection};

/// Root key of a home, opened once: a passphrase or a KMS is not needed again.
#[derive(Clone, Debug)]
pub struct RootKey {
    key: PrivateKey,
    protection: Protection,
}

impl RootKey {
    /// Open the root key of the home, and check it against the root certificate.
    ///
    /// # Errors
    /// [`CaError::KeyMismatch`] for a key of another root, and errors of opening the home and the key.
    pub fn open(home: &Home, context: &Context) -> Result<Self, CaError> {
        let cluster = Cluster::open(home, context)?;
        let protection = match cluster.remote_signer()? {
            Some(signer) => Protection::NotExportable { by: signer.to_string() },
            None if files::occupied(&home.key()) => KeyFile::read(&home.key())?.protection(),
            None => Protection::None,
        };
        Ok(Self { key: cluster.root_key()?, protection })
    }

    /// Protection of the key at rest when it was opened.
    #[must_use]
    pub const fn protection(&self) -> &Protection {
        &self.protection
    }

    /// The key, if it is that of the cluster's root.
    pub(super) fn of(&self, cluster: &Cluster) -> Result<PrivateKey, CaError> {
        match self.key.public_key_info() == cluster.root.public_key_info {
            true => Ok(self.key.clone()),
            false => {
                let (key, certificate) = (cluster.home.key(), cluster.home.certificate());
                Err(CaError::KeyMismatch { key, certificate })
            }
        }
    }
}
