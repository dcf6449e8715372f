//! Path of a CA home and the names of the files in it.
//!
//! No other module knows these names.

use std::path::{Path, PathBuf};

use crate::x509::Sha256;

/// Start of the name of a key that was set for the server.
const SERVER_KEY: &str = "server-";

/// End of the names of keys.
const KEY_SUFFIX: &str = ".key";

/// A CA home: the directory that holds the files of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    directory: PathBuf,
    given: PathBuf,
}

impl Home {
    /// Refer to the home at `directory`, which need not exist yet.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        // An empty path means the current directory, as in other tools.
        let directory = if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory };
        Self { given: directory.clone(), directory }
    }

    /// Record the path that the user gave, before its symbolic links were resolved.
    #[must_use]
    pub fn given_as(self, given: impl Into<PathBuf>) -> Self {
        Self { given: given.into(), ..self }
    }

    /// Path that the user gave. A user who can replace a link on it chooses the home.
    #[must_use]
    pub fn given(&self) -> &Path {
        &self.given
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

    /// Path of the certificate that was set for the server.
    #[must_use]
    pub fn server_certificate(&self) -> PathBuf {
        self.directory.join("server.crt")
    }

    /// Path of the private key of a certificate that was set for the server, by the digest of its public key.
    #[must_use]
    pub fn server_key(&self, key_id: &Sha256) -> PathBuf {
        let digits: String = key_id.to_string().chars().take(16).collect();
        self.directory.join(format!("{SERVER_KEY}{digits}{KEY_SUFFIX}"))
    }

    /// True for a path that [`Home::server_key`] returns.
    #[must_use]
    pub fn is_server_key(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let digits = name.strip_prefix(SERVER_KEY).and_then(|rest| rest.strip_suffix(KEY_SUFFIX));
        digits.is_some_and(|digits| digits.len() == 16 && digits.chars().all(|c| c.is_ascii_hexdigit()))
    }

    /// Path of the one-time password of the first administrator.
    #[must_use]
    pub fn first_password(&self) -> PathBuf {
        self.directory.join("first-password")
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
