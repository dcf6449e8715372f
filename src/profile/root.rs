//! Profile of the root certificate.

use super::origin::ProfileOrigin;
use super::rules::{CommonName, KeyRule, ValidityRule};

/// Profile of the root certificate.
#[derive(Clone, Debug, PartialEq)]
pub struct RootProfile {
    pub(super) origin: ProfileOrigin,
    pub(super) common_name: CommonName,
    pub(super) key: KeyRule,
    pub(super) validity: ValidityRule,
    pub(super) path_length: u32,
}

impl RootProfile {
    /// Source and digest.
    #[must_use]
    pub fn origin(&self) -> &ProfileOrigin {
        &self.origin
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
}
