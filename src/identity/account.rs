//! Names and roles of accounts: people and programs that log in with a password.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::IdentityError;
use super::name::Name;
use super::text_rules::{check_characters, check_edges, check_length};
use crate::error::excerpt;

/// Name of an organization: 1 to 64 ASCII letters, digits and `-._`. Case distinguishes no two organizations.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct OrganizationName(String);

impl OrganizationName {
    /// Name of the organization that always exists.
    pub const ROOT: &'static str = "Root";

    /// The organization that always exists.
    #[must_use]
    pub fn root() -> Self {
        Self(Self::ROOT.to_owned())
    }

    /// Name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OrganizationName {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        const WHAT: &str = "organization name";
        check_length(WHAT, text, 64)?;
        check_characters(WHAT, text, "letters, digits and -._", |c| {
            c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')
        })?;
        check_edges(WHAT, text)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for OrganizationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Role of an account, from the most powerful to the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountRole {
    /// May do everything, in every organization.
    ClusterAdmin,
    /// Manage the users of its own organization.
    OrgAdmin,
    /// Log in for a token and change its own password.
    Regular,
    /// Read the configuration.
    ReadOnly,
}

impl AccountRole {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::ClusterAdmin, Self::OrgAdmin, Self::Regular, Self::ReadOnly];

    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterAdmin => "cluster-admin",
            Self::OrgAdmin => "org-admin",
            Self::Regular => "regular",
            Self::ReadOnly => "read-only",
        }
    }
}

impl fmt::Display for AccountRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for AccountRole {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| IdentityError::AccountRole { given: excerpt(text) })
    }
}

/// User of an organization, with its role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountIdentity {
    /// Name of the user.
    pub name: Name,
    /// Organization of the user.
    pub organization: OrganizationName,
    /// Role of the user.
    pub role: AccountRole,
}

impl fmt::Display for AccountIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} ({})", self.organization, self.name, self.role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Coded;

    #[test]
    fn words_of_roles_read_back() {
        for role in AccountRole::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{role}\""));
        }
        for text in ["", "ClusterAdmin", "cluster-admin ", "root"] {
            assert_eq!(text.parse::<AccountRole>().unwrap_err().code(), "name.account_role", "{text:?}");
        }
    }

    #[test]
    fn names_of_organizations_that_could_mislead_are_refused() {
        let long = "a".repeat(65);
        for (name, code) in [
            ("", "name.empty"),
            (long.as_str(), "name.too_long"),
            ("a b", "name.character"),
            ("a/b", "name.character"),
            ("{org}", "name.character"),
            ("*", "name.character"),
            ("Rööt", "name.character"),
            ("a..b", "name.edges"),
            ("-a", "name.edges"),
        ] {
            assert_eq!(name.parse::<OrganizationName>().unwrap_err().code(), code, "{name:?}");
        }
        assert_eq!("Root".parse(), Ok(OrganizationName::root()));
    }
}
