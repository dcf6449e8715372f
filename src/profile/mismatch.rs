//! Differences between plan and certificate.

use std::fmt;

use serde::Serialize;

/// A field that says something other than planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// The field, in the standard's word.
    pub field: &'static str,
    /// What the plan says.
    pub planned: String,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {} instead of {}", self.field, self.found, self.planned)
    }
}
