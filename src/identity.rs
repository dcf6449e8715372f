//! Who a certificate is for: cluster, role and name, and the one table that ties a role to its
//! SPIFFE path and its subject.
//!
//! Every type here can only be made from text that obeys its rules, so whoever holds one need not
//! look again. The rules are narrower than the standards allow: a name that could be read in two
//! ways (case, Unicode look-alikes, separators, addresses written like host names) is refused.

mod certificate;
mod flocker;

pub use certificate::{IdentityRefusal, RuleBroken, role_rules};

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The fixed DNS name that Flocker-style clients verify, whatever host they dial.
pub const CONTROL_SERVICE_DNS_NAME: &str = "control-service";

/// What the holder of a certificate is to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A machine that serves the cluster's REST API.
    ControlService,
    /// The agent on one machine of the cluster.
    NodeAgent,
    /// A person or program that calls the API.
    ApiUser,
}

impl Role {
    /// Every role, in the order they are shown.
    pub const ALL: [Self; 3] = [Self::ControlService, Self::NodeAgent, Self::ApiUser];

    /// The role's word everywhere: SPIFFE path, profiles, policies, command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ControlService => "control-service",
            Self::NodeAgent => "node-agent",
            Self::ApiUser => "api-user",
        }
    }

    /// What the file names of its certificates begin with: roles never share a name space on disk.
    #[must_use]
    pub const fn file_prefix(self) -> &'static str {
        match self {
            Self::ControlService => "control-",
            Self::NodeAgent => "node-",
            Self::ApiUser => "user-",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| IdentityError::Role { given: shown(text) })
    }
}

/// The name of a cluster, and the common name of its root: 1 to 64 printable ASCII characters
/// (RFC 5280, upper bound of a common name), none that means something in a subject or a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ClusterName(String);

impl ClusterName {
    /// The name as text.
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

/// The SPIFFE trust domain of a cluster (SPIFFE-ID, section 2.1): 1 to 255 of lower-case letters,
/// digits, `.`, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// The trust domain as text.
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

/// A host that a certificate may serve as: a DNS name or an IP address, in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum Host {
    /// A lower-case host name of letters, digits and hyphens (RFC 1123), without a trailing dot.
    Dns(String),
    /// An address; IPv4-mapped IPv6 is refused, since two spellings would be one host.
    Ip(IpAddr),
}

/// The domain in which [`Host::Ip`] version 6 addresses are written as names.
const IPV6_LITERAL: &str = ".ipv6-literal.net";

impl Host {
    /// The host as the name of an identity, where `:` cannot stand: an IPv6 address takes the
    /// conventional form `2001-db8--1.ipv6-literal.net`, which no DNS host may have.
    #[must_use]
    pub fn identity_name(&self) -> String {
        match self {
            Self::Ip(IpAddr::V6(ip)) => format!("{}{IPV6_LITERAL}", ip.to_string().replace(':', "-")),
            other => other.to_string(),
        }
    }

    fn from_identity_name(text: &str) -> Result<Self, IdentityError> {
        let refused = || IdentityError::Name { role: Role::ControlService, given: shown(text) };
        let host: Self = match text.strip_suffix(IPV6_LITERAL) {
            Some(dashed) => dashed.replace('-', ":").parse().map_err(|_| refused())?,
            None => text.parse().map_err(|_| refused())?,
        };
        // Only the canonical spelling: one host, one identity.
        if host.identity_name() == text { Ok(host) } else { Err(refused()) }
    }
}

impl FromStr for Host {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        const WHAT: &str = "host";
        if let Ok(ip) = text.parse::<IpAddr>() {
            return match ip {
                IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Err(IdentityError::MappedAddress {
                    given: shown(text),
                    instead: v6.to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED),
                }),
                ip if ip.is_unspecified() || ip.is_multicast() => Err(IdentityError::NotAHost {
                    given: shown(text),
                    why: "it is not the address of one host",
                }),
                ip => Ok(Self::Ip(ip)),
            };
        }
        check_length(WHAT, text, 253)?;
        if text.contains('*') {
            return Err(IdentityError::NotAHost {
                given: shown(text),
                why: "wildcards are not issued: one certificate names its hosts",
            });
        }
        check_characters(WHAT, text, "letters, digits, hyphens and dots, or an IP address", |c| {
            c.is_ascii_alphanumeric() || matches!(c, '-' | '.')
        })?;
        let not = |why| Err(IdentityError::NotAHost { given: shown(text), why });
        if text.ends_with('.') {
            return not("leave the trailing dot away: a certificate never has one");
        }
        for label in text.split('.') {
            if label.is_empty() || label.len() > 63 || label.starts_with('-') || label.ends_with('-') {
                return not("each part between dots has 1 to 63 characters and no hyphen at its ends");
            }
        }
        // `010.1.1.1` or `1.2.3`: some programs read these as addresses, others as names.
        if text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
            return not("it looks like an IP address but is none");
        }
        let name = text.to_ascii_lowercase();
        if name.ends_with(IPV6_LITERAL) {
            return not("write the IPv6 address itself");
        }
        Ok(Self::Dns(name))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.pad(name),
            Self::Ip(ip) => f.pad(&ip.to_string()),
        }
    }
}

/// The name of an identity within its role.
///
/// A control service is named for its host, a node by its UUID (version 4), a user by a name of
/// lower-case letters, digits, `.`, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Name(String);

impl Name {
    /// Reads the name of an identity in `role`.
    ///
    /// # Errors
    /// [`IdentityError`] saying which rule of the role it breaks.
    pub fn parse(role: Role, text: &str) -> Result<Self, IdentityError> {
        match role {
            Role::ControlService => Host::from_identity_name(text).map(|host| Self::of_host(&host)),
            Role::NodeAgent => text
                .parse::<Uuid>()
                .ok()
                .filter(|uuid| uuid.hyphenated().to_string() == text)
                .ok_or_else(|| IdentityError::Name { role, given: shown(text) })
                .and_then(Self::of_node),
            Role::ApiUser => Self::of_user(text),
        }
    }

    /// The name of a control service that runs on `host`.
    #[must_use]
    pub fn of_host(host: &Host) -> Self {
        Self(host.identity_name())
    }

    /// The name of a node.
    ///
    /// # Errors
    /// [`IdentityError::NodeUuid`] unless it is a random (version 4) UUID.
    pub fn of_node(uuid: Uuid) -> Result<Self, IdentityError> {
        if uuid.get_version_num() == 4 && uuid.get_variant() == uuid::Variant::RFC4122 {
            Ok(Self(uuid.hyphenated().to_string()))
        } else {
            Err(IdentityError::NodeUuid { given: uuid.to_string() })
        }
    }

    /// The name of an API user: at most 59 characters, so that `user-NAME` fits a common name.
    ///
    /// # Errors
    /// [`IdentityError`] saying which rule it breaks.
    pub fn of_user(text: &str) -> Result<Self, IdentityError> {
        const WHAT: &str = "user name";
        check_length(WHAT, text, 59)?;
        check_characters(WHAT, text, "lower-case letters, digits and -._", is_name_character)?;
        check_edges(WHAT, text)?;
        if text == CONTROL_SERVICE_DNS_NAME {
            return Err(IdentityError::Reserved { given: shown(text) });
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
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

/// Reads `ROLE/NAME`, as people name an identity within a cluster: `api-user/alice`.
///
/// # Errors
/// [`IdentityError`] when it names no role, or the role has no such name.
pub fn role_and_name(text: &str) -> Result<(Role, Name), IdentityError> {
    let (role, name) = text.split_once('/').unwrap_or((text, ""));
    let role = role.parse()?;
    Ok((role, Name::parse(role, name)?))
}

/// Who a certificate is for. Its text is its SPIFFE ID, `spiffe://TRUST-DOMAIN/ROLE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The cluster.
    pub trust_domain: TrustDomain,
    /// What the holder is to the cluster.
    pub role: Role,
    /// Which one of that role.
    pub name: Name,
}

impl Identity {
    /// The SPIFFE ID, the one URI in the certificate.
    #[must_use]
    pub fn spiffe_id(&self) -> String {
        self.to_string()
    }

    /// The subject's common name, in Flocker's form.
    #[must_use]
    pub fn common_name(&self) -> String {
        match self.role {
            Role::ControlService => CONTROL_SERVICE_DNS_NAME.to_owned(),
            Role::NodeAgent => format!("node-{}", self.name),
            Role::ApiUser => format!("user-{}", self.name),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/{}/{}", self.trust_domain, self.role, self.name)
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    /// Reads a SPIFFE ID of this project's form; nothing is decoded, normalized or forgiven.
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let wrong = || IdentityError::SpiffeId { given: shown(text) };
        let rest = text.strip_prefix("spiffe://").ok_or_else(wrong)?;
        let mut parts = rest.split('/');
        let (Some(trust_domain), Some(role), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        let role = role.parse()?;
        Ok(Self { trust_domain: trust_domain.parse()?, role, name: Name::parse(role, name)? })
    }
}

impl Serialize for Identity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '_')
}

fn check_length(what: &'static str, text: &str, at_most: usize) -> Result<(), IdentityError> {
    if text.is_empty() {
        Err(IdentityError::Empty { what })
    } else if text.len() > at_most {
        Err(IdentityError::TooLong { what, length: text.len(), at_most })
    } else {
        Ok(())
    }
}

fn check_characters(
    what: &'static str,
    text: &str,
    allowed: &'static str,
    is_allowed: impl Fn(char) -> bool,
) -> Result<(), IdentityError> {
    match text.chars().find(|c| !is_allowed(*c)) {
        Some(found) => Err(IdentityError::Character { what, given: shown(text), found, allowed }),
        None => Ok(()),
    }
}

/// Names begin and end with a letter or digit and never hold `..`: they become parts of paths,
/// file names and arguments.
fn check_edges(what: &'static str, text: &str) -> Result<(), IdentityError> {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if edge(text.chars().next()) && edge(text.chars().next_back()) && !text.contains("..") {
        Ok(())
    } else {
        Err(IdentityError::Edges { what, given: shown(text) })
    }
}

/// Text from outside as it may stand in a message: bounded, control characters escaped.
fn shown(text: &str) -> String {
    let mut safe: String = text.chars().take(80).flat_map(char::escape_default).collect();
    if text.chars().nth(80).is_some() {
        safe.push('…');
    }
    safe
}

/// Why a text is not the name it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A character that such a name cannot have.
    #[error("the {what} `{given}` has the character `{}`; allowed are {allowed}", found.escape_default())]
    Character {
        /// Which name.
        what: &'static str,
        /// What was given.
        given: String,
        /// The first character that is not allowed.
        found: char,
        /// Those that are.
        allowed: &'static str,
    },
    /// It begins or ends with punctuation, or has `..`.
    #[error("the {what} `{given}` must begin and end with a letter or digit and must not contain `..`")]
    Edges {
        /// Which name.
        what: &'static str,
        /// What was given.
        given: String,
    },
    /// Nothing was given.
    #[error("the {what} is empty")]
    Empty {
        /// Which name.
        what: &'static str,
    },
    /// An IPv4 address in IPv6 clothing.
    #[error("`{given}` is an IPv4-mapped address: write {instead}")]
    MappedAddress {
        /// What was given.
        given: String,
        /// The same address as it should be written.
        instead: Ipv4Addr,
    },
    /// Not the name of an identity in its role, in canonical form.
    #[error("`{given}` is not the name of a {role}")]
    Name {
        /// The role it should be of.
        role: Role,
        /// What was given.
        given: String,
    },
    /// A node is named by a random UUID.
    #[error("`{given}` is not a version 4 (random) UUID")]
    NodeUuid {
        /// What was given.
        given: String,
    },
    /// Neither a DNS name nor an IP address of one host.
    #[error("`{given}` is not a host name: {why}")]
    NotAHost {
        /// What was given.
        given: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// The name of every control service, which nobody else may bear.
    #[error("`{given}` is reserved for control services")]
    Reserved {
        /// What was given.
        given: String,
    },
    /// Not a role.
    #[error("`{given}` is not a role: the roles are control-service, node-agent and api-user")]
    Role {
        /// What was given.
        given: String,
    },
    /// Not a SPIFFE ID of the form `spiffe://TRUST-DOMAIN/ROLE/NAME`.
    #[error("`{given}` is not a cluster identity (spiffe://TRUST-DOMAIN/ROLE/NAME)")]
    SpiffeId {
        /// What was given.
        given: String,
    },
    /// More characters than a certificate can hold.
    #[error("the {what} has {length} characters; {at_most} is the most")]
    TooLong {
        /// Which name.
        what: &'static str,
        /// How long it is.
        length: usize,
        /// How long it may be.
        at_most: usize,
    },
}

impl IdentityError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Character { .. } => "name.character",
            Self::Edges { .. } => "name.edges",
            Self::Empty { .. } => "name.empty",
            Self::MappedAddress { .. } => "name.mapped_address",
            Self::Name { .. } => "name.not_of_role",
            Self::NodeUuid { .. } => "name.node_uuid",
            Self::NotAHost { .. } => "name.not_a_host",
            Self::Reserved { .. } => "name.reserved",
            Self::Role { .. } => "name.role",
            Self::SpiffeId { .. } => "name.spiffe_id",
            Self::TooLong { .. } => "name.too_long",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back_as_it_was_written() {
        for text in [
            "spiffe://prod/control-service/api.example.com",
            "spiffe://prod/control-service/10.0.0.1",
            "spiffe://prod/control-service/2001-db8--1.ipv6-literal.net",
            "spiffe://prod/control-service/--1.ipv6-literal.net",
            "spiffe://prod.example/node-agent/6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e",
            "spiffe://prod/api-user/alice.smith-2_ci",
        ] {
            assert_eq!(text.parse::<Identity>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_identity_has_one_spelling() {
        for text in [
            "",
            "spiffe://",
            "spiffe://prod",
            "spiffe://prod/api-user",
            "spiffe://prod/api-user/",
            "spiffe://prod/api-user/alice/",
            "spiffe://prod/api-user//alice",
            "spiffe://prod/api-user/alice/admin",
            "spiffe://prod/api-user/al%69ce",
            "spiffe://prod/api-user/Alice",
            "spiffe://prod/api-user/alice?x",
            "spiffe://prod/api-user/alice#x",
            "spiffe://prod/api-user/alice\0",
            "spiffe://prod/api-user/аlice",
            "spiffe://prod/api-user/control-service",
            "spiffe://prod/admin/alice",
            "spiffe://Prod/api-user/alice",
            "spiffe://prod:443/api-user/alice",
            "spiffe://u@prod/api-user/alice",
            "SPIFFE://prod/api-user/alice",
            "https://prod/api-user/alice",
            "spiffe://prod/node-agent/6F1B1D3C-3A54-4B7E-9D1E-2F4C5B6A7D8E",
            "spiffe://prod/node-agent/6f1b1d3c3a544b7e9d1e2f4c5b6a7d8e",
            "spiffe://prod/node-agent/00000000-0000-0000-0000-000000000000",
            "spiffe://prod/node-agent/6f1b1d3c-3a54-1b7e-9d1e-2f4c5b6a7d8e",
            "spiffe://prod/control-service/API.example.com",
            "spiffe://prod/control-service/0:0:0:0:0:0:0:1",
            "spiffe://prod/control-service/0-0-0-0-0-0-0-1.ipv6-literal.net",
        ] {
            assert!(text.parse::<Identity>().is_err(), "{text}");
        }
    }

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
    fn hosts_have_one_canonical_form() {
        for (given, canonical) in [
            ("API.Example.COM", "api.example.com"),
            ("0:0::1", "::1"),
            ("10.0.0.1", "10.0.0.1"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(given.parse::<Host>().unwrap().to_string(), canonical);
        }
        for given in [
            "",
            "*.example.com",
            "a..b",
            ".a",
            "a.",
            "-a",
            "a-",
            "a,DNS:b",
            "a b",
            "a/b",
            "exämple.com",
            "010.1.1.1",
            "1.2.3",
            "::ffff:10.0.0.1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "a_b",
            "a\0b",
            "x.ipv6-literal.net",
            "1",
        ] {
            assert!(given.parse::<Host>().is_err(), "{given:?}");
        }
        assert!("a".repeat(64).parse::<Host>().is_err());
    }

    #[test]
    fn a_message_never_carries_control_characters_on() {
        let message = Name::of_user("a\n\u{1b}[31mb").unwrap_err().to_string();
        assert!(!message.contains('\n') && !message.contains('\u{1b}'), "{message}");
    }

    #[test]
    fn a_cluster_name_with_spaces_is_no_trust_domain() {
        assert!("My Cluster".parse::<ClusterName>().is_ok());
        assert!("My Cluster".parse::<TrustDomain>().is_err());
        for name in ["", " a", "a,b", "a/b", "a\nb", "é", "a=b"] {
            assert!(name.parse::<ClusterName>().is_err(), "{name:?}");
        }
    }
}
