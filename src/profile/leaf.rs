//! The profile of a role.

use super::origin::Origin;
use super::rules::{CommonName, HostRule, KeyRule, PurposeRule, RenewalRule, ValidityRule};
use crate::identity::Role;

/// What the certificates of one role may be.
#[derive(Clone, Debug, PartialEq)]
pub struct LeafProfile {
    pub(super) role: Role,
    pub(super) origin: Origin,
    pub(super) common_name: CommonName,
    pub(super) hosts: Option<HostRule>,
    pub(super) key: KeyRule,
    pub(super) validity: ValidityRule,
    pub(super) purposes: PurposeRule,
    pub(super) renewal: RenewalRule,
}

impl LeafProfile {
    /// The role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Where it came from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The hosts that a request may name; `None` for no host.
    #[must_use]
    pub fn hosts(&self) -> Option<&HostRule> {
        self.hosts.as_ref()
    }

    /// The key types it allows.
    #[must_use]
    pub fn key(&self) -> &KeyRule {
        &self.key
    }

    /// The validity it allows.
    #[must_use]
    pub fn validity(&self) -> &ValidityRule {
        &self.validity
    }

    /// When and how its certificates are replaced.
    #[must_use]
    pub fn renewal(&self) -> &RenewalRule {
        &self.renewal
    }
}
