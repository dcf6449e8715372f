//! Profiles of leaf certificates.

use super::origin::ProfileOrigin;
use super::rules::{CommonName, HostRule, KeyRule, PurposeRule, RenewalRule, ValidityRule};
use crate::identity::Role;

/// Profile of the certificates of one role.
#[derive(Clone, Debug, PartialEq)]
pub struct LeafProfile {
    pub(super) role: Role,
    pub(super) origin: ProfileOrigin,
    pub(super) common_name: CommonName,
    pub(super) hosts: Option<HostRule>,
    pub(super) key: KeyRule,
    pub(super) validity: ValidityRule,
    pub(super) purposes: PurposeRule,
    pub(super) renewal: RenewalRule,
}

impl LeafProfile {
    /// Role of the certificates.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Source and digest.
    #[must_use]
    pub fn origin(&self) -> &ProfileOrigin {
        &self.origin
    }

    /// Hosts that a request may give; `None` if it may give none.
    #[must_use]
    pub fn hosts(&self) -> Option<&HostRule> {
        self.hosts.as_ref()
    }

    /// Allowed key types.
    #[must_use]
    pub fn key(&self) -> &KeyRule {
        &self.key
    }

    /// Allowed validity.
    #[must_use]
    pub fn validity(&self) -> &ValidityRule {
        &self.validity
    }

    /// Time and manner of renewal.
    #[must_use]
    pub fn renewal(&self) -> &RenewalRule {
        &self.renewal
    }
}
