//! The CA's home: one private directory, and the names of the files in it.
//!
//! Nothing else in the program knows these names.

use std::path::{Path, PathBuf};

/// The directory that holds a cluster's CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    directory: PathBuf,
}

impl Home {
    /// The home at `directory`, which need not exist yet.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        // An empty path means the current directory, as it does to every other tool.
        Self { directory: if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory } }
    }

    /// The directory itself.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The trust bundle, public: copied to every machine.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.directory.join("cluster.crt")
    }

    /// The root's private key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.directory.join("cluster.key")
    }

    /// The current revocation list.
    #[must_use]
    pub fn crl(&self) -> PathBuf {
        self.directory.join("cluster.crl")
    }

    /// The inventory.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.directory.join("ca.db")
    }

    /// Which key management services are used, and what logs in to them.
    #[must_use]
    pub fn kms(&self) -> PathBuf {
        self.directory.join("kms.json")
    }

    /// Where issued pairs go unless told otherwise.
    #[must_use]
    pub fn issued(&self) -> PathBuf {
        self.directory.join("issued")
    }
}
