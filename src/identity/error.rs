//! Errors of names.

use std::net::Ipv4Addr;

use super::role::Role;

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
