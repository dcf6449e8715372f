//! Words that are not valid in an audit entry.

use crate::error::{Code, Coded};

/// A word that is not valid in an audit entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Not an action that this version knows.
    #[error("`{given}` is not an audited action")]
    Action {
        /// The rejected text.
        given: String,
    },
    /// An actor that is empty, longer than 256 bytes, or contains control characters.
    #[error("`{given}` is not an actor: 1 to 256 bytes without control characters were expected")]
    Actor {
        /// The rejected text.
        given: String,
    },
    /// Not an outcome.
    #[error("`{given}` is not an outcome")]
    Outcome {
        /// The rejected text.
        given: String,
    },
}

impl Coded for AuditError {
    fn coded(&self) -> Code {
        match self {
            Self::Action { .. } => Code::refused("audit.action"),
            Self::Actor { .. } => Code::refused("audit.actor"),
            Self::Outcome { .. } => Code::refused("audit.outcome"),
        }
    }
}
