//! Certificate and key that the server presents instead of its own, set by an administrator.
//!
//! The certificate is `server.crt` in the home, and its key has a name with the digest of its public key. The rename of
//! the certificate replaces the pair: a crash leaves the former pair or the new one, and never half of each.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::protection::KeyProtection;
use crate::audit::Action;
use crate::ca::cluster::Cluster;
use crate::ca::error::CaError;
use crate::error::{Code, Coded};
use crate::files::{self, Access, FileError, Placement, Staged};
use crate::keys::{KeyError, PrivateKey};
use crate::secret::Secret;
use crate::x509::{Certificate, ExtendedKeyUsage, Sha256, SubjectAltName, X509Error, pem};

/// Tag in the name of the temporary file.
const TAG: &str = "tls";

/// Certificate chain and key that were set for the server.
#[derive(Clone, Debug)]
pub struct TlsPair {
    /// Path of the chain.
    pub certificate: PathBuf,
    /// Path of the private key.
    pub key: PathBuf,
    /// Parsed chain, the leaf first.
    pub chain: Vec<Certificate>,
}

/// A pair that a server cannot present.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsPairError {
    /// An error of the home.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// A certificate is not signed by the one that follows it.
    #[error("the certificate of {subject} is not signed by the next one in the file, that of {issuer}")]
    Chain {
        /// Subject of the certificate.
        subject: String,
        /// Subject of the next one.
        issuer: String,
    },
    /// The first certificate is that of a CA.
    #[error(
        "the first certificate in the file, that of {subject}, is a CA: the server's own must come first"
    )]
    CaFirst {
        /// Subject of the certificate.
        subject: String,
    },
    /// The key does not belong to the certificate.
    #[error("the private key does not belong to the first certificate in the file")]
    KeyMismatch,
    /// The private key cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The certificate has no name that a client could verify.
    #[error("the certificate has no DNS name and no IP address")]
    NoNames,
    /// No certificate was set.
    #[error("no certificate was set for the server: it presents its own")]
    NotSet,
    /// A certificate has expired, or is not valid yet.
    #[error("the certificate of {subject} is not valid now: from {from} until {until}")]
    NotValid {
        /// Subject of the certificate.
        subject: String,
        /// Start of the validity.
        from: String,
        /// End of the validity.
        until: String,
    },
    /// The certificate is not for servers.
    #[error("the certificate is not for servers: its extended key usage lacks serverAuth")]
    Purpose,
    /// The file has no certificates, or damaged ones.
    #[error(transparent)]
    X509(#[from] X509Error),
}

impl From<FileError> for TlsPairError {
    fn from(error: FileError) -> Self {
        Self::Ca(error.into())
    }
}

impl Coded for TlsPairError {
    fn coded(&self) -> Code {
        match self {
            Self::Ca(error) => error.coded(),
            Self::Chain { .. } => Code::refused("tls.chain"),
            Self::CaFirst { .. } => Code::refused("tls.ca_first"),
            Self::KeyMismatch => Code::refused("tls.key_mismatch"),
            Self::Key(_) => Code::refused("tls.key"),
            Self::NoNames => Code::refused("tls.no_names"),
            Self::NotSet => Code::refused("tls.not_set"),
            Self::NotValid { .. } => Code::refused("tls.not_valid"),
            Self::Purpose => Code::refused("tls.purpose"),
            Self::X509(_) => Code::refused("tls.certificate"),
        }
    }
}

impl Cluster {
    /// The certificate that was set for the server, if there is one.
    ///
    /// # Errors
    /// Errors of the file.
    pub fn tls_pair(&self) -> Result<Option<TlsPair>, TlsPairError> {
        let certificate = self.home.server_certificate();
        if !files::occupied(&certificate) {
            return Ok(None);
        }
        let chain = pem::certificates(&files::read(&certificate, files::SMALL_FILE)?)?;
        let leaf = chain.first().ok_or(TlsPairError::NotSet)?;
        let key = self.home.server_key(&Sha256::of(&leaf.public_key_info));
        Ok(Some(TlsPair { certificate, key, chain }))
    }
}

impl KeyProtection {
    /// Sets certificate chain and key for the server, after a check of both. The key is protected as the root key is.
    ///
    /// # Errors
    /// [`TlsPairError`] with the first rule that the pair violates. Then nothing is changed.
    pub fn set_tls_pair(&mut self, chain: &[u8], key: &Secret) -> Result<TlsPair, TlsPairError> {
        let certificates = pem::certificates(chain)?;
        let key = PrivateKey::from_pem(key)?;
        self.check(&certificates, &key)?;
        let home = &self.cluster.home;
        let pair = TlsPair {
            certificate: home.server_certificate(),
            key: home.server_key(&key.key_id()),
            chain: certificates,
        };
        let label = pem::ObjectKind::Certificate.label();
        let text: String = pair.chain.iter().map(|certificate| pem::pem(label, &certificate.der)).collect();
        drop(Staged::adopt(&pair.certificate, TAG));
        if !files::occupied(&pair.key) {
            let (staged, _) = self.stage_server_key(&key, &pair.key)?;
            staged.place(Placement::New)?;
        }
        let staged = Staged::create(&pair.certificate, TAG, Access::Public, text.as_bytes())?;
        staged.sync()?;
        let leaf = pair.chain.first().map(Certificate::fingerprint);
        let until = pair.chain.first().map(|leaf| crate::clock::rfc3339(leaf.not_after));
        let details = json!({ "fingerprint": leaf, "not_after": until });
        self.record(Action::TlsSet, "server".to_owned(), details)?;
        staged.place(Placement::Replace)?;
        files::sync_directory(files::parent(&pair.certificate))?;
        self.remove_keys_but(Some(&pair.key))?;
        Ok(pair)
    }

    /// Remove the certificate that was set for the server, with its key.
    ///
    /// # Errors
    /// [`TlsPairError::NotSet`], and errors of the home.
    pub fn unset_tls_pair(&mut self) -> Result<TlsPair, TlsPairError> {
        let pair = self.cluster.tls_pair()?.ok_or(TlsPairError::NotSet)?;
        let details = json!({ "fingerprint": pair.chain.first().map(Certificate::fingerprint) });
        self.record(Action::TlsUnset, "server".to_owned(), details)?;
        remove(&pair.certificate)?;
        self.remove_keys_but(None)?;
        Ok(pair)
    }

    /// Remove the keys of former pairs, and of one that a crash left without its certificate.
    fn remove_keys_but(&self, kept: Option<&Path>) -> Result<(), TlsPairError> {
        for path in files::list(self.cluster.home.directory())? {
            if self.cluster.home.is_server_key(&path) && Some(path.as_path()) != kept {
                remove(&path)?;
            }
        }
        Ok(())
    }

    fn check(&self, chain: &[Certificate], key: &PrivateKey) -> Result<(), TlsPairError> {
        let leaf = chain.first().ok_or(TlsPairError::NotSet)?;
        let now = self.cluster.context.now();
        if leaf.is_ca() {
            return Err(TlsPairError::CaFirst { subject: leaf.subject.to_string() });
        }
        if leaf.public_key_info != key.public_key_info() {
            return Err(TlsPairError::KeyMismatch);
        }
        for pair in chain.windows(2) {
            let [certificate, issuer] = pair else { continue };
            let is_issuer = certificate.issuer == issuer.subject
                && issuer.is_ca()
                && certificate.verify_signature(&issuer.public_key_info).is_ok();
            if !is_issuer {
                let (subject, issuer) = (certificate.subject.to_string(), issuer.subject.to_string());
                return Err(TlsPairError::Chain { subject, issuer });
            }
        }
        if let Some(other) = chain.iter().find(|certificate| !certificate.is_valid_at(now)) {
            return Err(TlsPairError::NotValid {
                subject: other.subject.to_string(),
                from: crate::clock::rfc3339(other.not_before),
                until: crate::clock::rfc3339(other.not_after),
            });
        }
        let is_for_servers = leaf
            .extended_key_usage
            .as_ref()
            .is_none_or(|usages| usages.contains(&ExtendedKeyUsage::ServerAuth));
        if !is_for_servers {
            return Err(TlsPairError::Purpose);
        }
        let is_host = |name: &SubjectAltName| matches!(name, SubjectAltName::Dns(_) | SubjectAltName::Ip(_));
        match leaf.subject_alt_names.iter().any(is_host) {
            true => Ok(()),
            false => Err(TlsPairError::NoNames),
        }
    }
}

fn remove(path: &Path) -> Result<(), FileError> {
    let failed = |source| FileError::Io { doing: "remove", path: path.to_owned(), source };
    fs::remove_file(path).map_err(failed)?;
    files::sync_directory(files::parent(path))
}
