//! References to users of the server.

use std::fmt;
use std::str::FromStr;

use super::account::OrganizationName;
use super::error::IdentityError;
use super::name::Name;

/// A user by organization and name, such as `Root/alice`. Without an organization, it is that of `Root`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserReference {
    /// Organization of the user.
    pub organization: OrganizationName,
    /// Name within the organization.
    pub name: Name,
}

impl FromStr for UserReference {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let (organization, name) = text.rsplit_once('/').unwrap_or((OrganizationName::ROOT, text));
        Ok(Self { organization: organization.parse()?, name: Name::of_user(name)? })
    }
}

impl fmt::Display for UserReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.organization, self.name)
    }
}
