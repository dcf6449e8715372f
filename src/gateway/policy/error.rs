//! Errors of compiling routes to a policy.

use super::ids::{RESERVED, RuleId};
use super::methods::Methods;
use crate::error::{Code, Coded};

/// Problem of a route that keeps a policy from being compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Two equally specific routes match the same requests.
    #[error("same paths and methods ({methods}) as {other}, and a query can match both")]
    Conflict {
        /// Later route.
        rule: RuleId,
        /// Earlier route.
        other: RuleId,
        /// Methods that both have.
        methods: Methods,
    },
    /// An `allow` entry has no effect.
    #[error("allow[{entry}] is redundant: allow[{other}] covers all of its callers")]
    RedundantCaller {
        /// Route concerned.
        rule: RuleId,
        /// Index of the redundant entry, from 0.
        entry: usize,
        /// Index of the entry that covers it.
        other: usize,
    },
    /// The path is at or below [`RESERVED`].
    #[error("{RESERVED} is reserved for the gateway")]
    Reserved {
        /// Route concerned.
        rule: RuleId,
    },
    /// More specific routes match every request.
    #[error("no request with {methods} reaches this route: more specific routes match all of them")]
    Unreachable {
        /// Route concerned.
        rule: RuleId,
        /// Methods of which no request reaches it.
        methods: Methods,
    },
}

impl PolicyError {
    /// Rule of the route concerned.
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
