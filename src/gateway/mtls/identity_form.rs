//! Whose a verified certificate is: in which form its identity is read, and for which roles its issuers may
//! vouch.

use uuid::Uuid;

use crate::identity::{Identity, IdentityRefusal, Role, TrustDomain};
use crate::x509::trust::{ChainLink, VerifiedChain};
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
    /// below it may: it could call the ones that it makes as it likes, by the identifier of one that is
    /// listed too. So all of them must be listed. Only the root above the others need not, where it is the
    /// `only_root`: nobody is below another one.
    ///
    /// # Errors
    /// The first authority, from the leaf upward, that may not or is not listed.
    pub fn check(&self, chain: &VerifiedChain, role: Role, only_root: bool) -> Result<(), KeyIdentifier> {
        if self.0.is_empty() {
            return Ok(());
        }
        let may = |(above, link): (usize, &ChainLink)| match self.roles_of(&link.issuer) {
            Some(roles) => roles.contains(&role),
            None => only_root && above > 0 && link.issuer == chain.anchor,
        };
        let barred = chain.links.iter().enumerate().find(|link| !may(*link));
        barred.map_or(Ok(()), |(_, link)| Err(link.issuer.clone()))
    }

    /// The authorities that are listed.
    pub fn listed(&self) -> impl Iterator<Item = &KeyIdentifier> {
        self.0.iter().map(|(issuer, _)| issuer)
    }

    fn roles_of(&self, issuer: &KeyIdentifier) -> Option<&[Role]> {
        self.0.iter().find(|(listed, _)| listed == issuer).map(|(_, roles)| roles.as_slice())
    }
}
