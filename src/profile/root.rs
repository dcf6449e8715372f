//! The profile of the root.

use super::origin::Origin;
use super::rules::{CommonName, KeyRule, ValidityRule};

/// What the root's certificate may be.
#[derive(Clone, Debug, PartialEq)]
pub struct RootProfile {
    pub(super) origin: Origin,
    pub(super) common_name: CommonName,
    pub(super) key: KeyRule,
    pub(super) validity: ValidityRule,
    pub(super) path_length: u32,
}

impl RootProfile {
    /// Where it came from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
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
}
