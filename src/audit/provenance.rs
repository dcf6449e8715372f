//! Time, actor and reason of a change.

use std::fmt;
use std::str::FromStr;

use time::OffsetDateTime;

use super::error::AuditError;
use crate::error::excerpt;

/// Account and host that make a change, in the words of the caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Actor(String);

impl Actor {
    /// The actor of a process whose user has no name.
    #[must_use]
    pub fn unknown() -> Self {
        Self("unknown".to_owned())
    }

    /// The text of the actor.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Actor {
    type Err = AuditError;

    /// Accept 1 to 256 bytes without control characters.
    fn from_str(text: &str) -> Result<Self, AuditError> {
        if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
            return Err(AuditError::Actor { given: excerpt(text) });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Time, actor and reason of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Time of the change, in whole seconds; fractions are dropped.
    pub at: OffsetDateTime,
    /// Account and host.
    pub actor: Actor,
    /// Free text given by the user.
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Coded;

    #[test]
    fn an_actor_is_bounded_and_printable() {
        assert!("alice (uid 1000) on ops1".parse::<Actor>().is_ok());
        for text in ["", "a\nb", "\u{1b}[2J", &"x".repeat(257)] {
            assert_eq!(text.parse::<Actor>().unwrap_err().code(), "audit.actor");
        }
    }
}
