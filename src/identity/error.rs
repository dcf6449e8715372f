//! Errors of parsing names.

use std::net::Ipv4Addr;

use super::role::Role;

use crate::error::{Code, Coded, excerpt};

/// Refusal of a text as a name, host, role or SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Not a role of accounts.
    #[error(
        "`{given}` is not a role of users: the roles are cluster-admin, org-admin, regular and read-only"
    )]
    AccountRole {
        /// Given text, escaped.
        given: String,
    },
    /// Contains a character outside the allowed set.
    #[error("the {what} `{given}` has the character `{}`; allowed are {allowed}", found.escape_default())]
    Character {
        /// Kind of name.
        what: &'static str,
        /// Given text, escaped.
        given: String,
        /// First character that is not allowed.
        found: char,
        /// Allowed characters.
        allowed: &'static str,
    },
    /// Begin or end with punctuation, or contains `..`.
    #[error("the {what} `{given}` must begin and end with a letter or digit and must not contain `..`")]
    Edges {
        /// Kind of name.
        what: &'static str,
        /// Given text, escaped.
        given: String,
    },
    /// Is empty.
    #[error("the {what} is empty")]
    Empty {
        /// Kind of name.
        what: &'static str,
    },
    /// IPv4-mapped IPv6 address.
    #[error("`{given}` is an IPv4-mapped address: write {instead}")]
    MappedAddress {
        /// Given text, escaped.
        given: String,
        /// Equivalent IPv4 address.
        instead: Ipv4Addr,
    },
    /// Not a canonical name in its role.
    #[error("`{given}` is not the name of a {role}")]
    Name {
        /// Role of the name.
        role: Role,
        /// Given text, escaped.
        given: String,
    },
    /// Not a random UUID, as the name of a node must be.
    #[error("`{given}` is not a version 4 (random) UUID")]
    NodeUuid {
        /// Given text, escaped.
        given: String,
    },
    /// Neither a DNS name nor the IP address of one host.
    #[error("`{given}` is not a host name: {why}")]
    NotAHost {
        /// Given text, escaped.
        given: String,
        /// Violated rule.
        why: &'static str,
    },
    /// Reserved for control services.
    #[error("`{given}` is reserved for control services")]
    Reserved {
        /// Given text, escaped.
        given: String,
    },
    /// Unknown role.
    #[error("`{given}` is not a role: the roles are {}", Role::names())]
    Role {
        /// Given text, escaped.
        given: String,
    },
    /// Not a SPIFFE ID of the form `spiffe://TRUST-DOMAIN/ROLE/NAME`.
    #[error("`{given}` is not a cluster identity (spiffe://TRUST-DOMAIN/ROLE/NAME)")]
    SpiffeId {
        /// Given text, escaped.
        given: String,
    },
    /// Longer than a certificate allows.
    #[error("the {what} has {length} characters; {at_most} is the most")]
    TooLong {
        /// Kind of name.
        what: &'static str,
        /// Length in characters.
        length: usize,
        /// Maximum length.
        at_most: usize,
    },
}

impl IdentityError {
    /// Refusal of a text that is no UUID.
    #[must_use]
    pub fn node_uuid(text: &str) -> Self {
        Self::NodeUuid { given: excerpt(text) }
    }
}

impl Coded for IdentityError {
    fn coded(&self) -> Code {
        match self {
            Self::AccountRole { .. } => Code::usage("name.account_role"),
            Self::Character { .. } => Code::usage("name.character"),
            Self::Edges { .. } => Code::usage("name.edges"),
            Self::Empty { .. } => Code::usage("name.empty"),
            Self::MappedAddress { .. } => Code::usage("name.mapped_address"),
            Self::Name { .. } => Code::usage("name.not_of_role"),
            Self::NodeUuid { .. } => Code::usage("name.node_uuid"),
            Self::NotAHost { .. } => Code::usage("name.not_a_host"),
            Self::Reserved { .. } => Code::usage("name.reserved"),
            Self::Role { .. } => Code::usage("name.role"),
            Self::SpiffeId { .. } => Code::usage("name.spiffe_id"),
            Self::TooLong { .. } => Code::usage("name.too_long"),
        }
    }
}
