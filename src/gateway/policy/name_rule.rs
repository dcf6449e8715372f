//! Condition on the name of a caller or user.

use super::template::Variable;
use crate::gateway::message::path::RequestPath;
use crate::identity::Name;

/// Condition on the name of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// Any name.
    Any,
    /// The value of this path variable.
    Bound(Variable),
    /// Exactly this name.
    Exactly(Name),
}

impl NameRule {
    /// Compare bytes: names contain only characters that a path never escapes.
    pub(super) fn covers(&self, name: &Name, path: &RequestPath) -> bool {
        match self {
            Self::Any => true,
            Self::Bound(variable) => variable.value_in(path) == Some(name.as_str()),
            Self::Exactly(exactly) => exactly == name,
        }
    }
}
