//! Whose a verified certificate is: in which form its identity is read, and for which roles its issuers may
//! vouch.

use uuid::Uuid;

use crate::identity::{Identity, IdentityRefusal, Role, TrustDomain};
use crate::x509::trust::VerifiedChain;
use crate::x509::{Certificate, KeyIdentifier};

/// Where in a certificate its identity is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdentityForm {
    /// In its subject, as Flocker wrote it.
    Flocker {
        /// The cluster that it must name.
        cluster: Uuid,
    },
    /// In its one URI.
    #[default]
    Spiffe,
}

impl IdentityForm {
    /// The identity of `certificate` in `trust_domain`.
    ///
    /// # Errors
    /// [`IdentityRefusal`] when it does not have exactly one.
    pub fn read(
        self,
        certificate: &Certificate,
        trust_domain: &TrustDomain,
    ) -> Result<Identity, IdentityRefusal> {
        match self {
            Self::Flocker { cluster } => Identity::of_flocker_certificate(certificate, cluster, trust_domain),
            Self::Spiffe => Identity::of_certificate(certificate, trust_domain),
        }
    }
}

/// Which authority may vouch for which roles, by the identifier of its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IssuerRoles(Vec<(KeyIdentifier, Vec<Role>)>);

impl IssuerRoles {
    /// Binds roles to issuers; with none listed, every issuer may vouch for every role.
    #[must_use]
    pub const fn new(issuers: Vec<(KeyIdentifier, Vec<Role>)>) -> Self {
        Self(issuers)
    }

    /// Whether the authorities of `chain` may vouch for `role`. What an authority may not, no authority
    /// below it may: it could call the ones that it makes as it likes.
    ///
    /// # Errors
    /// The authority that may not, or the one that signed the leaf when it is not listed.
    pub fn check(&self, chain: &VerifiedChain, role: Role) -> Result<(), KeyIdentifier> {
        if self.0.is_empty() {
            return Ok(());
        }
        let issuers = || chain.links.iter().map(|link| &link.issuer);
        let direct = issuers().next().unwrap_or(&chain.anchor);
        self.roles_of(direct).ok_or_else(|| direct.clone())?;
        let barred =
            |issuer: &&KeyIdentifier| self.roles_of(issuer).is_some_and(|roles| !roles.contains(&role));
        issuers().find(barred).map_or(Ok(()), |issuer| Err(issuer.clone()))
    }

    fn roles_of(&self, issuer: &KeyIdentifier) -> Option<&[Role]> {
        self.0.iter().find(|(listed, _)| listed == issuer).map(|(_, roles)| roles.as_slice())
    }
}
