//! The classes of errors, and the exit code of each.

use serde::{Deserialize, Serialize};

/// The class of an error. It decides on the exit code of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A rule, or the state of the CA, of a file or of a key, does not allow it.
    #[default]
    Refused,
    /// The arguments are wrong, or a secret is missing that no argument led to.
    Usage,
    /// Files, the database or the operating system: something is missing, unreadable or full.
    Environment,
    /// The network, a gateway, a KMS or a token does not answer, or answers with a failure.
    Unavailable,
}

impl Class {
    /// The exit code: 1 refused, 2 usage, 3 environment, 4 unavailable. 0 is success.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Environment => 3,
            Self::Unavailable => 4,
        }
    }
}
