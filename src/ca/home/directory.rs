//! Path of a CA home and the names of the files in it.
//!
//! No other module knows these names.

use std::path::{Path, PathBuf};

/// A CA home: the directory that holds the files of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    directory: PathBuf,
}

impl Home {
    /// Refers to the home at `directory`, which need not exist yet.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        // An empty path means the current directory, as in other tools.
        Self { directory: if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory } }
    }

    /// Path of the directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Path of the trust bundle. It is public and distributed to every machine.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.directory.join("cluster.crt")
    }

    /// Path of the root's private key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.directory.join("cluster.key")
    }

    /// Path of the private key that signs access tokens.
    #[must_use]
    pub fn token_key(&self) -> PathBuf {
        self.directory.join("tokens.key")
    }

    /// Path of the private key under which passwords for directories are encrypted.
    #[must_use]
    pub fn ldap_key(&self) -> PathBuf {
        self.directory.join("ldap.key")
    }

    /// Path of the certificate of that key.
    #[must_use]
    pub fn token_certificate(&self) -> PathBuf {
        self.directory.join("tokens.crt")
    }

    /// Path of the statement by which gateways judge tokens. It is public and distributed to every gateway.
    #[must_use]
    pub fn token_statement(&self) -> PathBuf {
        self.directory.join("cluster.tokens")
    }

    /// Path of the current CRL.
    #[must_use]
    pub fn crl(&self) -> PathBuf {
        self.directory.join("cluster.crl")
    }

    /// Path of the statement about a long CRL.
    #[must_use]
    pub fn crl_statement(&self) -> PathBuf {
        self.directory.join("cluster.crl.statement")
    }

    /// Path of the inventory.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.directory.join("ca.db")
    }

    /// Path of the configuration of key management services, with their credentials.
    #[must_use]
    pub fn kms(&self) -> PathBuf {
        self.directory.join("kms.json")
    }

    /// Default directory of issued certificates and their keys.
    #[must_use]
    pub fn issued(&self) -> PathBuf {
        self.directory.join("issued")
    }
}
