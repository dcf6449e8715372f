//! Table of roles: a row holds everything that is fixed for one role.
//!
//! A new role is a variant of [`Role`] with its row, a profile in `ca-templates/`, and a `create-` command.
//! Other modules ask the row, and name no role.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::text::listed;

/// Fixed DNS name that Flocker-style clients verify, independent of the host they connect to.
pub const CONTROL_SERVICE_DNS_NAME: &str = "control-service";

/// Function of a certificate's holder in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Machine that serves the cluster's REST API.
    ControlService,
    /// Agent on one machine of the cluster.
    NodeAgent,
    /// Person or program that calls the API.
    ApiUser,
}

/// Row of the table.
struct Row {
    name: &'static str,
    common_name: CommonNameForm,
    fixed_dns_name: Option<&'static str>,
    name_syntax: NameSyntax,
    hosts: HostUse,
    server_auth: ServerAuth,
    file_prefix: &'static str,
    installed_stem: &'static str,
    recipient: Recipient,
    profile: &'static str,
}

const CONTROL_SERVICE: Row = Row {
    name: "control-service",
    common_name: CommonNameForm::Fixed(CONTROL_SERVICE_DNS_NAME),
    fixed_dns_name: Some(CONTROL_SERVICE_DNS_NAME),
    name_syntax: NameSyntax::Host,
    hosts: HostUse::Required,
    server_auth: ServerAuth::Always,
    file_prefix: "control-",
    installed_stem: "control-service",
    recipient: Recipient::NamedHost,
    profile: include_str!("../../ca-templates/control-service.yaml"),
};

const NODE_AGENT: Row = Row {
    name: "node-agent",
    common_name: CommonNameForm::Prefix("node-"),
    fixed_dns_name: None,
    name_syntax: NameSyntax::Uuid,
    hosts: HostUse::Optional,
    server_auth: ServerAuth::WithHosts,
    file_prefix: "node-",
    installed_stem: "node",
    recipient: Recipient::Machine("NODE"),
    profile: include_str!("../../ca-templates/node-agent.yaml"),
};

const API_USER: Row = Row {
    name: "api-user",
    common_name: CommonNameForm::Prefix("user-"),
    fixed_dns_name: None,
    name_syntax: NameSyntax::User,
    hosts: HostUse::Never,
    server_auth: ServerAuth::Never,
    file_prefix: "user-",
    installed_stem: "user",
    recipient: Recipient::Person,
    profile: include_str!("../../ca-templates/api-user.yaml"),
};

impl Role {
    /// Number of roles.
    const COUNT: usize = 3;

    /// All roles in display order.
    pub const ALL: [Self; Self::COUNT] = [Self::ControlService, Self::NodeAgent, Self::ApiUser];

    /// Role that every gateway's certificate has.
    pub const GATEWAY: Self = Self::ControlService;

    const fn row(self) -> &'static Row {
        match self {
            Self::ControlService => &CONTROL_SERVICE,
            Self::NodeAgent => &NODE_AGENT,
            Self::ApiUser => &API_USER,
        }
    }

    /// Name of the role in SPIFFE paths, profiles and policies, and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }

    /// Find the role of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// Form of the subject's common name.
    #[must_use]
    pub const fn common_name_form(self) -> CommonNameForm {
        self.row().common_name
    }

    /// DNS name in every certificate of the role, reserved for it.
    #[must_use]
    pub const fn fixed_dns_name(self) -> Option<&'static str> {
        self.row().fixed_dns_name
    }

    /// Syntax of the names of its identities.
    #[must_use]
    pub const fn name_syntax(self) -> NameSyntax {
        self.row().name_syntax
    }

    /// True for machines whose name does not tell which one it is: they take a label.
    #[must_use]
    pub const fn takes_label(self) -> bool {
        matches!(self.name_syntax(), NameSyntax::Uuid)
    }

    /// Use of hosts as subject alternative names.
    #[must_use]
    pub const fn hosts(self) -> HostUse {
        self.row().hosts
    }

    /// Presence of `serverAuth` in the extended key usage.
    #[must_use]
    pub const fn server_auth(self) -> ServerAuth {
        self.row().server_auth
    }

    /// Prefix of its file names below `issued/`, unique so that names of two roles never collide.
    #[must_use]
    pub const fn file_prefix(self) -> &'static str {
        self.row().file_prefix
    }

    /// Default file name, without extension, of an installed certificate and key.
    #[must_use]
    pub const fn installed_stem(self) -> &'static str {
        self.row().installed_stem
    }

    /// Recipient of a certificate and its key.
    #[must_use]
    pub const fn recipient(self) -> Recipient {
        self.row().recipient
    }

    /// Text of the built-in profile (YAML).
    #[must_use]
    pub const fn built_in_profile(self) -> &'static str {
        self.row().profile
    }

    /// Role names as an enumeration in prose.
    pub(super) fn names() -> String {
        listed(Self::ALL.map(|role| role.as_str().to_owned()), "and")
    }

    /// Forms of the common names of all roles as an enumeration in prose.
    pub(super) fn common_names() -> String {
        let form = |role: Self| match role.common_name_form() {
            CommonNameForm::Fixed(name) => format!("`{name}`"),
            CommonNameForm::Prefix(prefix) => format!("`{prefix}{}`", role.name_syntax().placeholder()),
        };
        listed(Self::ALL.map(form), "or")
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Form of a subject's common name (Flocker's convention).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommonNameForm {
    /// The same for every identity of the role.
    Fixed(&'static str),
    /// This prefix and the name of the identity.
    Prefix(&'static str),
}

impl CommonNameForm {
    /// Common name of the identity called `name`.
    #[must_use]
    pub fn of(self, name: &str) -> String {
        match self {
            Self::Fixed(common_name) => common_name.to_owned(),
            Self::Prefix(prefix) => format!("{prefix}{name}"),
        }
    }

    /// Start of every common name of the role.
    #[must_use]
    pub const fn start(self) -> &'static str {
        match self {
            Self::Fixed(start) | Self::Prefix(start) => start,
        }
    }
}

/// Syntax of the names of a role's identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameSyntax {
    /// DNS name or IP address of a host.
    Host,
    /// Random UUID (version 4) in lower case with hyphens.
    Uuid,
    /// 1 to 59 lower-case letters, digits, `.`, `-` and `_`.
    User,
}

impl NameSyntax {
    /// Placeholder for such a name in messages.
    const fn placeholder(self) -> &'static str {
        match self {
            Self::Host => "HOST",
            Self::Uuid => "UUID",
            Self::User => "NAME",
        }
    }
}

/// Use of hosts as subject alternative names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostUse {
    /// The host that the identity is named for comes first; others may follow.
    Required,
    /// Any number, none included.
    Optional,
    /// None.
    Never,
}

/// Presence of `serverAuth` in a role's certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerAuth {
    /// In every certificate.
    Always,
    /// Only in a certificate with hosts.
    WithHosts,
    /// In none.
    Never,
}

/// Recipient of a certificate and its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// Service on the host that the identity is named for.
    NamedHost,
    /// Service on a machine whose address the name doesn't give; this placeholder stands for it in hints.
    Machine(&'static str),
    /// Person or program that only makes requests.
    Person,
}

/// One value for each role.
#[derive(Clone, Debug, PartialEq)]
pub struct PerRole<T>([T; Role::COUNT]);

impl<T> PerRole<T> {
    /// Make the values in the order of [`Role::ALL`].
    #[must_use]
    pub fn from_fn(value: impl FnMut(Role) -> T) -> Self {
        Self(Role::ALL.map(value))
    }

    /// The value of `role`.
    #[must_use]
    pub const fn get(&self, role: Role) -> &T {
        let [control_service, node_agent, api_user] = &self.0;
        match role {
            Role::ControlService => control_service,
            Role::NodeAgent => node_agent,
            Role::ApiUser => api_user,
        }
    }

    /// The values with their roles, in the order of [`Role::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Role, &T)> {
        Role::ALL.into_iter().zip(&self.0)
    }
}

impl<T> PerRole<Option<T>> {
    /// All values, if none is missing.
    #[must_use]
    pub fn transpose(self) -> Option<PerRole<T>> {
        let values: Vec<T> = self.0.into_iter().collect::<Option<_>>()?;
        values.try_into().ok().map(PerRole)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn serialized_names_are_those_of_the_table() {
        for role in Role::ALL {
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
            assert_eq!(Role::named(role.as_str()), Some(role));
        }
    }

    #[test]
    fn roles_share_no_name_prefix_or_file() {
        let unique = |text: fn(Role) -> &'static str| HashSet::from(Role::ALL.map(text)).len() == Role::COUNT;
        assert!(unique(Role::as_str));
        assert!(unique(Role::file_prefix));
        assert!(unique(Role::installed_stem));
        assert!(unique(|role| role.common_name_form().start()));
        for role in Role::ALL {
            let prefix = role.file_prefix();
            assert!(Role::ALL.iter().all(|other| *other == role || !other.file_prefix().starts_with(prefix)));
        }
    }

    #[test]
    fn values_per_role_keep_their_role() {
        let values = PerRole::from_fn(Some).transpose().unwrap();
        for (role, value) in values.iter() {
            assert_eq!((*value, *values.get(role)), (role, role));
        }
        assert!(PerRole::from_fn(|role| (role != Role::GATEWAY).then_some(role)).transpose().is_none());
    }

    #[test]
    fn roles_and_common_names_are_enumerated_from_the_table() {
        assert_eq!(Role::names(), "control-service, node-agent and api-user");
        assert_eq!(Role::common_names(), "`control-service`, `node-UUID` or `user-NAME`");
    }
}
