//! Users that a route allows: accounts that a verified access token names.

use super::name_rule::NameRule;
use super::template::Variable;
use crate::gateway::message::path::RequestPath;
use crate::identity::{AccountIdentity, AccountRole, Identity, OrganizationName};

/// Caller of a request: the holder of a certificate, the user of a token, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subject<'a> {
    /// Identity of the client certificate.
    pub certificate: Option<&'a Identity>,
    /// User of the access token.
    pub user: Option<&'a AccountIdentity>,
}

impl Subject<'_> {
    /// Return true without a certificate and without a token.
    #[must_use]
    pub const fn is_anonymous(&self) -> bool {
        self.certificate.is_none() && self.user.is_none()
    }
}

impl<'a> From<Option<&'a Identity>> for Subject<'a> {
    fn from(certificate: Option<&'a Identity>) -> Self {
        Self { certificate, user: None }
    }
}

/// Users of one organization or of any, optionally restricted to one name and one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRule {
    /// Permitted names.
    pub name: NameRule,
    /// Permitted organizations.
    pub organization: OrganizationRule,
    /// Required role; `None` for any.
    pub role: Option<AccountRole>,
}

/// Condition on the organization of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrganizationRule {
    /// Any organization.
    Any,
    /// The value of this path variable.
    Bound(Variable),
    /// Exactly this organization.
    Exactly(OrganizationName),
}

impl UserRule {
    /// Return true if a call of `user` for `path` is permitted.
    pub(super) fn covers(&self, user: &AccountIdentity, path: &RequestPath) -> bool {
        self.role.is_none_or(|role| role == user.role)
            && self.name.covers(&user.name, path)
            && self.organization.covers(&user.organization, path)
    }

    /// Return true if it covers every user that `other` covers.
    pub(super) fn includes(&self, other: &Self) -> bool {
        let role = self.role.is_none() || self.role == other.role;
        let name = self.name == NameRule::Any || self.name == other.name;
        let organization =
            self.organization == OrganizationRule::Any || self.organization == other.organization;
        role && name && organization
    }
}

impl OrganizationRule {
    /// Compare bytes: names contain only characters that a path never escapes.
    fn covers(&self, organization: &OrganizationName, path: &RequestPath) -> bool {
        match self {
            Self::Any => true,
            Self::Bound(variable) => variable.value_in(path) == Some(organization.as_str()),
            Self::Exactly(exactly) => exactly == organization,
        }
    }
}
