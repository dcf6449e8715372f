//! Differences between a plan and a certificate.

use std::fmt;

use serde::Serialize;

/// Field that differs from the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// Name of the field in RFC 5280, in snake case.
    pub field: &'static str,
    /// Planned value.
    pub planned: String,
    /// Actual value.
    pub found: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {} instead of {}", self.field, self.found, self.planned)
    }
}
