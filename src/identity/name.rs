//! Names of identities within their role.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use uuid::Uuid;

use super::error::IdentityError;
use super::host::Host;
use super::role::{CONTROL_SERVICE_DNS_NAME, NameSyntax, Role};
use super::text_rules::{check_characters, check_edges, check_length, is_name_character};
use crate::error::excerpt;

impl FromStr for Role {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        Self::named(text).ok_or_else(|| IdentityError::Role { given: excerpt(text) })
    }
}

/// Name of an identity within its role, by the role's [`NameSyntax`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Name(String);

impl Name {
    /// Parse the name of an identity in `role`.
    ///
    /// # Errors
    /// [`IdentityError`] if the name violates the role's rule.
    pub fn parse(role: Role, text: &str) -> Result<Self, IdentityError> {
        let refused = || IdentityError::Name { role, given: excerpt(text) };
        match role.name_syntax() {
            NameSyntax::Host => {
                Host::from_identity_name(text).map(|host| Self::of_host(&host)).ok_or_else(refused)
            }
            NameSyntax::Uuid => text
                .parse::<Uuid>()
                .ok()
                .filter(|uuid| uuid.hyphenated().to_string() == text)
                .ok_or_else(refused)
                .and_then(Self::of_node),
            NameSyntax::User => Self::of_user(text),
        }
    }

    /// Name of a control service on `host`.
    #[must_use]
    pub fn of_host(host: &Host) -> Self {
        Self(host.identity_name())
    }

    /// Name of a node.
    ///
    /// # Errors
    /// [`IdentityError::NodeUuid`] for any UUID that is not random (version 4).
    pub fn of_node(uuid: Uuid) -> Result<Self, IdentityError> {
        if uuid.get_version_num() == 4 && uuid.get_variant() == uuid::Variant::RFC4122 {
            Ok(Self(uuid.hyphenated().to_string()))
        } else {
            Err(IdentityError::NodeUuid { given: uuid.to_string() })
        }
    }

    /// Name of an API user: at most 59 characters, so that `user-NAME` fits a common name of 64.
    ///
    /// # Errors
    /// [`IdentityError`] if the name is too long, reserved, or has other characters.
    pub fn of_user(text: &str) -> Result<Self, IdentityError> {
        const WHAT: &str = "user name";
        check_length(WHAT, text, 59)?;
        check_characters(WHAT, text, "lower-case letters, digits and -._", is_name_character)?;
        check_edges(WHAT, text)?;
        if text == CONTROL_SERVICE_DNS_NAME {
            return Err(IdentityError::Reserved { given: excerpt(text) });
        }
        Ok(Self(text.to_owned()))
    }

    /// Name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Parse `ROLE/NAME`, the short form of an identity, such as `api-user/alice`.
///
/// # Errors
/// [`IdentityError`] for an unknown role, or a name that violates its rule.
pub fn role_and_name(text: &str) -> Result<(Role, Name), IdentityError> {
    let (role, name) = text.split_once('/').unwrap_or((text, ""));
    let role = role.parse()?;
    Ok((role, Name::parse(role, name)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Coded;

    #[test]
    fn user_names_that_could_mislead_are_refused() {
        let long = "a".repeat(60);
        for (name, code) in [
            ("", "name.empty"),
            (long.as_str(), "name.too_long"),
            ("a/b", "name.character"),
            ("a,b", "name.character"),
            ("a b", "name.character"),
            ("a\0", "name.character"),
            ("ålice", "name.character"),
            ("Alice", "name.character"),
            ("*", "name.character"),
            ("..", "name.edges"),
            ("a..b", "name.edges"),
            (".a", "name.edges"),
            ("-rf", "name.edges"),
            ("control-service", "name.reserved"),
        ] {
            assert_eq!(Name::of_user(name).unwrap_err().code(), code, "{name:?}");
        }
        assert!(Name::of_user(&"a".repeat(59)).is_ok());
    }

    #[test]
    fn a_message_never_carries_control_characters_on() {
        let message = Name::of_user("a\n\u{1b}[31mb").unwrap_err().to_string();
        assert!(!message.contains('\n') && !message.contains('\u{1b}'), "{message}");
    }
}
