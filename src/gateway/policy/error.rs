//! What is wrong with routes that do not make a policy.

use super::Methods;
use crate::error::{Code, Coded};
use crate::gateway::policy::ids::{RESERVED, RuleId};

/// Why routes do not make a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Two routes, equally specific, for the same requests.
    #[error("the same paths and methods ({methods}) as {other}, and a query can be for both")]
    Conflict {
        /// The later route.
        rule: RuleId,
        /// The earlier one.
        other: RuleId,
        /// The methods that both have.
        methods: Methods,
    },
    /// An `allow` entry that changes nothing.
    #[error("allow[{entry}] admits nobody whom allow[{other}] does not")]
    RedundantCaller {
        /// The route.
        rule: RuleId,
        /// The entry, from 0.
        entry: usize,
        /// The one that covers it.
        other: usize,
    },
    /// The gateway answers there itself.
    #[error("the gateway itself answers at {RESERVED}")]
    Reserved {
        /// The route.
        rule: RuleId,
    },
    /// More specific routes take every request.
    #[error("no request with {methods} reaches this route: more specific ones take them all")]
    Unreachable {
        /// The route.
        rule: RuleId,
        /// The methods it never sees.
        methods: Methods,
    },
}

impl PolicyError {
    /// The route concerned.
    #[must_use]
    pub const fn rule(&self) -> RuleId {
        match self {
            Self::Conflict { rule, .. }
            | Self::RedundantCaller { rule, .. }
            | Self::Reserved { rule }
            | Self::Unreachable { rule, .. } => *rule,
        }
    }
}

impl Coded for PolicyError {
    fn coded(&self) -> Code {
        match self {
            Self::Conflict { .. } => Code::refused("policy.conflict"),
            Self::RedundantCaller { .. } => Code::refused("policy.redundant_caller"),
            Self::Reserved { .. } => Code::refused("policy.reserved"),
            Self::Unreachable { .. } => Code::refused("policy.unreachable"),
        }
    }
}
