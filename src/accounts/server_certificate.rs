//! Certificate that the server presents: its own, or one that was set.

use serde::Serialize;

use super::directory::Accounts;
use super::error::AccountError;
use super::principal::Principal;
use crate::ca::{Cluster, KeyProtection, TlsPair, TlsPairError};
use crate::clock::rfc3339;
use crate::secret::Secret;
use crate::x509::{Sha256, SubjectAltName, pem};

/// Certificate that was set for the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TlsView {
    /// True if a certificate was set; otherwise the server presents its own.
    pub user_defined: bool,
    /// Facts about it; `None` without one.
    pub certificate: Option<TlsCertificateView>,
}

/// Facts about a certificate of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TlsCertificateView {
    /// Distinguished name of the holder.
    pub subject: String,
    /// Distinguished name of the CA that signed it.
    pub issuer: String,
    /// DNS names and IP addresses.
    pub names: Vec<String>,
    /// Expiry.
    pub not_after: String,
    /// SHA-256.
    pub fingerprint: Sha256,
    /// Certificates in the chain.
    pub chain: usize,
}

impl TlsView {
    fn of(pair: Option<&TlsPair>) -> Self {
        let certificate = pair.and_then(|pair| {
            let leaf = pair.chain.first()?;
            let name = |name: &SubjectAltName| match name {
                SubjectAltName::Dns(name) => Some(name.clone()),
                SubjectAltName::Ip(ip) => Some(ip.to_string()),
                SubjectAltName::Uri(_) | SubjectAltName::Other(_) => None,
            };
            Some(TlsCertificateView {
                subject: leaf.subject.to_string(),
                issuer: leaf.issuer.to_string(),
                names: leaf.subject_alt_names.iter().filter_map(name).collect(),
                not_after: rfc3339(leaf.not_after),
                fingerprint: leaf.fingerprint(),
                chain: pair.chain.len(),
            })
        });
        Self { user_defined: certificate.is_some(), certificate }
    }
}

impl Accounts {
    /// The certificate that was set for the server.
    ///
    /// # Errors
    /// [`AccountError::NotAllowed`], and errors of the home.
    pub fn tls(&self, by: Principal) -> Result<TlsView, AccountError> {
        by.require_reader("read security settings")?;
        Ok(TlsView::of(self.tls_pair()?.as_ref()))
    }

    /// The chain that was set for the server, in PEM.
    ///
    /// # Errors
    /// [`TlsPairError::NotSet`], [`AccountError::NotAllowed`], and errors of the home.
    pub fn tls_chain(&self, by: Principal) -> Result<String, AccountError> {
        by.require_reader("read security settings")?;
        let pair = self.tls_pair()?.ok_or(TlsPairError::NotSet)?;
        let label = pem::ObjectKind::Certificate.label();
        Ok(pair.chain.iter().map(|certificate| pem::pem(label, &certificate.der)).collect())
    }

    /// Sets certificate chain and key for the server. A running server presents them within a second, and keeps its
    /// connections.
    ///
    /// # Errors
    /// [`AccountError::Tls`] with the first rule that the pair violates, and errors of the home.
    pub fn set_tls(&self, by: Principal, chain: &[u8], key: &Secret) -> Result<TlsView, AccountError> {
        by.require_cluster_admin("change security settings")?;
        let pair = KeyProtection::open(&self.home, &self.context)?.set_tls_pair(chain, key)?;
        Ok(TlsView::of(Some(&pair)))
    }

    /// Remove the certificate that was set for the server: it presents its own again.
    ///
    /// # Errors
    /// [`TlsPairError::NotSet`], [`AccountError::NotAllowed`], and errors of the home.
    pub fn unset_tls(&self, by: Principal) -> Result<TlsView, AccountError> {
        by.require_cluster_admin("change security settings")?;
        KeyProtection::open(&self.home, &self.context)?.unset_tls_pair()?;
        Ok(TlsView::of(None))
    }

    fn tls_pair(&self) -> Result<Option<TlsPair>, AccountError> {
        Ok(Cluster::open(&self.home, &self.context)?.tls_pair()?)
    }
}
