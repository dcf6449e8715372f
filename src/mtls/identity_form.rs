//! Identity of a verified certificate: the part of it that is read, and the roles that its issuers may vouch for.

use uuid::Uuid;

use crate::identity::{Identity, IdentityRefusal, Role, TrustDomain};
use crate::x509::trust::{ChainLink, VerifiedChain};
use crate::x509::{Certificate, KeyIdentifier};

/// Part of a certificate that holds its identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdentityForm {
    /// The subject, in Flocker's form.
    Flocker {
        /// Cluster UUID that the subject must name.
        cluster: Uuid,
    },
    /// The only URI SAN, a SPIFFE ID.
    #[default]
    Spiffe,
}

impl IdentityForm {
    /// Read the identity of `certificate` in `trust_domain`.
    ///
    /// # Errors
    /// [`IdentityRefusal`] unless the certificate has exactly one.
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

/// Roles that each issuer may vouch for, by the issuer's key identifier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IssuerRoles(Vec<(KeyIdentifier, Vec<Role>)>);

impl IssuerRoles {
    /// Bind issuers to roles. An empty list lets every issuer vouch for every role.
    #[must_use]
    pub const fn new(issuers: Vec<(KeyIdentifier, Vec<Role>)>) -> Self {
        Self(issuers)
    }

    /// Check that every issuer of `chain` may vouch for `role`.
    ///
    /// All issuers of the chain must be listed, not only the leaf's: an issuer could give an issuer below it the
    /// key identifier of a listed one. The trust anchor above another issuer may be left out if it is the
    /// `only_root`, since then nothing else can stand below it.
    ///
    /// # Errors
    /// The first issuer, from the leaf upward, that is not listed or not allowed.
    pub fn check(&self, chain: &VerifiedChain, role: Role, only_root: bool) -> Result<(), KeyIdentifier> {
        if self.0.is_empty() {
            return Ok(());
        }
        let allowed = |(above, link): (usize, &ChainLink)| match self.roles_of(&link.issuer) {
            Some(roles) => roles.contains(&role),
            None => only_root && above > 0 && link.issuer == chain.anchor,
        };
        let refused = chain.links.iter().enumerate().find(|link| !allowed(*link));
        refused.map_or(Ok(()), |(_, link)| Err(link.issuer.clone()))
    }

    /// Key identifiers of the listed issuers.
    pub fn listed(&self) -> impl Iterator<Item = &KeyIdentifier> {
        self.0.iter().map(|(issuer, _)| issuer)
    }

    fn roles_of(&self, issuer: &KeyIdentifier) -> Option<&[Role]> {
        self.0.iter().find(|(listed, _)| listed == issuer).map(|(_, roles)| roles.as_slice())
    }
}
