//! Cluster names and trust domains.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::error::IdentityError;
use super::text_rules::{check_characters, check_edges, check_length, is_name_character};

/// Name of a cluster and common name of its root: 1 to 64 ASCII letters, digits, spaces and `-._`.
///
/// The length is the upper bound of a common name (RFC 5280, appendix A.1). No character has a meaning in a
/// subject or a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ClusterName(String);

impl ClusterName {
    /// Name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClusterName {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        const WHAT: &str = "cluster name";
        check_length(WHAT, text, 64)?;
        check_characters(WHAT, text, "letters, digits, spaces and -._", |c| {
            c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '.' | '_')
        })?;
        check_edges(WHAT, text)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// SPIFFE trust domain of a cluster (SPIFFE-ID, section 2.1): 1 to 255 lower-case letters, digits, `.`, `-`
/// and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// Trust domain as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        const WHAT: &str = "trust domain";
        check_length(WHAT, text, 255)?;
        check_characters(WHAT, text, "lower-case letters, digits and -._", is_name_character)?;
        check_edges(WHAT, text)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_name_with_spaces_is_no_trust_domain() {
        assert!("My Cluster".parse::<ClusterName>().is_ok());
        assert!("My Cluster".parse::<TrustDomain>().is_err());
        for name in ["", " a", "a,b", "a/b", "a\nb", "é", "a=b"] {
            assert!(name.parse::<ClusterName>().is_err(), "{name:?}");
        }
    }
}
